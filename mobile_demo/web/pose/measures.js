// Angles and distances between joints, in 3D or in the image.

/**
 * @param {ArrayLike<number>} points
 * @param {number} dimensions of each point, 2 or 3
 * @param {number} a
 * @param {number} b
 */
export function distance(points, dimensions, a, b) {
  return Math.hypot(...between(points, dimensions, a, b));
}

/**
 * The angle at `joint` between the directions to two others, 0 to 180 degrees; 180 is a straight limb. NaN if one of
 * them coincides with the joint.
 * @param {ArrayLike<number>} points
 * @param {number} dimensions
 * @param {number} joint
 * @param {[number, number]} ends
 */
export function angleDeg(points, dimensions, joint, [a, b]) {
  const first = between(points, dimensions, joint, a);
  const second = between(points, dimensions, joint, b);
  const cosine = first.reduce((sum, value, k) => sum + value * second[k], 0) / Math.hypot(...first);
  return (Math.acos(Math.max(-1, Math.min(1, cosine / Math.hypot(...second)))) * 180) / Math.PI;
}

/**
 * @param {ArrayLike<number>} points
 * @param {number} dimensions
 * @param {number} from
 * @param {number} to
 */
function between(points, dimensions, from, to) {
  return Array.from({length: dimensions}, (_, k) => points[dimensions * to + k] - points[dimensions * from + k]);
}
