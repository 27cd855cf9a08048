// Joint names and bones, all from the model's metadata.

/** @typedef {[parent: number, child: number]} Edge */
/** @typedef {"left" | "right" | "middle"} Side the person's own, not the image's */

/**
 * @param {string} jointName
 * @returns {Side}
 */
export function sideOf(jointName) {
  const [side] = jointName.split("_");
  return side === "left" || side === "right" ? side : "middle";
}

/**
 * `left_knee` in readable form.
 * @param {string} jointName
 */
export function readable(jointName) {
  const text = jointName.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/**
 * The joints that have an angle: with one bone toward the root and exactly one away from it.
 * @param {Edge[]} edges
 * @returns {{joint: number, ends: [number, number]}[]}
 */
export function hinges(edges) {
  return edges.flatMap(([parent, joint]) => {
    const children = edges.filter(([from]) => from === joint).map(([, to]) => to);
    return children.length === 1 ? [{joint, ends: /** @type {[number, number]} */ ([parent, children[0]])}] : [];
  });
}
