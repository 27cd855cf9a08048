// The runtime, LiteRT.js, and a model compiled by it. Runs only in a classic worker.

import {Trouble, troubleFrom} from "../pose/trouble.js";

/** @typedef {import("../pose/metadata.js").Network} Network */
/** @typedef {Uint8Array<ArrayBuffer> | Float32Array<ArrayBuffer>} Pixels */

const RUNTIME = "/runtime/";
const TIMED_RUNS = 3;

/** @type {typeof import("@litertjs/core")} */
let litert;

/**
 * Loads the fastest build of the runtime that this browser can run; throws Trouble.
 * @param {number} wanted threads
 * @param {(threads: number) => void} onStart
 */
export async function startRuntime(wanted, onStart) {
  try {
    return await start(wanted, onStart);
  } catch (error) {
    throw troubleFrom(error, "runtime-failed");
  }
}

/**
 * @param {number} wanted
 * @param {(threads: number) => void} onStart
 */
async function start(wanted, onStart) {
  litert = await import(/* a path: workers have no import maps */ `${RUNTIME}litert.js`);
  const relaxed = await litert.supportsFeature("relaxedSimd");
  const parallel = self.crossOriginIsolated && relaxed && (await litert.supportsFeature("threads"));
  const used = parallel ? wanted : 1;
  const build = used > 1 ? "threaded" : relaxed ? "" : "compat";
  const script = `litert_wasm_${build ? `${build}_` : ""}internal.js`;
  onStart(used);
  // The runtime also logs ordinary messages to stderr.
  const settings = {locateFile: (/** @type {string} */ name) => RUNTIME + name, printErr: console.debug};
  if (used > 1) {
    // The runtime starts one thread per reported core.
    Object.defineProperty(navigator, "hardwareConcurrency", {value: used, configurable: true});
    // A Blob, because browsers sometimes abort the threads' own fetches after a certificate warning.
    const answer = await fetch(RUNTIME + script);
    if (!answer.ok) throw new Trouble("server-unreachable", `The server returned status ${answer.status}.`);
    const mainScriptUrlOrBlob = await answer.blob();
    Object.assign(settings, {mainScriptUrlOrBlob});
  }
  Object.assign(self, {Module: settings});
  await litert.loadLiteRt(RUNTIME, {threads: used > 1});
  return {used, build};
}

/** Whether there is a GPU to try. */
export function hasGpu() {
  return Boolean(litert.getWebGpuDevice());
}

/** A compiled model, with the names of its outputs. */
export class Runner {
  /**
   * @param {import("@litertjs/core").CompiledModel} compiled
   * @param {Network} network
   */
  constructor(compiled, {inputSize: [height, width], dtype, layout, sizes}) {
    this.compiled = compiled;
    this.shape = layout === "nhwc" ? [1, height, width, 3] : [1, 3, height, width];
    this.names = compiled.getOutputDetails().map(({name}) => name);
    const inputs = compiled.getInputDetails();
    const fits = inputs.length === 1 && inputs[0].dtype === dtype && `${inputs[0].shape}` === `${this.shape}`;
    const found = new Map(
      compiled.getOutputDetails().map(({name, shape}) => [name, shape.reduce((product, side) => product * side, 1)]),
    );
    this.wanted = Object.keys(sizes);
    if (!fits || this.wanted.some((name) => found.get(name) !== sizes[name])) {
      throw new Trouble("model-unreadable", "Its metadata belongs to another model.");
    }
  }

  /**
   * @param {Uint8Array} file
   * @param {Network} network
   * @param {"wasm" | "webgpu"} accelerator
   * @param {number} threads
   */
  static async compile(file, network, accelerator, threads) {
    const compiled = await litert.loadAndCompile(file, {accelerator, cpuOptions: {numThreads: threads}});
    if (accelerator === "webgpu" && !compiled.isFullyAccelerated) {
      compiled.delete();
      throw new Error("it cannot run the whole model");
    }
    return new Runner(compiled, network);
  }

  /**
   * @param {Pixels} pixels
   * @returns {Promise<any>} a Float32Array for each output that the page uses, by name
   */
  async run(pixels) {
    const input = litert.Tensor.fromTypedArray(pixels, this.shape);
    const tensors = await this.compiled.run([input]);
    input.delete();
    /** @type {Record<string, unknown>} */
    const outputs = {};
    for (const [i, tensor] of tensors.entries()) {
      if (this.wanted.includes(this.names[i])) outputs[this.names[i]] = await tensor.data();
      tensor.delete();
    }
    return outputs;
  }

  /**
   * The median time of a few runs, in milliseconds.
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
