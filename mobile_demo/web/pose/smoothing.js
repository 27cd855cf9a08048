// The One-Euro filter (Casiez, Roussel and Vogel, CHI 2012), as in keras_pose's smoothing.

/**
 * `minCutoffHz`: lower is steadier at rest. `beta`: Hz per unit of speed; higher lags less when moving.
 * @typedef {{minCutoffHz: number, beta: number, derivativeCutoffHz: number}} OneEuroSettings
 */

/** For points in units of the image's height. @type {OneEuroSettings} */
export const KEYPOINTS_2D = {minCutoffHz: 1, beta: 12, derivativeCutoffHz: 1};
/** @type {OneEuroSettings} */
export const POSE_3D_MM = {minCutoffHz: 1, beta: 0.005, derivativeCutoffHz: 1};

/** Smooths a stream of arrays of one length, each with its time; every coordinate independently. */
export class OneEuroFilter {
  #timeS = Number.NaN;
  #value = new Float64Array();
  #speed = new Float64Array();

  /** @param {OneEuroSettings} settings */
  constructor(settings) {
    this.settings = settings;
  }

  /** Forgets earlier values: the next one passes unchanged. */
  reset() {
    this.#value = new Float64Array();
  }

  /**
   * The smoothed values, a new array.
   * @param {ArrayLike<number>} values
   * @param {number} timeS must increase from call to call
   */
  filter(values, timeS) {
    if (!this.#value.length) {
      this.#timeS = timeS;
      this.#value = Float64Array.from(values);
      this.#speed = new Float64Array(values.length);
      return this.#value.slice();
    }
    const stepS = timeS - this.#timeS;
    if (!(stepS > 0)) throw new RangeError(`frame times must increase, but ${timeS} s follows ${this.#timeS} s`);
    const {minCutoffHz, beta, derivativeCutoffHz} = this.settings;
    const speedWeight = weight(derivativeCutoffHz, stepS);
    for (let i = 0; i < this.#value.length; i++) {
      this.#speed[i] += speedWeight * ((values[i] - this.#value[i]) / stepS - this.#speed[i]);
      this.#value[i] += weight(minCutoffHz + beta * Math.abs(this.#speed[i]), stepS) * (values[i] - this.#value[i]);
    }
    this.#timeS = timeS;
    return this.#value.slice();
  }
}

/**
 * The new value's weight in an exponential filter.
 * @param {number} cutoffHz
 * @param {number} stepS
 */
function weight(cutoffHz, stepS) {
  return 1 / (1 + 1 / (2 * Math.PI * cutoffHz * stepS));
}
