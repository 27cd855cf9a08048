// Draws the skeleton over the picture. Left is blue, right is orange, the middle is green: the person's own sides.

import {LOW_SCORE} from "../pose/crop.js";
import {sideOf} from "../pose/skeleton.js";

// As keras_pose.visualization.drawing; blue and orange stay apart for colour-blind eyes, on skin, on grass and on white.
export const COLORS = {left: "rgb(30 130 255)", right: "rgb(255 110 20)", middle: "rgb(40 190 90)"};
const RIM = "rgb(0 0 0 / 75%)"; // so that lines show on a bright picture as well, and in the sun
const LIGHT = "white";

/**
 * Joints that are not sure are thin and hollow; of a person who is lost they are left out.
 * @param {CanvasRenderingContext2D} context whose units are the picture's pixels
 * @param {import("../pose/metadata.js").Model} model
 * @param {import("../pose/tracker.js").Pose} pose
 * @param {number} unit of the line width, in the picture's pixels
 */
export function drawFigure(context, {jointNames, edges}, {keypoints_2d: points, scores, lost}, unit) {
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
