// Draws the skeleton over the image. The person's left is blue, right is orange, and the middle is green.

import {LOW_SCORE} from "../pose/crop.js";
import {sideOf} from "../pose/skeleton.js";

// The colors of the Python drawings. Color-blind people can distinguish them, also on skin, grass and white.
export const COLORS = {left: "rgb(30 130 255)", right: "rgb(255 110 20)", middle: "rgb(40 190 90)"};
const RIM = "rgb(0 0 0 / 75%)"; // keeps lines visible on bright images and in sunlight
const LIGHT = "white";

/**
 * Draws unsure joints thin and hollow, or not at all if the person is lost; nothing if the finder sees nobody.
 * @param {CanvasRenderingContext2D} context whose units are the image's pixels
 * @param {import("../pose/metadata.js").Model} model
 * @param {import("../pose/tracker.js").Pose} pose
 * @param {number} unit of the line width, in the image's pixels
 */
export function drawFigure(context, {jointNames, edges}, {keypoints_2d: points, scores, lost, person_score}, unit) {
  if (person_score === 0) return;
  context.lineCap = "round";
  const sure = (/** @type {number} */ j) => scores[j] >= LOW_SCORE;
  const width = (/** @type {number[]} */ edge) => (edge.every(sure) ? 5 : 2) * unit;
  for (const rim of [true, false]) {
    for (const [a, b] of edges) {
      if (lost && !(sure(a) && sure(b))) continue;
      context.strokeStyle = rim ? RIM : COLORS[sideOf(jointNames[b])];
      context.lineWidth = width([a, b]) + (rim ? 3 * unit : 0);
      context.beginPath();
      context.moveTo(points[2 * a], points[2 * a + 1]);
      context.lineTo(points[2 * b], points[2 * b + 1]);
      context.stroke();
    }
  }
  for (const [j, name] of jointNames.entries()) {
    if (lost && !sure(j)) continue;
    context.beginPath();
    context.arc(points[2 * j], points[2 * j + 1], (sure(j) ? 5.5 : 4) * unit, 0, 2 * Math.PI);
    context.fillStyle = COLORS[sideOf(name)];
    context.strokeStyle = sure(j) ? LIGHT : COLORS[sideOf(name)];
    context.lineWidth = 1.5 * unit;
    if (sure(j)) context.fill();
    context.stroke();
  }
}
