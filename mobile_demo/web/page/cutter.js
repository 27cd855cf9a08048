// From an image to a model's input, in the worker. The buffers are allocated once and reused.

import {fillInput} from "../pose/decode.js";
import {Trouble} from "../pose/trouble.js";

/** @typedef {import("./runtime.js").Pixels} Pixels */

/** The newest image; the model and the finder may use it one after the other. */
export class Picture {
  /** A frame's pixels. @type {ImageData | null} */
  #pixels = null;
  /** A canvas with these pixels. @type {OffscreenCanvasRenderingContext2D | null} */
  #frame = null;
  /** The image to draw crops from. @type {ImageBitmap | OffscreenCanvas | null} */
  drawn = null;

  /** @param {ImageBitmap | VideoFrame} picture a VideoFrame must be plain, see pose/frame.js */
  async take(picture) {
    if (this.drawn && "close" in this.drawn) this.drawn.close();
    this.drawn = null;
    this.drawn = "copyTo" in picture ? await this.#copy(picture).finally(() => picture.close()) : picture;
  }

  /**
   * Copies a frame to a canvas. Drawing the frame would give the same pixels, but without a GPU, Chromium keeps a
   * decoded image of each frame that it draws, up to half a gigabyte.
   * @param {VideoFrame} frame
   */
  async #copy(frame) {
    const {width, height} = /** @type {DOMRectReadOnly} */ (frame.visibleRect);
    if (!this.#pixels || !this.#frame || this.#pixels.width !== width || this.#pixels.height !== height) {
      this.#pixels = new ImageData(width, height);
      this.#frame = makeContext(width, height);
    }
    await frame.copyTo(this.#pixels.data, {format: "RGBA"});
    this.#frame.putImageData(this.#pixels, 0, 0);
    return this.#frame.canvas;
  }
}

export class Cutter {
  /** @param {import("../pose/metadata.js").Network} network */
  constructor({inputSize: [height, width], dtype, layout}) {
    this.layout = layout;
    /** @type {Pixels} */
    this.input = new (dtype === "uint8" ? Uint8Array : Float32Array)(3 * height * width);
    this.context = makeContext(width, height);
    this.context.imageSmoothingQuality = "medium";
  }

  /**
   * Writes a crop of an image to the model's input, black outside the image.
   * @param {Picture} picture
   * @param {import("../pose/crop.js").Crop} crop
   */
  cut({drawn}, crop) {
    const {width, height} = this.context.canvas;
    const [scaleX, scaleY] = [width / crop.width, height / crop.height];
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    this.context.fillStyle = "black";
    this.context.fillRect(0, 0, width, height);
    this.context.setTransform(scaleX, 0, 0, scaleY, -crop.x * scaleX, -crop.y * scaleY);
    if (drawn) this.context.drawImage(drawn, 0, 0);
    fillInput(this.context.getImageData(0, 0, width, height).data, this.layout, this.input);
  }
}

/**
 * @param {number} width
 * @param {number} height
 */
function makeContext(width, height) {
  const context = new OffscreenCanvas(width, height).getContext("2d", {willReadFrequently: true});
  if (!context) throw new Trouble("memory-short");
  return context;
}
