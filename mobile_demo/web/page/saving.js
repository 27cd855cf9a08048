// The dialog that saves a recording to the phone's files.

import {describePicture} from "../pose/record.js";
import {button, dialog, write} from "./dom.js";
import {takePicture} from "./recorder.js";

const ENDINGS = /** @type {Record<string, string>} */ ({
  "video/mp4": "mp4",
  "video/webm": "webm",
  "image/png": "png",
  "application/json": "json",
});

/**
 * Offers to save a photo with its skeleton, and the joints.
 * @param {import("./source.js").Source} source
 * @param {import("../pose/metadata.js").Model} model
 * @param {import("./loop.js").Latest} latest
 */
export async function savePhoto(source, model, latest) {
  const joints = JSON.stringify(describePicture(source.name, latest, model), null, 2);
  offer("The image with its skeleton, and the joints.", {
    picture: await takePicture(source, model, latest),
    joints: new Blob([joints], {type: "application/json"}),
  });
}

/**
 * Ends a recording and offers to save it.
 * @param {import("./recorder.js").Recorder} recorder
 */
export async function saveRecording(recorder) {
  const {video, joints, lengthS, count} = await recorder.stop();
  if (count) offer(`${lengthS.toFixed(1)} seconds, ${count} results.`, {video, joints});
}

/**
 * @param {string} text what there is to save
 * @param {{picture?: Blob | null, video?: Blob | null, joints: Blob}} blobs
 */
function offer(text, blobs) {
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
 * Downloads a file. An installed page on an iPhone cannot download, so it shares the file instead; the share sheet must
 * open before any await.
 * @param {Blob} blob
 * @param {string} name
 */
function save(blob, name) {
  const files = [new File([blob], name, {type: blob.type})];
  if ("standalone" in navigator && navigator.standalone && navigator.canShare?.({files})) {
    navigator.share({files}).catch((error) => {
      if (error.name !== "AbortError") write("saving-text", `Not saved: ${error.message}`);
    });
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // long after the browser has read it
}
