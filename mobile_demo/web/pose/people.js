// From a finder's maps to the people in an image. The rules are those of keras_pose's inference/finder.py.

import {toPicture} from "./decode.js";

/** @typedef {{box: number[], score: number}} Person `box` is x0, y0, x1, y1 */

const MAX_PEOPLE = 10;
const AROUND = [-1, 0, 1];

/**
 * The people of a finder's maps, the highest score first; boxes in [0, 1] of its input. A cell is a person if its score
 * is high enough and no neighbour's is higher. Of boxes that overlap too much the best one is kept.
 * @param {{centers: Float32Array, boxes: Float32Array}} maps a score per cell; distances from the cell's centre to the
 *   left, top, right and bottom side of the box
 * @param {import("./metadata.js").Finder} finder
 * @returns {Person[]}
 */
export function readPeople({centers, boxes}, {inputSize: [side], stride, score: least, overlap: most}) {
  const cells = side / stride;
  /** @type {Person[]} */
  const peaks = [];
  for (const [i, score] of centers.entries()) {
    const [row, column] = [Math.floor(i / cells), i % cells];
    const higher = (/** @type {number} */ y, /** @type {number} */ x) =>
      x >= 0 && x < cells && centers[y * cells + x] > score;
    if (!(score >= least) || AROUND.some((dy) => AROUND.some((dx) => higher(row + dy, column + dx)))) continue;
    const [x, y] = [(column + 0.5) / cells, (row + 0.5) / cells];
    const [left, top, right, bottom] = boxes.subarray(4 * i);
    peaks.push({box: [x - left, y - top, x + right, y + bottom], score});
  }
  /** @type {Person[]} */
  const kept = [];
  for (const person of peaks.sort((a, b) => b.score - a.score)) {
    const known = kept.some(({box}) => overlap(box, person.box) > most);
    if (!known && kept.length < MAX_PEOPLE) kept.push(person);
  }
  return kept;
}

/**
 * The same people in pixels of the image, clipped to it, the most prominent first.
 * @param {Person[]} people
 * @param {import("./crop.js").Crop} crop what the finder saw
 * @param {import("./crop.js").Size} picture
 * @returns {Person[]}
 */
export function placePeople(people, crop, [height, width]) {
  const limits = [width, height];
  const prominence = (/** @type {Person} */ {box, score}) => score * Math.sqrt(area(box));
  return people
    .map(({box, score}) => ({
      box: Array.from(toPicture(box, crop), (value, i) => Math.min(Math.max(value, 0), limits[i % 2])),
      score,
    }))
    .filter(({box: [x0, y0, x1, y1]}) => x1 - x0 >= 1 && y1 - y0 >= 1)
    .sort((a, b) => prominence(b) - prominence(a));
}

/**
 * The person at a point or nearest to it; of several, the one whose middle is nearest.
 * @param {Person[]} people
 * @param {number[]} point x, y
 * @returns {Person | undefined}
 */
export function personAt(people, [x, y]) {
  const far = (/** @type {Person} */ {box: [x0, y0, x1, y1]}) => [
    Math.hypot(Math.max(x0 - x, x - x1, 0), Math.max(y0 - y, y - y1, 0)),
    Math.hypot((x0 + x1) / 2 - x, (y0 + y1) / 2 - y),
  ];
  const ranked = people.map((person) => ({person, far: far(person)}));
  return ranked.sort((a, b) => a.far[0] - b.far[0] || a.far[1] - b.far[1])[0]?.person;
}

/**
 * Intersection over union of two boxes.
 * @param {number[]} a
 * @param {number[]} b
 */
export function overlap(a, b) {
  const both = area([Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])]);
  return both / Math.max(area(a) + area(b) - both, 1e-12);
}

/** @param {number[]} box */
function area([x0, y0, x1, y1]) {
  return Math.max(x1 - x0, 0) * Math.max(y1 - y0, 0);
}
