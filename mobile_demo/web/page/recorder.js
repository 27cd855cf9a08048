// Records the video with its skeleton, and the joints. The video is never mirrored. The joints' pixels are those of the
// video unless it had to be made smaller.

import {Recording, videoSize} from "../pose/record.js";
import {drawFigure} from "./figure.js";

/** @typedef {import("../pose/metadata.js").Model} Model */
/** @typedef {import("./loop.js").Latest} Latest */
/** @typedef {import("./source.js").Source} Source */

export const LONGEST_S = 300;
const BITS_PER_SECOND = 4_000_000;
const PART_MS = 1000; // how often the browser hands out encoded data
const UNIT_PX = 1 / 400; // of a line's width, relative to the image's shorter side
// The browser's first supported type is used; MP4 plays everywhere.
const TYPES = [
  "video/mp4;codecs=avc1.42E01F",
  "video/mp4",
  "video/webm;codecs=vp9",
  "video/webm;codecs=vp8",
  "video/webm",
];

/** What was recorded; `video` is null if the browser cannot record one. @typedef {{video: Blob | null, joints: Blob, lengthS: number, count: number}} Recorded */

export class Recorder {
  /** @type {Latest | null} */
  #latest = null;
  /** @type {Blob[]} */
  #parts = [];
  /** @type {MediaRecorder | null} */
  #media = null;

  /**
   * Starts at once.
   * @param {Source} source
   * @param {Model} model
   * @param {() => void} onNoVideo called when only the joints can be recorded, from the start or from now on
   */
  constructor(source, model, onNoVideo) {
    this.onNoVideo = onNoVideo;
    this.source = source;
    this.model = model;
    this.joints = new Recording(source.name, model);
    this.canvas = document.createElement("canvas");
    [this.canvas.height, this.canvas.width] = videoSize(source.size);
    this.canvas.className = "unseen";
    document.body.append(this.canvas); // Safari may record a black video from a canvas that is not in the page
    this.#try(() => {
      drawPicture(this.canvas, source, model, null);
      const mimeType = TYPES.find((name) => MediaRecorder.isTypeSupported(name));
      if (!mimeType) throw new TypeError("no supported video type");
      const media = new MediaRecorder(this.canvas.captureStream(), {mimeType, videoBitsPerSecond: BITS_PER_SECOND});
      media.ondataavailable = ({data}) => data.size && this.#parts.push(data);
      media.onerror = () => this.#leaveVideo();
      media.start(PART_MS);
      this.#media = media;
    });
  }

  /** Draws the current image with the newest skeleton. */
  picture() {
    if (this.#media) drawPicture(this.canvas, this.source, this.model, this.#latest);
  }

  /**
   * @param {Latest} latest
   */
  result(latest) {
    this.#latest = latest;
    this.joints.add(latest);
  }

  /** @param {boolean} paused */
  pause(paused) {
    this.joints.pause(paused, performance.now() / 1000);
    this.#try(() => (paused ? this.#media?.pause() : this.#media?.resume()));
  }

  /**
   * Ends the recording.
   * @returns {Promise<Recorded>}
   */
  async stop() {
    const media = this.#media;
    if (media && media.state !== "inactive") {
      const stopped = new Promise((resolve) => {
        media.onstop = resolve;
      });
      media.stop();
      await stopped;
      for (const track of media.stream.getTracks()) track.stop();
    }
    this.canvas.remove();
    return {
      video: media && this.#parts.length ? new Blob(this.#parts, {type: media.mimeType.split(";")[0]}) : null,
      joints: new Blob(this.joints.write(), {type: "application/json"}),
      lengthS: this.joints.lengthS,
      count: this.joints.count,
    };
  }

  /** @param {() => void} step of recording the video, which may fail in some browsers */
  #try(step) {
    try {
      step();
    } catch {
      this.#leaveVideo();
    }
  }

  #leaveVideo() {
    for (const track of this.#media?.stream.getTracks() ?? []) track.stop();
    this.#media = null;
    this.#parts = [];
    this.canvas.remove();
    this.onNoVideo();
  }
}

/**
 * The image with its skeleton, as a PNG.
 * @param {Source} source
 * @param {Model} model
 * @param {Latest} latest
 * @returns {Promise<Blob | null>}
 */
export function takePicture(source, model, latest) {
  const canvas = document.createElement("canvas");
  [canvas.height, canvas.width] = source.size;
  drawPicture(canvas, source, model, latest);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Source} source
 * @param {Model} model
 * @param {Latest | null} latest
 */
function drawPicture(canvas, source, model, latest) {
  const context = canvas.getContext("2d");
  if (!context) return;
  const [height, width] = source.size;
  const scale = Math.min(canvas.width / width, canvas.height / height); // not 1 if the phone was turned
  context.setTransform(1, 0, 0, 1, 0, 0);
  if (scale !== 1) context.clearRect(0, 0, canvas.width, canvas.height);
  context.setTransform(scale, 0, 0, scale, (canvas.width - scale * width) / 2, (canvas.height - scale * height) / 2);
  context.drawImage(source.element, 0, 0);
  if (latest) drawFigure(context, model, latest, Math.max(0.5, Math.min(width, height) * UNIT_PX));
}
