import assert from "node:assert/strict";
import test from "node:test";
import {angleDeg, distance} from "../../../mobile_demo/web/pose/measures.js";
import {orbit, project} from "../../../mobile_demo/web/pose/projection.js";
import {Rates} from "../../../mobile_demo/web/pose/rates.js";
import {hinges, readable, sideOf} from "../../../mobile_demo/web/pose/skeleton.js";
import {assertClose} from "./golden.js";

test("angles that one knows", () => {
  const points = [0, 0, 1, 0, 0, 1, -1, 0, 1, 1];
  const at = (...ends) => angleDeg(points, 2, 0, ends);
  assertClose([at(1, 2), at(1, 3), at(1, 4), at(1, 1)], [90, 180, 45, 0]);
  assert.ok(Number.isNaN(at(0, 1)));
});

test("angles and distances stay when the pose is turned, angles also when it is scaled", () => {
  const pose = [100, -200, 300, -50, 400, 20, 70, 80, -90];
  const turned = project(pose, orbit(40, 50), [1, 2, 3], Infinity);
  assertClose([angleDeg(turned, 3, 0, [1, 2])], [angleDeg(pose, 3, 0, [1, 2])]);
  assertClose([distance(turned, 3, 1, 2)], [distance(pose, 3, 1, 2)]);
  const scaled = pose.map((value) => 7 * value);
  assertClose([angleDeg(scaled, 3, 0, [1, 2])], [angleDeg(pose, 3, 0, [1, 2])]);
  assertClose([distance([0, 0, 0, 3, 4, 12], 3, 0, 1)], [13]);
});

test("angles are told at joints with one bone on each side", () => {
  // 0 is the root with two legs, 1-2-3 and 4; 3 and 4 are ends.
  const edges = [
    [0, 1],
    [1, 2],
    [2, 3],
    [0, 4],
  ];
  assert.deepEqual(hinges(edges), [
    {joint: 1, ends: [0, 2]},
    {joint: 2, ends: [1, 3]},
  ]);
});

test("names", () => {
  assert.deepEqual(["left_knee", "right_hip", "thorax", "leftover"].map(sideOf), ["left", "right", "middle", "middle"]);
  assert.equal(readable("left_knee"), "Left knee");
});

test("rates of the last results", () => {
  const rates = new Rates();
  assert.ok(Number.isNaN(rates.get().frames_per_second));
  for (let i = 0; i < 500; i++) rates.add(i * 100, i < 400 ? 900 : i % 3, 7);
  const {frames_per_second, latency_ms, inference_ms} = rates.get();
  assertClose([frames_per_second, latency_ms, inference_ms], [10, 1, 7]);
});
