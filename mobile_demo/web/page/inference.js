// The worker's side: loads one model, then answers each crop of a picture with joints. A worker has one model in its
// life; another model gets another worker, so that all memory is given back and a crash takes nothing with it.

import {LOW_SCORE} from "../pose/crop.js";
import {compare, fillInput} from "../pose/decode.js";
import {checkIdentifier, metadataInside, readMetadata} from "../pose/metadata.js";
import {Trouble} from "../pose/trouble.js";

/** @typedef {import("../pose/metadata.js").Model} Model */
/** @typedef {import("../pose/decode.js").Outputs} Outputs */
/** @typedef {import("@litertjs/core").CompiledModel} CompiledModel */
/** @typedef {Uint8Array<ArrayBuffer> | Float32Array<ArrayBuffer>} Pixels */

/**
 * A model: served by the demo, or files of the phone.
 * @typedef {{url: string} | {file: File, sidecar: File | null}} ModelSource
 */

/**
 * What to load and how; `accelerator` "auto" tries WebGPU too.
 * @typedef {{type: "load", source: ModelSource, threads: number, accelerator: "auto" | "wasm"}} Load
 */

/** @typedef {{type: "frame", picture: ImageBitmap, crop: import("../pose/crop.js").Crop}} Frame */

/**
 * How WebGPU did on a check frame.
 * @typedef {{kept: boolean, reason: string, cpuMs: number, gpuMs: number, keypoints: number, poseMm: number}} Trial
 */

/**
 * @typedef {{type: "ready"}
 *   | {type: "progress", text: string, share: number | null, threads?: number}
 *   | {type: "loaded", model: Model, threads: number, build: string, loadMs: number}
 *   | {type: "result", outputs: Outputs, inferenceMs: number}
 *   | {type: "trial", trial: Trial}
 *   | {type: "trouble", code: string, detail: string}} Answer
 */

const RUNTIME = "/runtime/";
const TIMED_RUNS = 3;
// So far the GPU's joints may lie from the CPU's: it computes int8 models in floating point.
const [SAME_KEYPOINTS, SAME_POSE_MM] = [0.01, 20];
const ENOUGH_JOINTS = 0.5; // of a check frame must be sure

/** @type {typeof import("@litertjs/core")} */
let litert;

/**
 * Answers messages, one after the other.
 * @param {Window & typeof globalThis} scope the worker's
 */
export function serve(scope) {
  const tell = (/** @type {Answer} */ answer, /** @type {Transferable[]} */ transfer = []) =>
    scope.postMessage(answer, {transfer});
  /** @type {Session | null} */
  let session = null;
  let queue = Promise.resolve();
  scope.onmessage = ({data}) => {
    queue = queue.then(async () => {
      try {
        if (data.type === "load") session = await Session.load(data, tell);
        else if (session) await session.answer(data, tell);
      } catch (error) {
        const {code, detail} = classify(error, data.type === "load" ? "model-unreadable" : "inference-failed");
        tell({type: "trouble", code, detail});
      }
    });
  };
  tell({type: "ready"});
}

class Session {
  /**
   * @param {Model} model
   * @param {Runner} runner
   * @param {Uint8Array | null} file kept for WebGPU until that was tried
   */
  constructor(model, runner, file) {
    this.model = model;
    this.runner = runner;
    this.file = file;
    const [height, width] = model.inputSize;
    /** @type {Pixels} */
    this.input = new (model.dtype === "uint8" ? Uint8Array : Float32Array)(3 * height * width);
    const context = new OffscreenCanvas(width, height).getContext("2d", {willReadFrequently: true});
    if (!context) throw new Trouble("memory-short");
    this.context = context;
    this.context.imageSmoothingQuality = "medium";
  }

  /**
   * @param {Load} load
   * @param {(answer: Answer) => void} tell
   */
  static async load({source, threads, accelerator}, tell) {
    const start = performance.now();
    const {file, metadata} = "url" in source ? await download(source.url, tell) : await readFiles(source);
    const model = readMetadata(metadata);
    checkIdentifier(file);
    const {used, build} = await startRuntime(threads, tell);
    tell({type: "progress", text: "Preparing the model", share: null});
    const runner = await Runner.compile(file, model, "wasm", used);
    const tryGpu = accelerator === "auto" && Boolean(litert.getWebGpuDevice());
    const session = new Session(model, runner, tryGpu ? file : null);
    await runner.run(session.input); // the first run is slow, and tells whether the model works at all
    tell({type: "loaded", model, threads: used, build, loadMs: performance.now() - start});
    return session;
  }

