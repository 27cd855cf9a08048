// Speed of the last results: rate, latency and inference time.

const KEPT = 60;

/** The times of the last `KEPT` results. */
export class Rates {
  /** @type {{time: number, latency: number, inference: number}[]} */
  #results = [];

  reset() {
    this.#results = [];
  }

  /**
   * @param {number} time when the result was drawn, ms
   * @param {number} latency ms
   * @param {number} inference ms
   */
  add(time, latency, inference) {
    this.#results.push({time, latency, inference});
    if (this.#results.length > KEPT) this.#results.shift();
  }

  /** Results per second, and medians in ms; NaN without enough results. */
  get() {
    const first = this.#results[0];
    const last = this.#results.at(-1);
    const spanS = first && last ? (last.time - first.time) / 1000 : 0;
    return {
      frames_per_second: spanS > 0 ? (this.#results.length - 1) / spanS : Number.NaN,
      latency_ms: median(this.#results.map(({latency}) => latency)),
      inference_ms: median(this.#results.map(({inference}) => inference)),
    };
  }
}

/** @param {number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
