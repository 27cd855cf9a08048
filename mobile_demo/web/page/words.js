// The page's texts for failures: what is wrong, and what to do.

/** @typedef {{title: string, fix: string}} Words */

/** By the code of a Trouble. @type {Record<string, Words>} */
export const TROUBLES = {
  "camera-denied": {
    title: "Camera access is blocked",
    fix: "Tap the icon next to the address, then Permissions (iPhone: Website Settings), and allow the camera. Then try again.",
  },
  "no-camera": {title: "No camera found", fix: "Connect a camera and try again, or use a photo or video."},
  "camera-busy": {
    title: "The camera cannot be used",
    fix: "Another app may be using it. Close that app, then try again.",
  },
  insecure: {
    title: "Browsers allow the camera only on secure pages",
    fix: "Open the https address that the demo printed, or http://localhost over a USB cable. Photos and videos work here too.",
  },
  "photo-unreadable": {title: "This image cannot be read", fix: "Choose a JPEG, PNG or WebP image."},
  "video-unreadable": {
    title: "This video cannot be played",
    fix: "Choose a video that this browser can play, such as MP4 (H.264).",
  },
  "model-unreadable": {title: "The model cannot be read", fix: "Export it again, or choose another model."},
  "model-unsuitable": {title: "This model does not work here", fix: "Choose a model exported by this project."},
  "memory-short": {
    title: "There is not enough memory for the model",
    fix: "Close other tabs and apps and try again, or choose a smaller model, such as an int8 one.",
  },
  "server-unreachable": {
    title: "The demo's server does not respond",
    fix: "Check that the demo is still running and that the phone is on the same network. Then try again.",
  },
  "runtime-failed": {
    title: "The model's runtime did not start",
    fix: "Try again. If that does not help, update the browser.",
  },
  "inference-failed": {title: "The model stopped", fix: "Try again, or choose another model."},
  "browser-old": {
    title: "This browser is too old",
    fix: "Update it. The page needs Chrome 94, Firefox 114, Safari 16.4 or later.",
  },
};

export const NOTICES = {
  oneThread: "This browser allows the page only one thread, so the model runs slower.",
  threadsHang: "The browser's threads did not start. The model runs on one thread, slower.",
  finderUnusable: "The people finder cannot be used, so the page works without it.",
  modelKept: "The previous model stays in use.",
  recordingLong: "Recording stopped: it reached the longest time the page can keep.",
  noVideo: "This browser cannot record the video; only the joints are saved.",
  cameraTaken: "The phone is using the camera for something else. The page continues when it is free.",
};

/**
 * @param {string} code
 * @returns {Words}
 */
export function wordsFor(code) {
  return TROUBLES[code] ?? {title: "Something went wrong", fix: "Try again."};
}
