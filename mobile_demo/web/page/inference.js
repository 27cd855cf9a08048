// The worker's side: loads one model and its finder, then finds the joints in each crop and the people in an image.
// Another model gets another worker, so that all memory is freed and a crash affects nothing else.

import {LOW_SCORE} from "../pose/crop.js";
import {compare} from "../pose/decode.js";
import {checkIdentifier, readFinder, readMetadata} from "../pose/metadata.js";
import {troubleFrom} from "../pose/trouble.js";
import {Cutter, Picture} from "./cutter.js";
import {getFinder, getModel} from "./model_file.js";
import {hasGpu, Runner, startRuntime} from "./runtime.js";

/** @typedef {import("../pose/metadata.js").Model} Model */
/** @typedef {import("../pose/metadata.js").Finder} Finder */
/** @typedef {import("../pose/decode.js").Outputs} Outputs */

/**
 * What to load and how; `accelerator` "wasm" does not try WebGPU, and no finder is loaded without `follow`.
 * @typedef {{type: "load", source: import("./model_file.js").ModelSource, threads: number, follow: boolean, accelerator: import("./settings.js").Accelerator}} Load
 */

/**
 * A crop for the model or for the finder; if `picture` is null, of the previous image.
 * @typedef {{type: "frame" | "find", picture: ImageBitmap | VideoFrame | null, crop: import("../pose/crop.js").Crop}} Frame
 */

/**
 * The result of trying WebGPU on one frame.
 * @typedef {{kept: boolean, reason: string, cpuMs: number, gpuMs: number, keypoints: number, poseMm: number}} Trial
 */

/**
 * @typedef {{type: "ready"}
 *   | {type: "progress", text: string, share: number | null, threads: number}
 *   | {type: "loaded", model: Model, threads: number, build: string, loadMs: number}
 *   | {type: "finder", finder: Finder | null, trouble?: {code: string, detail: string}}
 *   | {type: "result", outputs: any, inferenceMs: number}
 *   | {type: "trying"}
 *   | {type: "trial", trial: Trial}
 *   | {type: "trouble", code: string, detail: string}} Answer
 */

// The largest accepted difference between GPU and CPU: the GPU computes int8 models in floating point.
const [SAME_KEYPOINTS, SAME_POSE_MM] = [0.01, 20];
const ENOUGH_JOINTS = 0.5; // share of a frame's joints that must be sure for a trial

/**
 * Answers messages in their order.
 * @param {Window & typeof globalThis} scope the worker's
 */
export function serve(scope) {
  const tell = (/** @type {Answer} */ answer) => scope.postMessage(answer);
  /** @type {Session | null} */
  let session = null;
  let queue = Promise.resolve();
  scope.onmessage = ({data}) => {
    queue = queue.then(async () => {
      try {
        if (data.type === "load") {
          session = await Session.load(data, tell);
          if (data.follow) addFinder(session, data.source);
        } else if (session) await session.answer(data, tell);
      } catch (error) {
        const {code, detail} = troubleFrom(error, data.type === "load" ? "model-unreadable" : "inference-failed");
        tell({type: "trouble", code, detail});
      }
    });
  };
  // The model's frames do not wait for the download.
  const addFinder = async (/** @type {Session} */ session, /** @type {Load["source"]} */ source) => {
    try {
      const found = await getFinder(source);
      const added = queue.then(() => found && session.addFinder(found));
      queue = added.then(
        () => {},
        () => {},
      );
      tell({type: "finder", finder: await added});
    } catch (error) {
      const {code, detail} = troubleFrom(error, "model-unreadable");
      tell({type: "finder", finder: null, trouble: {code, detail}});
    }
  };
  tell({type: "ready"});
}

class Session {
  /** The model's file, kept to compile it again: for WebGPU until the trial, and for the CPU while WebGPU runs. */
  #file = /** @type {Uint8Array<ArrayBuffer> | null} */ (null);
  /** @type {Trial | null} */
  #trial = null;
  #picture = new Picture();
  #finder = /** @type {{cutter: Cutter, runner: Runner} | null} */ (null);

  /**
   * @param {Model} model
   * @param {Runner} runner
   * @param {number} threads
   * @param {boolean} evenIfSlower whether WebGPU is kept even if it is slower
   */
  constructor(model, runner, threads, evenIfSlower) {
    this.model = model;
    this.runner = runner;
    this.threads = threads;
    this.evenIfSlower = evenIfSlower;
    this.cutter = new Cutter(model);
  }

