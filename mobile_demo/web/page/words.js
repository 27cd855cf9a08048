// What the page says when something goes wrong: what it is, and the mend.

/** @typedef {{title: string, mend: string}} Words */

/** By the code of a Trouble. @type {Record<string, Words>} */
export const TROUBLES = {
  "camera-denied": {
    title: "The camera is not allowed",
    mend: "Allow it for this page: tap the sign beside the address, then Permissions (iPhone: Website Settings), then Camera. Then try again.",
  },
  "no-camera": {title: "No camera was found", mend: "Connect one and try again, or use a photo or a video."},
  "camera-busy": {
    title: "The camera cannot be used",
    mend: "Another app may be using it. Close that app, then try again.",
  },
  insecure: {
    title: "The browser gives the camera to safe pages only",
    mend: "Open the https address that the demo printed, or http://localhost over a USB cable. Photos and videos work here too.",
  },
  "photo-unreadable": {title: "This picture cannot be read", mend: "Choose a JPEG, PNG or WebP picture."},
  "video-unreadable": {
    title: "This video cannot be played",
    mend: "Choose one that this browser plays, such as MP4 (H.264).",
  },
  "model-unreadable": {title: "The model cannot be read", mend: "Export it again, or choose another model."},
  "model-unsuitable": {title: "This model does not fit the page", mend: "Choose one that this project exported."},
  "memory-short": {
    title: "There is not enough memory for the model",
    mend: "Close other tabs and apps and try again, or choose a smaller model, such as an int8 one.",
  },
  "server-unreachable": {
    title: "The demo's server does not answer",
    mend: "See that the demo still runs and that the phone is on the same network. Then try again.",
  },
  "runtime-failed": {
    title: "The model's runtime does not start",
    mend: "Try again; if that does not help, update the browser.",
  },
  "inference-failed": {title: "The model stopped", mend: "Try again, or choose another model."},
  "browser-old": {
    title: "This browser is too old for the page",
    mend: "Update it: Chrome 94, Firefox 114 or Safari 16.4 and newer will do.",
  },
};

export const NOTICES = {
  oneThread: "This browser gives the page one thread only, so the model runs slower.",
  threadsHang: "The browser's threads did not start; the model runs on one, slower.",
  modelKept: "The model before it goes on.",
  recordingLong: "The recording was ended: it had become as long as the page can keep.",
  noVideo: "The video cannot be recorded here; only the joints are saved.",
  cameraTaken: "The phone needs the camera elsewhere; the page goes on when it is free.",
};

/**
 * @param {string} code
 * @returns {Words}
 */
export function wordsFor(code) {
  return TROUBLES[code] ?? {title: "Something went wrong", mend: "Try again."};
}
