// The 3D view. A finger or the arrow keys turn it.

import {EYE_MM, extent, orbit, project, turn} from "../pose/projection.js";
import {sideOf} from "../pose/skeleton.js";
import {COLORS} from "./figure.js";
import {fit} from "./overlay.js";

const START = {yaw: 30, pitch: 12};
const KEY_STEP = 1 / 12; // of the view: 15 degrees
const CELL_MM = 500;
const [CELLS, LEAST_RADIUS_MM] = [2, 500];
const SETTLE = 0.1; // share of the way that the view's size and middle move toward the newest pose, per result
const KEYS = /** @type {Record<string, [number, number]>} */ ({
  ArrowLeft: [-KEY_STEP, 0],
  ArrowRight: [KEY_STEP, 0],
  ArrowUp: [0, -KEY_STEP],
  ArrowDown: [0, KEY_STEP],
});

export class View3d {
  /** @type {{model: import("../pose/metadata.js").Model, pose: ArrayLike<number>, mirrored: boolean} | null} */
  #shown = null;
  /** @type {{middle: number[], radius: number, floor: number} | null} */
  #frame = null;
  #pending = 0;
  /** The last position of the finger that turns the view. @type {PointerEvent | null} */
  #finger = null;
  angles = {...START};

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLElement} handle the element that receives touches and keys
   */
  constructor(canvas, handle) {
    this.canvas = canvas;
    this.handle = handle;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    new ResizeObserver(() => {
      fit(canvas);
      this.#draw();
    }).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#drawSoon());
    handle.addEventListener("pointermove", (event) => {
      const last = this.#finger;
      if (!event.buttons || event.pointerId !== last?.pointerId) return;
      this.#finger = event; // position differences, because in some browsers movementX is missing or in other units
      this.#turn(
        (event.clientX - last.clientX) / canvas.clientWidth,
        (event.clientY - last.clientY) / canvas.clientHeight,
      );
    });
    handle.addEventListener("pointerdown", (event) => {
      if (this.#finger && !event.isPrimary) return;
      this.#finger = event;
      handle.setPointerCapture(event.pointerId);
    });
    handle.addEventListener("lostpointercapture", (event) => {
      if (event.pointerId === this.#finger?.pointerId) this.#finger = null;
    });
    handle.addEventListener("dblclick", () => this.#reset());
    handle.addEventListener("keydown", (event) => {
      if (event.key === "Home") this.#reset();
      else if (KEYS[event.key]) this.#turn(...KEYS[event.key]);
      else return;
      event.preventDefault();
    });
  }

  /**
   * @param {import("../pose/metadata.js").Model} model
   * @param {ArrayLike<number>} pose mm: x, y, z of each joint
   * @param {boolean} mirrored like the image beside it
   */
  show(model, pose, mirrored) {
    this.#shown = {model, pose, mirrored};
    const {middle, radius, floor} = extent(pose);
    const now = {middle, radius: Math.max(radius, LEAST_RADIUS_MM), floor};
    const last = this.#frame;
    const towards = (/** @type {number} */ from, /** @type {number} */ to) => from + SETTLE * (to - from);
    this.#frame = last
      ? {
          middle: now.middle.map((value, k) => towards(last.middle[k], value)),
          radius: towards(last.radius, now.radius),
          floor: towards(last.floor, now.floor),
        }
      : now;
    this.#draw();
  }

  clear() {
    this.#shown = this.#frame = null;
    this.#draw();
  }

  #reset() {
    this.angles = {...START};
    this.#drawSoon();
  }

  /**
   * @param {number} dx as a share of the view's width
   * @param {number} dy as a share of its height
   */
  #turn(dx, dy) {
    this.angles = turn(this.angles, this.#shown?.mirrored ? -dx : dx, dy);
    this.#drawSoon();
  }

  #drawSoon() {
    const yaw = Math.round(this.angles.yaw);
    this.handle.setAttribute("aria-valuenow", String(yaw));
    this.handle.setAttribute("aria-valuetext", `${yaw} degrees`);
    this.#pending ||= requestAnimationFrame(() => {
      this.#pending = 0;
      this.#draw();
    });
  }

  #draw() {
    const {canvas, context} = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.#shown || !this.#frame) return;
    const {model, pose, mirrored} = this.#shown;
    const {middle, radius, floor} = this.#frame;
    const scale = Math.min(canvas.width, canvas.height) / (2.3 * radius);
    context.setTransform(mirrored ? -scale : scale, 0, 0, scale, canvas.width / 2, canvas.height / 2);
    context.lineCap = "round";
    const rotation = orbit(this.angles.yaw, this.angles.pitch);
    const eye = Math.max(EYE_MM, 3 * radius);
    const see = (/** @type {ArrayLike<number>} */ points) => project(points, rotation, middle, eye);
    this.#drawFloor(see, middle, floor, scale);
    const seen = see(pose);
    const paper = getComputedStyle(canvas).backgroundColor;
    const unit = devicePixelRatio / scale;
    const depth = (/** @type {number[]} */ [a, b]) => (seen[3 * a + 2] + seen[3 * b + 2]) / 2;
    // From the farthest to the nearest; farther bones are thinner.
    for (const [a, b] of [...model.edges].sort((a, b) => depth(b) - depth(a))) {
      const near = 1 - Math.max(0, Math.min(1, (depth([a, b]) / radius + 1) / 2));
      const width = (4 + 3 * near) * unit;
      context.beginPath();
      context.moveTo(seen[3 * a], seen[3 * a + 1]);
      context.lineTo(seen[3 * b], seen[3 * b + 1]);
      context.strokeStyle = paper; // a rim shows which of two bones is in front
      context.lineWidth = width + 4 * unit;
      context.stroke();
      context.strokeStyle = COLORS[sideOf(model.jointNames[b])];
      context.lineWidth = width;
      context.stroke();
      for (const j of [a, b]) {
        context.beginPath();
        context.arc(seen[3 * j], seen[3 * j + 1], 0.85 * width, 0, 2 * Math.PI);
        context.fillStyle = COLORS[sideOf(model.jointNames[j])];
        context.fill();
      }
    }
  }

  /**
   * A grid under the lowest joint.
   * @param {(points: ArrayLike<number>) => Float64Array} see
   * @param {number[]} middle
   * @param {number} floor
   * @param {number} scale
   */
  #drawFloor(see, middle, floor, scale) {
    const {context, canvas} = this;
    context.strokeStyle = getComputedStyle(canvas).color;
    context.lineWidth = devicePixelRatio / scale;
    context.beginPath();
    const reach = CELLS * CELL_MM;
    for (let line = -reach; line <= reach; line += CELL_MM) {
      for (const ends of [
        [line, -reach, line, reach],
        [-reach, line, reach, line],
      ]) {
        const [x0, z0, x1, z1] = ends.map((value, i) => value + middle[i % 2 ? 2 : 0]);
        const seen = see([x0, floor, z0, x1, floor, z1]);
        context.moveTo(seen[0], seen[1]);
        context.lineTo(seen[3], seen[4]);
      }
    }
    context.stroke();
  }
}
