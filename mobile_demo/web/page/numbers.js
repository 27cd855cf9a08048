// Shows angles and distances as numbers, a few times per second.

import {LOW_SCORE} from "../pose/crop.js";
import {angleDeg, distance} from "../pose/measures.js";
import {hinges, readable, sideOf} from "../pose/skeleton.js";
import {button, element, write} from "./dom.js";

/** @typedef {import("../pose/metadata.js").Model} Model */
/** @typedef {import("../pose/tracker.js").Pose} Pose */
/** @typedef {{name: string, joints: number[], side: string, tell: (points: ArrayLike<number>, dimensions: number) => number}} Row */

const EVERY_MS = 200;
const UNSEEN = "–";

export class Numbers {
  /** @type {"angles" | "distances"} */
  #kind = "angles";
  /** @type {Model | null} */
  #model = null;
  /** @type {Pose | null} */
  #pose = null;
  /** @type {(Row & {cell: HTMLTableCellElement})[]} */
  #rows = [];
  #shown = 0;

  constructor() {
    for (const kind of /** @type {const} */ (["angles", "distances"])) {
      button(`show-${kind}`).onclick = () => {
        this.#kind = kind;
        this.#build();
      };
    }
    for (const id of ["pair-from", "pair-to"]) element(id).onchange = () => this.#write();
    this.#build();
  }

  /** @param {Model} model whose joints are shown from now on */
  use(model) {
    this.#model = model;
    this.#pose = null;
    for (const [id, chosen] of /** @type {const} */ ([
      ["pair-from", 0],
      ["pair-to", model.jointNames.length - 1],
    ])) {
      const options = model.jointNames.map(
        (name, j) => new Option(readable(name), String(j), j === chosen, j === chosen),
      );
      element(id).replaceChildren(...options);
    }
    this.#build();
  }

  /**
   * @param {Pose} pose
   * @param {boolean} soon at once, even within `EVERY_MS` of the last update
   */
  show(pose, soon = false) {
    this.#pose = pose;
    const now = performance.now();
    if (element("numbers").hidden || (!soon && now - this.#shown < EVERY_MS)) return;
    this.#shown = now;
    this.#write();
  }

  #build() {
    const angles = this.#kind === "angles";
    button("show-angles").setAttribute("aria-pressed", String(angles));
    button("show-distances").setAttribute("aria-pressed", String(!angles));
    element("pair").hidden = angles;
    const where = this.#model?.hasPose === false ? "in the image" : "in 3D";
    const what = angles ? "Joint angles (180° is straight)" : "Distances between joints";
    write("numbers-caption", `${what} ${where}`);
    const table = /** @type {HTMLTableSectionElement} */ (element("numbers-rows"));
    table.replaceChildren();
    this.#rows = this.#describe().map((row) => {
      const line = table.insertRow();
      const head = document.createElement("th");
      head.scope = "row";
      head.className = `side-${row.side}`;
      head.textContent = row.name;
      line.append(head);
      return {...row, cell: line.insertCell()};
    });
    this.#write();
  }

  /** @returns {Row[]} */
  #describe() {
    if (!this.#model) return [];
    const {jointNames, edges} = this.#model;
    if (this.#kind === "angles") {
      return hinges(edges).map(({joint, ends}) => ({
        name: readable(jointNames[joint]),
        joints: [joint, ...ends],
        side: sideOf(jointNames[joint]),
        tell: (points, dimensions) => angleDeg(points, dimensions, joint, ends),
      }));
    }
    return edges.map(([a, b]) => ({
      name: `${readable(jointNames[a])} to ${jointNames[b].replaceAll("_", " ")}`,
      joints: [a, b],
      side: sideOf(jointNames[b]),
      tell: (points, dimensions) => distance(points, dimensions, a, b),
    }));
  }

  #write() {
    const pose = this.#pose;
    const dimensions = pose?.pose_3d ? 3 : 2;
    const points = pose?.pose_3d ?? pose?.keypoints_2d;
    const unit = this.#kind === "angles" ? "°" : dimensions === 3 ? " mm" : " px";
    const tell = (/** @type {number[]} */ joints, /** @type {(points: ArrayLike<number>) => number} */ measure) => {
      const seen = pose && points && joints.every((j) => pose.scores[j] >= LOW_SCORE);
      const value = seen ? measure(points) : Number.NaN;
      return Number.isNaN(value) ? UNSEEN : `${value.toFixed(0)}${unit}`;
    };
    for (const {cell, joints, tell: measure} of this.#rows) {
      cell.textContent = tell(joints, (all) => measure(all, dimensions));
    }
    if (this.#kind === "angles" || !this.#model) return;
    const [from, to] = ["pair-from", "pair-to"].map((id) =>
      Number(/** @type {HTMLSelectElement} */ (element(id)).value),
    );
    element("pair-value").textContent = tell([from, to], (all) => distance(all, dimensions, from, to));
  }
}
