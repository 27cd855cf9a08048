import assert from "node:assert/strict";
import test from "node:test";
import {KEYPOINTS_2D, OneEuroFilter, POSE_3D_MM} from "../../../mobile_demo/web/pose/smoothing.js";
import {assertClose, golden} from "./golden.js";

test("streams come out as keras_pose smooths them, with the same settings", () => {
  const settings = [KEYPOINTS_2D, POSE_3D_MM];
  for (const [k, stream] of golden.one_euro.entries()) {
    assert.deepEqual(settings[k], stream.settings);
    const filter = new OneEuroFilter(settings[k]);
    for (const [i, time] of stream.times.entries())
      assertClose(filter.filter(stream.values[i], time), stream.smoothed[i]);
  }
});

test("after a reset the next values pass, and time may start again", () => {
  const filter = new OneEuroFilter(POSE_3D_MM);
  filter.filter([1, 2], 5);
  assert.throws(() => filter.filter([1, 2], 5), RangeError);
  filter.reset();
  assert.deepEqual([...filter.filter([7, 8, 9], 0)], [7, 8, 9]);
});

test("what comes out is the caller's own", () => {
  const filter = new OneEuroFilter(POSE_3D_MM);
  filter.filter([1], 0).fill(100);
  assert.deepEqual([...filter.filter([1], 1)], [1]);
});
