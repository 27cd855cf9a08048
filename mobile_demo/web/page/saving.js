// The dialog that saves what was recorded to the phone's own files.

import {button, dialog, write} from "./dom.js";

const ENDINGS = /** @type {Record<string, string>} */ ({
  "video/mp4": "mp4",
  "video/webm": "webm",
  "image/png": "png",
  "application/json": "json",
});

/**
 * @param {string} text what there is to save
 * @param {{picture?: Blob | null, video?: Blob | null, joints: Blob}} blobs
 */
export function offer(text, blobs) {
  const stamp = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
  write("saving-text", text);
  for (const what of /** @type {const} */ (["picture", "video", "joints"])) {
    const blob = blobs[what];
    button(`save-${what}`).hidden = !blob;
    if (blob) button(`save-${what}`).onclick = () => save(blob, `pose_${stamp}.${ENDINGS[blob.type]}`);
  }
  button("saving-close").onclick = () => dialog("saving").close();
  dialog("saving").showModal();
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // long after the browser has taken it
}
