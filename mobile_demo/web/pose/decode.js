// From the model's outputs to joints in the image.

/** @typedef {import("./crop.js").Crop} Crop */

/**
 * A model's outputs for one crop; 2D models have no `pose_3d`.
 * @typedef {{keypoints_2d: Float32Array, scores: Float32Array, pose_3d?: Float32Array}} Outputs
 */

/**
 * The joints in pixels of the image: x, y of each. The center of the first pixel is 0.5, 0.5.
 * @param {ArrayLike<number>} keypoints2d x, y of each joint in [0, 1] of the crop
 * @param {Crop} crop
 */
export function toPicture(keypoints2d, crop) {
  return Float64Array.from(keypoints2d, (value, i) =>
    i % 2 ? crop.y + value * crop.height : crop.x + value * crop.width,
  );
}

/**
 * Writes RGBA pixels as the model's input: RGB, 0 to 255.
 * @param {Uint8ClampedArray} rgba
 * @param {"nhwc" | "nchw"} layout
 * @param {Uint8Array | Float32Array} input the result, 3 values per pixel
 */
export function fillInput(rgba, layout, input) {
  const pixels = rgba.length / 4;
  const [step, plane] = layout === "nhwc" ? [3, 1] : [1, pixels];
  for (let i = 0; i < pixels; i++) {
    input[i * step] = rgba[4 * i];
    input[i * step + plane] = rgba[4 * i + 1];
    input[i * step + 2 * plane] = rgba[4 * i + 2];
  }
}

/**
 * The largest difference between two results, over the joints that the first is sure of.
 * @param {Outputs} first
 * @param {Outputs} second
 * @param {number} lowScore
 * @returns {{sure: number, keypoints: number, poseMm: number}} sure joints; differences in [0, 1] of the crop, in mm
 */
export function compare(first, second, lowScore) {
  let [sure, keypoints, poseMm] = [0, 0, 0];
  const distance = (/** @type {Float32Array} */ a, /** @type {Float32Array} */ b, /** @type {number} */ j, n = 2) =>
    Math.hypot(...Array.from({length: n}, (_, i) => a[n * j + i] - b[n * j + i]));
  for (let j = 0; j < first.scores.length; j++) {
    if (first.scores[j] < lowScore) continue;
    sure += 1;
    keypoints = max(keypoints, distance(first.keypoints_2d, second.keypoints_2d, j));
    if (first.pose_3d && second.pose_3d) poseMm = max(poseMm, distance(first.pose_3d, second.pose_3d, j, 3));
  }
  return {sure, keypoints, poseMm};
}

/**
 * The larger of two numbers; NaN counts as infinite.
 * @param {number} a
 * @param {number} b
 */
function max(a, b) {
  return Number.isNaN(b) ? Number.POSITIVE_INFINITY : Math.max(a, b);
}
