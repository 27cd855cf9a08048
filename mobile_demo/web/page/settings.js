// Settings from the page's address and from local storage.

const MOST_THREADS = 4; // more are slower on phones, whose other cores are small

/** @typedef {"auto" | "wasm" | "webgpu"} Accelerator */
const ACCELERATORS = /** @type {Accelerator[]} */ (["auto", "wasm", "webgpu"]);

/**
 * Reads the settings in the address: `?crop=whole` always uses the whole image, `smoothing=0` does not smooth,
 * `threads=N` sets the number of threads, `accelerator=wasm` does not try WebGPU, `accelerator=webgpu` uses it even if
 * it is slower.
 */
export function readSettings(search = location.search) {
  const query = new URLSearchParams(search);
  const wanted = Number.parseInt(query.get("threads") ?? "", 10);
  return {
    follow: query.get("crop") !== "whole",
    smooth: query.get("smoothing") !== "0",
    threads: wanted > 0 ? wanted : Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1),
    accelerator: ACCELERATORS.find((name) => name === query.get("accelerator")) ?? "auto",
  };
}

/** @returns {import("./source.js").Facing} */
export function rememberedFacing() {
  try {
    return localStorage.getItem("facing") === "user" ? "user" : "environment";
  } catch {
    return "environment"; // no local storage
  }
}

/** @param {import("./source.js").Facing} facing */
export function rememberFacing(facing) {
  try {
    localStorage.setItem("facing", facing);
  } catch {
    // no local storage: start with the default next time
  }
}
