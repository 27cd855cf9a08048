import assert from "node:assert/strict";
import test from "node:test";
import {compare, fillInput, toPicture} from "../../../mobile_demo/web/pose/decode.js";
import {assertClose} from "./golden.js";

test("corners and middle of a crop", () => {
  const crop = {x: -10, y: 20, width: 60, height: 80};
  assertClose(toPicture([0, 0, 1, 1, 0.5, 0.5, 1.5, -0.5], crop), [-10, 20, 50, 100, 20, 60, 80, -20]);
});

test("pixels go in by pixel or by channel, without alpha", () => {
  const rgba = Uint8ClampedArray.from([1, 2, 3, 255, 4, 5, 6, 0]);
  const bytes = new Uint8Array(6);
  fillInput(rgba, "nhwc", bytes);
  assert.deepEqual([...bytes], [1, 2, 3, 4, 5, 6]);
  const floats = new Float32Array(6);
  fillInput(rgba, "nchw", floats);
  assert.deepEqual([...floats], [1, 4, 2, 5, 3, 6]);
});

test("two results differ by their worst sure joint", () => {
  const first = {keypoints_2d: [0, 0, 0.5, 0.5, 1, 1], scores: [0.9, 0.9, 0.1], pose_3d: [0, 0, 0, 1, 1, 1, 2, 2, 2]};
  assert.deepEqual(compare(first, first, 0.2), {sure: 2, keypoints: 0, poseMm: 0});
  const second = {keypoints_2d: [0.3, 0.4, 0.5, 0.6, 9, 9], scores: [], pose_3d: [0, 0, 0, 1, 4, 5, 99, 99, 99]};
  assertClose(Object.values(compare(first, second, 0.2)), [2, 0.5, 5]);
  assert.equal(compare(first, {...second, keypoints_2d: [Number.NaN, 0, 0, 0, 0, 0]}, 0.2).keypoints, Infinity);
});
