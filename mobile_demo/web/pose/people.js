// From a finder's maps to the people in an image. The rules are those of finder.py, windows.py and predictor.py in
// keras_pose/inference; only the page's windows have one size.

import {toPicture} from "./decode.js";

/** @typedef {{box: number[], score: number}} Person `box` is x0, y0, x1, y1 */

const MAX_PEOPLE = 10;
/** The finder's boxes with a lower score are ignored. */
export const LEAST_SCORE = 0.15;
/** Weight of the two boxes' overlap in a person's score, and the lowest score of a person; see `confirmed`. */
const [AGREEMENT_WEIGHT, ENOUGH] = [0.5, 0.44];
const CLOSER = 0.6; // side of the windows, as a share of the image's longer side
const WINDOWS_OVERLAP = 0.3; // smallest overlap of neighboring windows, as a share of their side
const AROUND = 2.5; // side of the window around a known person, relative to the longer side of their box
// In a window that is only a part of the image, a box may show only a part of a person if its longer side exceeds the
// first share of the window's side, or if it is nearer than the second share to a side inside the image.
const [LARGEST_IN_WINDOW, NEAR_SIDE] = [0.75, 0.02];
const STEPS = [-1, 0, 1];

/**
 * The people in a finder's maps, the highest score first; boxes in [0, 1] of its input. A cell is a person if its score
 * is high enough and no neighbor's is higher. Of boxes that overlap too much, only the best is kept.
 * @param {{centers: Float32Array, boxes: Float32Array}} maps a score per cell; distances from the cell's center to the
 *   left, top, right and bottom side of the box
 * @param {import("./metadata.js").Finder} finder
 * @param {number} [least] lowest score that counts
 * @returns {Person[]}
 */
export function readPeople({centers, boxes}, {inputSize: [side], stride, overlap: most}, least = LEAST_SCORE) {
  const cells = side / stride;
  /** @type {Person[]} */
  const peaks = [];
  for (const [i, score] of centers.entries()) {
    const [row, column] = [Math.floor(i / cells), i % cells];
    const higher = (/** @type {number} */ y, /** @type {number} */ x) =>
      x >= 0 && x < cells && centers[y * cells + x] > score;
    if (!(score >= least) || STEPS.some((dy) => STEPS.some((dx) => higher(row + dy, column + dx)))) continue;
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
 * The same people in pixels of the image, clipped to what the finder saw of it, the most prominent first. Leaves out
 * boxes that may show only a part of a person, because an inner side of the window cuts them off.
 * @param {Person[]} people
 * @param {import("./crop.js").Crop} crop what the finder saw
 * @param {import("./crop.js").Size} picture
 * @returns {Person[]}
 */
export function placePeople(people, crop, picture) {
  const window = [
    Math.max(crop.x, 0),
    Math.max(crop.y, 0),
    Math.min(crop.x + crop.width, picture[1]),
    Math.min(crop.y + crop.height, picture[0]),
  ];
  return people
    .map(({box, score}) => ({
      box: Array.from(toPicture(box, crop), (value, i) =>
        Math.min(Math.max(value, window[i % 2]), window[2 + (i % 2)]),
      ),
      score,
    }))
    .filter(({box: [x0, y0, x1, y1]}) => x1 - x0 >= 1 && y1 - y0 >= 1)
    .filter(({box}) => !isCut(box, window, picture))
    .sort((a, b) => prominence(b) - prominence(a));
}

/**
 * Whether a box in a window of the image may show only a part of a person.
 * @param {number[]} box
 * @param {number[]} window x0, y0, x1, y1
 * @param {import("./crop.js").Size} picture
 */
function isCut([left, top, right, bottom], [x0, y0, x1, y1], [height, width]) {
  if (x0 <= 0 && y0 <= 0 && x1 >= width && y1 >= height) return false;
  const side = Math.max(x1 - x0, y1 - y0);
  const near = NEAR_SIDE * side;
  return (
    Math.max(right - left, bottom - top) > LARGEST_IN_WINDOW * side ||
    (x0 > 0 && left < x0 + near) ||
    (y0 > 0 && top < y0 + near) ||
    (x1 < width && right > x1 - near) ||
    (y1 < height && bottom > y1 - near)
  );
}

/**
 * Overlapping square windows over an image, row by row, cut to the image where they are larger. Empty if they would be
 * smaller than half the finder's input: then they show nothing new.
 * @param {import("./crop.js").Size} picture
 * @param {number} inputSize of the finder
 * @returns {number[][]} x0, y0, x1, y1
 */
export function windows([height, width], inputSize, level = CLOSER) {
  const side = Math.max(Math.round(level * Math.max(height, width)), 1);
  if (side < inputSize / 2) return [];
  const starts = (/** @type {number} */ length) => {
    if (length <= side) return [0];
    const count = Math.max(Math.ceil((length - WINDOWS_OVERLAP * side) / ((1 - WINDOWS_OVERLAP) * side)), 2);
    return Array.from({length: count}, (_, i) => Math.floor((i * (length - side)) / (count - 1) + 0.5));
  };
  const columns = starts(width);
  return starts(height).flatMap((y) =>
    columns.map((x) => [x, y, Math.min(x + side, width), Math.min(y + side, height)]),
  );
}

/**
 * The square window around a box, moved into the image, or cut to the image where it is larger.
 * @param {number[]} box
 * @param {import("./crop.js").Size} picture
 * @returns {number[]} x0, y0, x1, y1
 */
export function windowAround([x0, y0, x1, y1], [height, width]) {
  const side = Math.max(Math.floor(AROUND * Math.max(x1 - x0, y1 - y0) + 0.5), 1);
  const place = (/** @type {number} */ a, /** @type {number} */ b, /** @type {number} */ length) => {
    if (side >= length) return [0, length];
    const start = Math.min(Math.max(Math.floor((a + b - side) / 2 + 0.5), 0), length - side);
    return [start, start + side];
  };
  const [[left, right], [top, bottom]] = [place(x0, x1, width), place(y0, y1, height)];
  return [left, top, right, bottom];
}

/**
 * Combines a finder's box with the joints that the model found in it. The box becomes that of all joints, clipped to
 * the image. The score also counts the joints' scores and the overlap of the two boxes. Null if it is below `ENOUGH`.
 * @param {Person} found
 * @param {ArrayLike<number>} keypointsPx x, y of each joint
 * @param {ArrayLike<number>} scores
 * @param {import("./crop.js").Size} picture
 * @returns {Person | null}
 */
export function confirmed(found, keypointsPx, scores, [height, width]) {
  const points = Array.from(keypointsPx);
  const along = (/** @type {number} */ axis, /** @type {number} */ length) => {
    const inside = points.filter((_, i) => i % 2 === axis).map((v) => Math.min(Math.max(v, 0), length));
    return [Math.min(...inside), Math.max(...inside)];
  };
  const [[x0, x1], [y0, y1]] = [along(0, width), along(1, height)];
  const box = [x0, y0, x1, y1];
  const mean = Array.from(scores).reduce((sum, value) => sum + value, 0) / scores.length;
  const score = (found.score + mean + AGREEMENT_WEIGHT * overlap(box, found.box)) / (2 + AGREEMENT_WEIGHT);
  return score >= ENOUGH ? {box, score} : null;
}

/**
 * The person at a point, or else the nearest one; of several, the one whose box's center is nearest.
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
 * How prominent a person is in an image; increases with score and size.
 * @param {Person} person
 */
export function prominence({box, score}) {
  return score * Math.sqrt(area(box));
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