  /**
   * @param {Frame} frame
   * @param {(answer: Answer, transfer?: Transferable[]) => void} tell
   */
  async answer({picture, crop}, tell) {
    const {width, height} = this.context.canvas;
    const [scaleX, scaleY] = [width / crop.width, height / crop.height];
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    this.context.fillStyle = "black";
    this.context.fillRect(0, 0, width, height);
    this.context.setTransform(scaleX, 0, 0, scaleY, -crop.x * scaleX, -crop.y * scaleY);
    this.context.drawImage(picture, 0, 0);
    picture.close();
    fillInput(this.context.getImageData(0, 0, width, height).data, this.model.layout, this.input);
    const start = performance.now();
    const outputs = await this.runner.run(this.input);
    const inferenceMs = performance.now() - start;
    const sure = outputs.scores.filter((score) => score >= LOW_SCORE).length;
    if (this.file && sure >= ENOUGH_JOINTS * outputs.scores.length) {
      tell({type: "trial", trial: await this.#tryGpu(this.file, outputs)});
    }
    tell({type: "result", outputs, inferenceMs});
  }

  /**
   * Goes over to WebGPU if that gives the same joints of the present input, and sooner.
   * @param {Uint8Array} file
   * @param {Outputs} expected
   * @returns {Promise<Trial>}
   */
  async #tryGpu(file, expected) {
    this.file = null;
    const trial = {
      kept: false,
      reason: "",
      cpuMs: Number.NaN,
      gpuMs: Number.NaN,
      keypoints: Number.NaN,
      poseMm: Number.NaN,
    };
    /** @type {Runner | null} */
    let gpu = null;
    try {
      gpu = await Runner.compile(file, this.model, "webgpu", 1);
      const found = await gpu.run(this.input);
      const {keypoints, poseMm} = compare(expected, found, LOW_SCORE);
      Object.assign(trial, {keypoints, poseMm});
      trial.cpuMs = await this.runner.time(this.input);
      trial.gpuMs = await gpu.time(this.input);
      const same = keypoints < SAME_KEYPOINTS && poseMm < SAME_POSE_MM;
      trial.reason = !same ? "it gives other joints" : trial.gpuMs < trial.cpuMs ? "" : "it is slower";
      trial.kept = trial.reason === "";
    } catch (error) {
      trial.reason = error instanceof Error ? error.message : String(error);
    }
    if (trial.kept && gpu) [this.runner, gpu] = [gpu, this.runner];
    gpu?.delete();
    return trial;
  }
}

/** A compiled model with its names. */
class Runner {
  /**
   * @param {CompiledModel} compiled
   * @param {Model} model
   */
  constructor(compiled, model) {
    this.compiled = compiled;
    const [height, width] = model.inputSize;
    this.shape = model.layout === "nhwc" ? [1, height, width, 3] : [1, 3, height, width];
    this.names = compiled.getOutputDetails().map(({name}) => name);
    const inputs = compiled.getInputDetails();
    const fits = inputs.length === 1 && inputs[0].dtype === model.dtype && `${inputs[0].shape}` === `${this.shape}`;
    const joints = model.jointNames.length;
    const sizes = Object.fromEntries(
      compiled.getOutputDetails().map(({name, shape}) => [name, shape.reduce((product, side) => product * side, 1)]),
    );
    const gives = sizes.keypoints_2d === 2 * joints && sizes.scores === joints;
    if (!fits || !gives || (model.hasPose && sizes.pose_3d !== 3 * joints)) {
      throw new Trouble("model-unreadable", "Its metadata belongs to another model.");
    }
  }

  /**
   * @param {Uint8Array} file
   * @param {Model} model
   * @param {"wasm" | "webgpu"} accelerator
   * @param {number} threads
   */
  static async compile(file, model, accelerator, threads) {
    const compiled = await litert.loadAndCompile(file, {accelerator, cpuOptions: {numThreads: threads}});
    if (accelerator === "webgpu" && !compiled.isFullyAccelerated) {
      compiled.delete();
      throw new Error("it cannot run the whole model");
    }
    return new Runner(compiled, model);
  }

  /**
   * @param {Pixels} pixels
   * @returns {Promise<Outputs>}
   */
  async run(pixels) {
    const input = litert.Tensor.fromTypedArray(pixels, this.shape);
    const tensors = await this.compiled.run([input]);
    input.delete();
    /** @type {Record<string, Float32Array>} */
    const outputs = {};
    for (const [i, tensor] of tensors.entries()) {
      outputs[this.names[i]] = /** @type {Float32Array} */ (await tensor.data());
      tensor.delete();
    }
    const {keypoints_2d, scores, pose_3d} = outputs;
    return {keypoints_2d, scores, ...(pose_3d && {pose_3d})};
  }

