// Which part of an image the model looks at. The rules are those of PosePredictor; shared test vectors check both.

/**
 * A part of an image in its pixels. It may reach outside the image, where everything is black.
 * @typedef {{x: number, y: number, width: number, height: number}} Crop
 */

/** @typedef {[height: number, width: number]} Size */

export const CROP_MARGIN = 1.25;
/** Joints below this score are unsure. A person is lost if the mean score of the joints is below it. */
export const LOW_SCORE = 0.2;
/** The fewest sure joints for a box; with fewer, it is around all joints. */
export const FEWEST_SURE_JOINTS = 4;
/** Limits how much a crop may shrink from one to the next: joints on a single spot are not a person. */
export const MOST_ZOOM = 8;

/**
 * The crop around a box, grown by `margin` and then to the aspect ratio of the model's input, so nothing is stretched.
 * @param {number[]} box x0, y0, x1, y1
 * @param {Size} inputSize
 * @param {number} [margin]
 * @returns {Crop}
 */
export function cropAround([x0, y0, x1, y1], inputSize, margin = CROP_MARGIN) {
  let width = Math.max(x1 - x0, 1) * margin;
  let height = Math.max(y1 - y0, 1) * margin;
  const aspect = inputSize[1] / inputSize[0];
  if (width > height * aspect) height = width / aspect;
  else width = height * aspect;
  return {x: (x0 + x1 - width) / 2, y: (y0 + y1 - height) / 2, width, height};
}

/**
 * @param {Size} picture
 * @param {Size} inputSize
 * @returns {Crop}
 */
export function wholePicture(picture, inputSize) {
  return cropAround([0, 0, picture[1], picture[0]], inputSize, 1);
}

/**
 * The next box: around the sure joints, or around all joints if few are sure.
 * @param {ArrayLike<number>} keypointsPx x, y of each joint
 * @param {ArrayLike<number>} scores
 * @param {Crop} crop what the model saw when it found the joints
 * @returns {number[]} x0, y0, x1, y1
 */
export function boxOf(keypointsPx, scores, crop) {
  const joints = Array.from(scores, (_, j) => j);
  const sure = joints.filter((j) => scores[j] >= LOW_SCORE);
  const counted = sure.length >= FEWEST_SURE_JOINTS ? sure : joints;
  const xs = counted.map((j) => keypointsPx[2 * j]);
  const ys = counted.map((j) => keypointsPx[2 * j + 1]);
  const [x0, y0, x1, y1] = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  const shortX = Math.max(crop.height / MOST_ZOOM - (x1 - x0), 0) / 2;
  const shortY = Math.max(crop.height / MOST_ZOOM - (y1 - y0), 0) / 2;
  return [x0 - shortX, y0 - shortY, x1 + shortX, y1 + shortY];
}

/**
 * Whether there is no person to follow.
 * @param {ArrayLike<number>} scores
 */
export function isLost(scores) {
  const mean = Array.from(scores).reduce((sum, score) => sum + score, 0) / scores.length;
  return !(mean >= LOW_SCORE);
}

/**
 * The crop for the next image: around the joints, or the whole image if that crop would lie outside it.
 * @param {ArrayLike<number>} keypointsPx
 * @param {ArrayLike<number>} scores
 * @param {Crop} crop
 * @param {Size} picture
 * @param {Size} inputSize
 * @returns {Crop}
 */
export function nextCrop(keypointsPx, scores, crop, picture, inputSize) {
  const next = cropAround(boxOf(keypointsPx, scores, crop), inputSize);
  const [height, width] = picture;
  const outside = next.x > width || next.y > height || next.x + next.width < 0 || next.y + next.height < 0;
  if (outside || !Object.values(next).every(Number.isFinite)) return wholePicture(picture, inputSize);
  return next;
}
