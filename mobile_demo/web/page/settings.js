// What the address and the phone's memory say about how the page is to run.

const MOST_THREADS = 4; // more are slower on phones, whose other cores are small ones

/** @typedef {"auto" | "wasm" | "webgpu"} Accelerator */
const ACCELERATORS = /** @type {Accelerator[]} */ (["auto", "wasm", "webgpu"]);

/**
 * Of the address: `?crop=whole` always looks at the whole picture, `smoothing=0` shows joints as found, `threads=N`,
 * `accelerator=wasm` leaves WebGPU alone, `accelerator=webgpu` takes it although it is slower.
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
    return "environment"; // a browser that keeps nothing
  }
}

/** @param {import("./source.js").Facing} facing */
export function rememberFacing(facing) {
  try {
    localStorage.setItem("facing", facing);
  } catch {
    // then it is asked for again
  }
}
