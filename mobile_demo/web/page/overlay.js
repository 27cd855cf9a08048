// The canvas that covers the image on the screen, for the skeleton.

import {drawFigure} from "./figure.js";

const UNIT_PX = 0.85; // of a line's width on the screen, in CSS pixels

export class Overlay {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.redraw = () => {};
    new ResizeObserver(() => {
      fit(canvas);
      this.redraw();
    }).observe(canvas);
  }

  clear() {
    this.redraw = () => {};
    this.#erase();
  }

  /**
   * @param {import("../pose/metadata.js").Model} model
   * @param {import("../pose/tracker.js").Pose} pose
   * @param {import("../pose/crop.js").Size} picture
   * @param {boolean} mirrored
   */
  draw(model, pose, picture, mirrored) {
    this.redraw = () => {
      this.#erase();
      const [height, width] = picture;
      const {canvas, context} = this;
      // The same scale and place as the image under the canvas, which has object-fit: contain.
      const scale = Math.min(canvas.width / width, canvas.height / height);
      const [left, top] = [(canvas.width - scale * width) / 2, (canvas.height - scale * height) / 2];
      if (mirrored) context.setTransform(-scale, 0, 0, scale, canvas.width - left, top);
      else context.setTransform(scale, 0, 0, scale, left, top);
      drawFigure(context, model, pose, (UNIT_PX * devicePixelRatio) / scale);
    };
    this.redraw();
  }

  /**
   * The point of the image, x and y in pixels, at a click on the canvas.
   * @param {MouseEvent} event
   * @param {import("../pose/crop.js").Size} picture
   * @param {boolean} mirrored
   */
  locate({offsetX, offsetY}, [height, width], mirrored) {
    const {clientWidth, clientHeight} = this.canvas;
    const scale = Math.min(clientWidth / width, clientHeight / height);
    const right = (offsetX - clientWidth / 2) / scale;
    return [width / 2 + (mirrored ? -right : right), height / 2 + (offsetY - clientHeight / 2) / scale];
  }

  #erase() {
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }
}

/**
 * Sets a canvas's resolution to that of the screen.
 * @param {HTMLCanvasElement} canvas
 */
export function fit(canvas) {
  canvas.width = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
  canvas.height = Math.max(1, Math.round(canvas.clientHeight * devicePixelRatio));
}
