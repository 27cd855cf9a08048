// The loop from images to joints: one image at a time, always the newest; images are never queued.

import {cropAround} from "../pose/crop.js";
import {placePeople, readPeople} from "../pose/people.js";
import {Tracker} from "../pose/tracker.js";

const HAVE_PICTURE = 2; // HTMLMediaElement.HAVE_CURRENT_DATA
const MOST_MISSED = 30; // images in a row that could not be read
const LEAST_STEP_S = 1e-4; // browsers may give two images the same time, which smoothing cannot handle
const STILL_PASSES = 3; // over a photo, from the first that finds a person on; the crop fits better each time
export const SEARCHES = 5; // images in a row without a person after which nobody is there: one per place to search

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
 * @property {(latest: Latest, model: import("../pose/metadata.js").Model) => void} result after drawing, with its latency
 * @property {() => void} picture each new image of a camera or video, even if the model skips it
 * @property {(error: unknown) => void} error
 */

export class Loop {
  /** @type {Engine | null} */
  #engine = null;
  /** @type {Tracker | null} */
  #tracker = null;
  #busy = false;
  #late = 0; // arrival of the newest image that waits for the model, ms; 0 if none does
  #going = 0; // changes at each start and stop, so that images requested before are dropped
  #frame = 0;
  #missed = 0;
  #lost = false; // whether the newest result found nobody
  #timeS = 0;
  #start = performance.now();

  /**
   * @param {import("./source.js").Source} source
   * @param {{follow: boolean, smooth: boolean}} settings read at each start
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
   * Starts processing the source's images; with a finder, begins near the person who was followed.
   * @param {boolean} still whether its image stays the same
   */
  start(still) {
    this.stop();
    this.#missed = 0;
    this.#lost = false;
    const model = this.#engine?.model;
    if (!model || this.source.kind === "none") return;
    const [x0, y0, x1, y1] = this.#tracker?.box ?? [];
    this.#tracker = new Tracker(model.inputSize, {
      follow: this.settings.follow,
      smooth: this.settings.smooth && !still,
    });
    if (x1) this.#tracker.wish = [(x0 + x1) / 2, (y0 + y1) / 2];
    if (still) this.#lookAtStill(this.#going);
    else this.#await(this.#going);
  }

  stop() {
    this.#going += 1;
  }

  /** Forgets who was followed, for a new source or model. */
  forget() {
    this.#tracker = null;
  }

  /**
   * Follows the person at a point, or nearest to it, from the next image on.
   * @param {number[]} point x, y in the image
   * @param {boolean} still whether there is no next image
   */
  choose(point, still) {
    if (!this.#tracker) return;
    this.#tracker.wish = point;
    if (still) {
      this.stop();
      this.#lookAtStill(this.#going);
    }
  }

  /** @param {number} going */
  #await(going) {
    const {video} = this.source;
    const next = (/** @type {number} */ now) => {
      if (going !== this.#going) return;
      this.#await(going);
      this.handlers.picture();
      if (video.readyState < HAVE_PICTURE) return;
      if (this.#busy) this.#late = now;
      else this.#look(going, now).catch((error) => this.#fail(going, error));
    };
    if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(next);
    else requestAnimationFrame(next);
  }

  /** @param {number} going */
  async #lookAtStill(going) {
    try {
      for (let [passes, searches] = [0, 0]; passes < STILL_PASSES && searches < SEARCHES && going === this.#going; ) {
        await this.#look(going, performance.now());
        if (this.#lost) searches += 1;
        else passes += 1;
      }
    } catch (error) {
      this.#fail(going, error);
    }
  }

  /**
   * @param {number} going
   * @param {number} now when the image arrived, ms
   */
  async #look(going, now) {
    const [engine, tracker, picture] = [this.#engine, this.#tracker, this.source.size];
    if (!engine?.model || !tracker || !picture[0]) return;
    this.#busy = true;
    try {
      const grabbed = await this.source.grab().catch((error) => this.#miss(going, error));
      if (!grabbed) return;
      if (going !== this.#going) return grabbed.close(); // another image may already be at the worker
      this.#missed = 0;
      const timeS = Math.max((now - this.#start) / 1000, this.#timeS + LEAST_STEP_S);
      this.#timeS = timeS;
      let inferenceMs = 0;
      /** @type {typeof grabbed | null} */
      let unsent = grabbed;
      const ask = async (/** @type {"frame" | "find"} */ type, /** @type {import("../pose/crop.js").Crop} */ crop) => {
        const asked = engine.infer(type, unsent, crop);
        unsent = null;
        const answer = await asked;
        inferenceMs += answer.inferenceMs;
        return answer.outputs;
      };
      const pose = await this.#track(tracker, engine, picture, timeS, ask);
      if (going !== this.#going || engine !== this.#engine) return;
      this.#frame += 1;
      this.#lost = pose.lost;
      const latest = {...pose, picture, frame: this.#frame, time_s: timeS, latency_ms: 0, inference_ms: inferenceMs};
      this.handlers.draw(latest, engine.model);
      latest.latency_ms = performance.now() - now;
      this.handlers.result(latest, engine.model);
    } finally {
      if (engine === this.#engine) this.#busy = false;
      const late = this.#late;
      this.#late = 0;
      if (late && !this.#busy && going === this.#going)
        this.#look(going, late).catch((error) => this.#fail(going, error));
    }
  }

  /**
   * @param {Tracker} tracker
   * @param {Engine} engine
   * @param {import("../pose/crop.js").Size} picture
   * @param {number} timeS
   * @param {(type: "frame" | "find", crop: import("../pose/crop.js").Crop) => Promise<any>} ask
   */
  async #track(tracker, {finder}, picture, timeS, ask) {
    if (finder) {
      const find = async (/** @type {number[] | undefined} */ window = [0, 0, picture[1], picture[0]]) => {
        const crop = cropAround(window, finder.inputSize, 1);
        return placePeople(readPeople(await ask("find", crop), finder), crop, picture);
      };
      const eyes = {infer: (/** @type {import("../pose/crop.js").Crop} */ crop) => ask("frame", crop), find, finder};
      return tracker.see(eyes, picture, timeS);
    }
    const crop = tracker.look(picture);
    return tracker.take(await ask("frame", crop), crop, picture, timeS);
  }

  /**
   * Skips an image that cannot be read. Reports the source as lost after many in a row, and a photo at once.
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
