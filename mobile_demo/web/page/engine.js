// The page's side of the worker that runs the model.

import {Trouble} from "../pose/trouble.js";

/** @typedef {import("./inference.js").Answer} Answer */
/** @typedef {import("./model_file.js").ModelSource} ModelSource */
/** @typedef {import("./inference.js").Trial} Trial */
/** @typedef {{outputs: any, inferenceMs: number}} Result */
/** @typedef {{threads: number, follow: boolean, accelerator: import("./settings.js").Accelerator}} Settings */

const TIMEOUT_MS = 20_000; // threads that do not start and GPUs that hang report nothing

export class Engine {
  /** Called if the trial of WebGPU hangs, after the worker is terminated. */
  onHang = () => {};
  /** Called if the finder cannot be used. @type {(trouble: {code: string, detail: string}) => void} */
  onNoFinder = () => {};
  #watchdog = 0;
  /** Pending requests; the worker answers in their order. */
  #asked = /** @type {{resolve: (result: Result) => void, reject: (error: Trouble) => void}[]} */ ([]);

  /**
   * Loads a model into its own worker; on one thread if several do not start. Throws Trouble.
   * @param {ModelSource} source
   * @param {Settings} settings
   * @param {(text: string, share: number | null) => void} onProgress
   */
  static async start(source, settings, onProgress) {
    try {
      return await new Engine().#load(source, settings, onProgress);
    } catch (error) {
      if (!(error instanceof Trouble) || error.code !== "threads-hang") throw error;
      const engine = await new Engine().#load(source, {...settings, threads: 1}, onProgress);
      engine.threadsHang = true;
      return engine;
    }
  }

  constructor() {
    this.worker = new Worker("/worker.js");
    this.threadsHang = false;
    this.threads = 1;
    this.build = "";
    this.loadMs = Number.NaN;
    /** @type {Trial | null} */
    this.trial = null;
    /** @type {import("../pose/metadata.js").Model | null} */
    this.model = null;
    /** Arrives after the model; null without one. @type {import("../pose/metadata.js").Finder | null} */
    this.finder = null;
  }

  /**
   * Runs the model, or the finder, on a crop of an image; throws Trouble.
   * @param {"frame" | "find"} type
   * @param {ImageBitmap | VideoFrame | null} picture transferred to the worker; null for the previous one
   * @param {import("../pose/crop.js").Crop} crop
   * @returns {Promise<Result>}
   */
  infer(type, picture, crop) {
    return new Promise((resolve, reject) => {
      this.#asked.push({resolve, reject});
      this.worker.postMessage({type, picture, crop}, picture ? [picture] : []);
    });
  }

  /** Ends the worker; pending results never arrive. */
  close() {
    clearTimeout(this.#watchdog);
    this.worker.terminate();
  }

  /**
   * @param {ModelSource} source
   * @param {Settings} settings
   * @param {(text: string, share: number | null) => void} onProgress
   * @returns {Promise<Engine>}
   */
  #load(source, settings, onProgress) {
    return new Promise((resolve, reject) => {
      const fail = (/** @type {Trouble} */ trouble) => {
        this.close();
        reject(trouble);
      };
      // Loading is the first request.
      this.#asked.push({resolve: () => resolve(this), reject: fail});
      this.worker.onerror = (event) => this.#asked.shift()?.reject(new Trouble("runtime-failed", event.message ?? ""));
      this.worker.onmessage = ({data}) => {
        const answer = /** @type {Answer} */ (data);
        if (answer.type === "ready") this.worker.postMessage({type: "load", source, ...settings});
        else if (answer.type === "progress") {
          clearTimeout(this.#watchdog);
          if (answer.threads > 1) {
            this.#watchdog = setTimeout(() => fail(new Trouble("threads-hang")), TIMEOUT_MS);
          }
          onProgress(answer.text, answer.share);
        } else if (answer.type === "loaded") {
          clearTimeout(this.#watchdog);
          const {model, threads, build, loadMs} = answer;
          Object.assign(this, {model, threads, build, loadMs});
          this.#asked.shift();
          resolve(this);
        } else if (answer.type === "trying") {
          this.#watchdog = setTimeout(() => {
            this.close();
            this.onHang();
          }, TIMEOUT_MS);
        } else if (answer.type === "trial") {
          clearTimeout(this.#watchdog);
          this.trial = answer.trial;
        } else if (answer.type === "finder") {
          this.finder = answer.finder;
          if (answer.trouble) this.onNoFinder(answer.trouble);
        } else if (answer.type === "result") this.#asked.shift()?.resolve(answer);
        else if (answer.type === "trouble") this.#asked.shift()?.reject(new Trouble(answer.code, answer.detail));
      };
    });
  }
}