  /**
   * @param {Load} load
   * @param {(answer: Answer) => void} tell
   */
  static async load({source, threads, accelerator}, tell) {
    const start = performance.now();
    const progress = (/** @type {string} */ text, share = /** @type {number | null} */ (null), threads = 1) =>
      tell({type: "progress", text, share, threads});
    const {file, metadata} = await getModel(source, (share) => progress("Loading the model", share));
    const model = readMetadata(metadata);
    checkIdentifier(file);
    const {used, build} = await startRuntime(threads, (count) => progress("Loading the runtime", null, count));
    progress("Preparing the model");
    const runner = await Runner.compile(file, model, "wasm", used);
    const session = new Session(model, runner, used, accelerator === "webgpu");
    if (accelerator !== "wasm" && hasGpu()) session.#file = file;
    await session.runner.run(session.cutter.input); // the first run is slow, and shows whether the model works
    tell({type: "loaded", model, threads: used, build, loadMs: performance.now() - start});
    return session;
  }

  /**
   * Compiles the finder for the CPU, which is enough for so small a model.
   * @param {import("./model_file.js").ModelFile} found
   */
  async addFinder({file, metadata}) {
    const finder = readFinder(metadata);
    checkIdentifier(file);
    const [cutter, runner] = [new Cutter(finder), await Runner.compile(file, finder, "wasm", this.threads)];
    await runner.run(cutter.input);
    this.#finder = {cutter, runner};
    return finder;
  }

  /**
   * @param {Frame} frame
   * @param {(answer: Answer) => void} tell
   */
  async answer({type, picture, crop}, tell) {
    if (picture) await this.#picture.take(picture);
    const {cutter, runner} = (type === "find" && this.#finder) || this;
    cutter.cut(this.#picture, crop);
    const start = performance.now();
    const running = runner.run(cutter.input);
    const outputs = await (runner === this.runner ? running.catch((error) => this.#leaveGpu(error, tell)) : running);
    const inferenceMs = performance.now() - start;
    tell({type: "result", outputs, inferenceMs});
    if (type === "find") return;
    const sure = outputs.scores.filter((/** @type {number} */ score) => score >= LOW_SCORE).length;
    if (this.#file && !this.#trial && sure >= ENOUGH_JOINTS * outputs.scores.length) {
      tell({type: "trying"});
      tell({type: "trial", trial: await this.#tryGpu(this.#file, outputs)});
    }
  }

  /**
   * Switches to WebGPU if that finds the same joints in the current input faster.
   * @param {Uint8Array<ArrayBuffer>} file
   * @param {Outputs} expected
   * @returns {Promise<Trial>}
   */
  async #tryGpu(file, expected) {
    const unknown = Number.NaN;
    const trial = {kept: false, reason: "", cpuMs: unknown, gpuMs: unknown, keypoints: unknown, poseMm: unknown};
    /** @type {Runner | null} */
    let unused = null;
    try {
      const gpu = await Runner.compile(file, this.model, "webgpu", 1);
      unused = gpu;
      const {keypoints, poseMm} = compare(expected, await gpu.run(this.cutter.input), LOW_SCORE);
      const [cpuMs, gpuMs] = [await this.runner.time(this.cutter.input), await gpu.time(this.cutter.input)];
      Object.assign(trial, {keypoints, poseMm, cpuMs, gpuMs});
      const same = keypoints < SAME_KEYPOINTS && poseMm < SAME_POSE_MM;
      if (!same) trial.reason = "it finds different joints";
      else if (gpuMs >= cpuMs && !this.evenIfSlower) trial.reason = "it is slower";
      else {
        trial.kept = true;
        [this.runner, unused] = [gpu, this.runner];
      }
    } catch (error) {
      trial.reason = error instanceof Error ? error.message : String(error);
    }
    unused?.delete();
    this.#file = trial.kept ? file : null;
    this.#trial = trial;
    return trial;
  }

  /**
   * Falls back to the CPU when the GPU fails, for example because the system revokes it, and runs the crop again.
   * @param {unknown} error
   * @param {(answer: Answer) => void} tell
   * @returns {Promise<Outputs>}
   */
  async #leaveGpu(error, tell) {
    if (!this.#file || !this.#trial?.kept) throw error;
    this.runner = await Runner.compile(this.#file, this.model, "wasm", this.threads);
    this.#trial = {...this.#trial, kept: false, reason: "it stopped"};
    this.#file = null;
    tell({type: "trial", trial: this.#trial});
    return this.runner.run(this.cutter.input);
  }
}
