// Loads a model and its metadata from the demo's server or from the phone.

import {metadataInside} from "../pose/metadata.js";
import {Trouble} from "../pose/trouble.js";

/**
 * A model served by the demo, or files on the phone; either may have a finder.
 * @typedef {{url: string, finder: string} | {file: File, sidecar: File | null, finder: File | null}} ModelSource
 */

const ATTEMPTS = 3;

/** @typedef {{file: Uint8Array<ArrayBuffer>, metadata: any}} ModelFile */

/**
 * @param {ModelSource} source
 * @param {(share: number) => void} onProgress
 * @returns {Promise<ModelFile>}
 */
export function getModel(source, onProgress) {
  return "url" in source ? download(source.url, onProgress) : readFiles(source);
}

/**
 * The finder that belongs to a model; null if there is none.
 * @param {ModelSource} source
 * @returns {Promise<ModelFile | null>}
 */
export async function getFinder({finder}) {
  if (typeof finder !== "string") return finder && readFiles({file: finder, sidecar: null});
  const metadata = await checked(fetch(`${finder}.json`));
  return (await metadata.text()) === "null" ? null : download(finder, () => {});
}

/**
 * Downloads a model and its metadata; tries again if the server replaced them in between.
 * @param {string} url
 * @param {(share: number) => void} onProgress
 */
async function download(url, onProgress) {
  for (let attempt = 0; ; attempt++) {
    const metadata = await checked(fetch(`${url}.json`));
    const tag = metadata.headers.get("ETag");
    const response = await fetch(url, {headers: tag ? {"If-Match": tag} : {}}).catch(unreachable);
    const replaced = response.status === 412 || (response.ok && response.headers.get("ETag") !== tag);
    if (replaced && attempt < ATTEMPTS) continue;
    if (replaced) throw new Trouble("model-unreadable", "The model and its metadata come from different exports.");
    const file = await readWithProgress(await checked(Promise.resolve(response)), onProgress);
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
    if (at + part.value.length > length)
      throw new Trouble("model-unreadable", "The file is longer than its stated size.");
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
      "It has no metadata inside. Choose the .tflite and its .tflite.json together.",
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
  if (!response.ok) throw new Trouble("server-unreachable", `The server returned status ${response.status}.`);
  return response;
}

/** @returns {never} */
function unreachable() {
  throw new Trouble("server-unreachable");
}
