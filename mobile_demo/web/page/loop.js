// From pictures to joints: always the newest picture, one at a time, never a queue.

import {Tracker} from "../pose/tracker.js";

const HAVE_PICTURE = 2; // of a video's states
const MOST_MISSED = 30; // pictures in a row that could not be had
const LEAST_STEP_S = 1e-4; // browsers may give two pictures one time, which smoothing cannot take
const STILL_PASSES = 3; // the whole picture, then around the joints, then once more around better ones

/** @typedef {import("./engine.js").Engine} Engine */
/** @typedef {import("../pose/tracker.js").Pose} Pose */

/**
 * One result.
 * @typedef {Pose & {frame: number, time_s: number, latency_ms: number, inference_ms: number,
 *   picture: import("../pose/crop.js").Size}} Latest
 */

/**
 * @typedef {object} Handlers
 * @property {(latest: Latest, model: import("../pose/metadata.js").Model) => void} draw
 * @property {(latest: Latest, model: import("../pose/metadata.js").Model) => void} result drawn now, its latency known
 * @property {() => void} picture of a camera or video, also one that the model does not see
 * @property {(error: unknown) => void} error
 */

export class Loop {
  /** @type {Engine | null} */
  #engine = null;
  /** @type {Tracker | null} */
  #tracker = null;
  #busy = false;
  #going = 0; // counts starts, so that a picture asked for before a stop is not taken
  #frame = 0;
  #missed = 0;
  #timeS = 0;
  #start = performance.now();

  /**
   * @param {import("./source.js").Source} source
   * @param {{follow: boolean, smooth: boolean}} settings read anew at each start
   * @param {Handlers} handlers
   */
  constructor(source, settings, handlers) {
    this.source = source;
    this.settings = settings;
    this.handlers = handlers;
  }

  /** @param {Engine | null} engine */
  use(engine) {
    this.#engine = engine;
    this.#busy = false;
  }

  /**
   * Looks at the source from now on, knowing nobody.
   * @param {boolean} still whether its picture stays as it is
   */
  start(still) {
    this.stop();
    this.#missed = 0;
    const model = this.#engine?.model;
    if (!model || this.source.kind === "none") return;
    this.#tracker = new Tracker(model.inputSize, {
      follow: this.settings.follow,
      smooth: this.settings.smooth && !still,
    });
    if (still) this.#lookAtStill(this.#going);
    else this.#await(this.#going);
  }

  stop() {
    this.#going += 1;
  }

  /** @param {number} going */
  #await(going) {
    const {video} = this.source;
    const next = (/** @type {number} */ now) => {
      if (going !== this.#going) return;
      this.#await(going);
      this.handlers.picture();
      if (!this.#busy && video.readyState >= HAVE_PICTURE)
        this.#look(going, now).catch((error) => this.#fail(going, error));
    };
    if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(next);
    else requestAnimationFrame(next);
  }

  /** @param {number} going */
  async #lookAtStill(going) {
    try {
      for (let pass = 0; pass < STILL_PASSES && going === this.#going; pass++)
        await this.#look(going, performance.now());
    } catch (error) {
      this.#fail(going, error);
    }
  }

  /**
   * @param {number} going
   * @param {number} now when the picture came, ms
   */
  async #look(going, now) {
    const [engine, tracker, picture] = [this.#engine, this.#tracker, this.source.size];
    if (!engine?.model || !tracker || !picture[0]) return;
    this.#busy = true;
    try {
      const grabbed = await this.source.grab().catch((error) => this.#miss(going, error));
      if (!grabbed) return;
      this.#missed = 0;
      const crop = tracker.look(picture);
      const {outputs, inferenceMs} = await engine.infer(grabbed, crop);
      if (going !== this.#going || engine !== this.#engine) return;
      const timeS = Math.max((now - this.#start) / 1000, this.#timeS + LEAST_STEP_S);
      this.#timeS = timeS;
      const pose = tracker.take(outputs, crop, picture, timeS);
      this.#frame += 1;
      const latest = {...pose, picture, frame: this.#frame, time_s: timeS, latency_ms: 0, inference_ms: inferenceMs};
      this.handlers.draw(latest, engine.model);
      latest.latency_ms = performance.now() - now;
      this.handlers.result(latest, engine.model);
    } finally {
      if (engine === this.#engine) this.#busy = false;
    }
  }

  /**
   * Passes over a picture; after many, or where there is no other, nothing can be seen.
   * @param {number} going
   * @param {Error} error
   */
  #miss(going, error) {
    if (going !== this.#going || (++this.#missed < MOST_MISSED && this.source.kind !== "photo")) return;
    this.#missed = 0;
    this.source.lose(error.message);
  }

  /**
   * @param {number} going
   * @param {unknown} error
   */
  #fail(going, error) {
    if (going === this.#going) this.handlers.error(error);
  }
}
