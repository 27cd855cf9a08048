// The 3D view: a camera that orbits the person. Camera frame: x right, y down, z away, millimetres.

/** The eye's distance from the person, for perspective. */
export const EYE_MM = 5000;
const MOST_PITCH = 85;
const DEGREES = Math.PI / 180;

/**
 * A rotation matrix, row by row: about the vertical axis by yaw, then looking down by pitch. 0, 0 is the camera's view;
 * yaw 90 shows the person's side.
 * @param {number} yawDeg
 * @param {number} pitchDeg
 */
export function orbit(yawDeg, pitchDeg) {
  const [cy, sy] = [Math.cos(yawDeg * DEGREES), Math.sin(yawDeg * DEGREES)];
  const [cp, sp] = [Math.cos(pitchDeg * DEGREES), Math.sin(pitchDeg * DEGREES)];
  return [cy, 0, sy, sp * sy, cp, -sp * cy, -cp * sy, sp, cp * cy];
}

/**
 * Yaw and pitch after a finger moved across the view; from edge to edge is half a turn.
 * @param {{yaw: number, pitch: number}} angles degrees
 * @param {number} dx as a share of the view's width
 * @param {number} dy as a share of the view's height
 */
export function turn({yaw, pitch}, dx, dy) {
  const wrapped = ((((yaw - 180 * dx + 180) % 360) + 360) % 360) - 180;
  return {yaw: wrapped, pitch: Math.max(-MOST_PITCH, Math.min(MOST_PITCH, pitch + 180 * dy))};
}

/**
 * Projects points: x and y in mm at the depth of `middle`, and the depth behind it in mm.
 * @param {ArrayLike<number>} pointsMm x, y, z of each
 * @param {number[]} rotation of `orbit`
 * @param {ArrayLike<number>} middle the point that the view turns about
 * @param {number} [eyeMm] Infinity for no perspective
 * @returns {Float64Array} x, y, depth of each
 */
export function project(pointsMm, rotation, middle, eyeMm = EYE_MM) {
  const seen = new Float64Array(pointsMm.length);
  for (let i = 0; i < pointsMm.length; i += 3) {
    const [x, y, z] = [pointsMm[i] - middle[0], pointsMm[i + 1] - middle[1], pointsMm[i + 2] - middle[2]];
    const row = (/** @type {number} */ k) => rotation[k] * x + rotation[k + 1] * y + rotation[k + 2] * z;
    const depth = row(6);
    const scale = 1 / (1 + Math.max(depth / eyeMm, -0.9));
    seen.set([row(0) * scale, row(3) * scale, depth], i);
  }
  return seen;
}

/**
 * The center of the points' box, half its longest side, and the y of the lowest point (y points down).
 * @param {ArrayLike<number>} pointsMm
 */
export function extent(pointsMm) {
  const low = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  const high = low.map((value) => -value);
  for (let i = 0; i < pointsMm.length; i++) {
    low[i % 3] = Math.min(low[i % 3], pointsMm[i]);
    high[i % 3] = Math.max(high[i % 3], pointsMm[i]);
  }
  return {
    middle: low.map((value, k) => (value + high[k]) / 2),
    radius: Math.max(...high.map((value, k) => value - low[k])) / 2,
    floor: high[1],
  };
}