  /**
   * Milliseconds of the middle one of some runs.
   * @param {Pixels} pixels
   */
  async time(pixels) {
    const times = [];
    for (let i = 0; i < TIMED_RUNS; i++) {
      const start = performance.now();
      await this.run(pixels);
      times.push(performance.now() - start);
    }
    return times.sort((a, b) => a - b)[TIMED_RUNS >> 1];
  }

  delete() {
    this.compiled.delete();
  }
}

/**
 * Loads the fastest build of the runtime that this browser can run.
 * @param {number} wanted threads
 * @param {(answer: Answer) => void} tell
 */
async function startRuntime(wanted, tell) {
  litert = await import(/* a path, since import maps reach no workers */ `${RUNTIME}litert.js`);
  const relaxed = await litert.supportsFeature("relaxedSimd");
  const parallel = self.crossOriginIsolated && relaxed && (await litert.supportsFeature("threads"));
  const used = parallel ? wanted : 1;
  const build = used > 1 ? "threaded" : relaxed ? "" : "compat";
  const script = `litert_wasm_${build ? `${build}_` : ""}internal.js`;
  tell({type: "progress", text: "Loading the runtime", share: null, threads: used});
  // Its log is not an error.
  const settings = {locateFile: (/** @type {string} */ name) => RUNTIME + name, printErr: console.debug};
  if (used > 1) {
    // The runtime starts as many threads as it is told that there are cores.
    Object.defineProperty(navigator, "hardwareConcurrency", {value: used, configurable: true});
    // As a Blob: after a click through a certificate's warning the threads' own fetches are now and then aborted.
    const mainScriptUrlOrBlob = await (await checked(fetch(RUNTIME + script))).blob();
    Object.assign(settings, {mainScriptUrlOrBlob});
  }
  Object.assign(self, {Module: settings});
  try {
    await litert.loadLiteRt(RUNTIME, {threads: used > 1});
  } catch (error) {
    const {code, detail} = classify(error, "runtime-failed");
    throw new Trouble(code, detail);
  }
  return {used, build};
}

/**
 * A served model and its metadata, which belong together: asked for anew if they were replaced meanwhile.
 * @param {string} url
 * @param {(answer: Answer) => void} tell
 */
async function download(url, tell) {
  for (let attempt = 0; ; attempt++) {
    const metadata = await checked(fetch(`${url}.json`));
    const tag = metadata.headers.get("ETag");
    const response = await fetch(url, {headers: tag ? {"If-Match": tag} : {}}).catch(unreachable);
    if (response.status === 412 && attempt < 3) continue;
    const file = await readWithProgress(await checked(Promise.resolve(response)), (share) =>
      tell({type: "progress", text: "Loading the model", share}),
    );
    return {file, metadata: await metadata.json()};
  }
}

/**
 * @param {Response} response
 * @param {(share: number) => void} onProgress
 */
async function readWithProgress(response, onProgress) {
  const length = Number(response.headers.get("Content-Length"));
  if (!response.body || !(length > 0)) return new Uint8Array(await response.arrayBuffer());
  const file = new Uint8Array(length);
  let at = 0;
  const reader = response.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (at + part.value.length > length) throw new Trouble("model-unreadable", "It is longer than announced.");
    file.set(part.value, at);
    at += part.value.length;
    onProgress(at / length);
  }
  return file.subarray(0, at);
}

/**
 * @param {{file: File, sidecar: File | null}} source
 */
async function readFiles({file: chosen, sidecar}) {
  const file = new Uint8Array(await chosen.arrayBuffer());
  const inside = metadataInside(file);
  if (!inside && !sidecar) {
    throw new Trouble(
      "model-unreadable",
      "It has no metadata inside: choose the .tflite and its .tflite.json together.",
    );
  }
  return {file, metadata: inside ?? parse(await /** @type {File} */ (sidecar).text())};
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Trouble("model-unreadable", "Its metadata is not JSON.");
  }
}

/**
 * @param {Promise<Response>} request
 */
async function checked(request) {
  const response = await request.catch(unreachable);
  if (!response.ok) throw new Trouble("server-unreachable", `The server said ${response.status}.`);
  return response;
}

/** @returns {never} */
function unreachable() {
  throw new Trouble("server-unreachable");
}

/**
 * @param {unknown} error
 * @param {string} otherwise
 */
function classify(error, otherwise) {
  if (error instanceof Trouble) return error;
  const detail = error instanceof Error ? error.message : String(error);
  const short = error instanceof RangeError || /memory|allocation|OOM/i.test(detail);
  return new Trouble(short && !/out of bounds/i.test(detail) ? "memory-short" : otherwise, detail);
}
