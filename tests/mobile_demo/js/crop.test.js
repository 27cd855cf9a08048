import assert from "node:assert/strict";
import test from "node:test";
import {boxOf, cropAround, isLost, nextCrop, wholePicture} from "../../../mobile_demo/web/pose/crop.js";
import {Tracker} from "../../../mobile_demo/web/pose/tracker.js";
import {assertClose, assertCrop, golden} from "./golden.js";

test("crops around boxes are keras_pose's", () => {
  for (const {box, input, margin, crop} of golden.crops) assertCrop(cropAround(box, input, margin), crop);
});

test("the whole picture lies in its crop, which has the input's shape", () => {
  for (const picture of [
    [480, 640],
    [640, 480],
    [100, 1000],
  ]) {
    const [height, width] = picture;
    const crop = wholePicture(picture, [256, 192]);
    assert.ok(Math.abs(crop.width / crop.height - 192 / 256) < 1e-12);
    assert.ok(crop.x <= 1e-9 && crop.y <= 1e-9);
    assert.ok(crop.x + crop.width >= width - 1e-9 && crop.y + crop.height >= height - 1e-9);
    assertClose([crop.x + crop.width / 2, crop.y + crop.height / 2], [width / 2, height / 2]);
  }
});

test("a person is followed and steadied as keras_pose does it, until lost", () => {
  const {input, picture, box, times, outputs, crops, keypoints_px, pose_3d_mm} = golden.track;
  const tracker = new Tracker(input, {follow: true, smooth: true});
  tracker.look(picture);
  tracker.next = cropAround(box, input);
  for (const [i, output] of outputs.entries()) {
    const crop = tracker.look(picture);
    assertCrop(crop, crops[i]);
    const pose = tracker.take(output, crop, picture, times[i]);
    assertClose(pose.keypoints_2d, keypoints_px[i], 1e-5);
    assertClose(pose.pose_3d, pose_3d_mm[i], 1e-5);
  }
  assert.ok(isLost(outputs.at(-1).scores));
  assert.deepEqual(tracker.look(picture), wholePicture(picture, input));
});

test("one who is lost is looked for in the whole picture and around what may be there, in turn", () => {
  const {input, picture, outputs} = golden.track;
  const tracker = new Tracker(input, {follow: true, smooth: true});
  const whole = wholePicture(picture, input);
  const unsure = {...outputs[0], scores: outputs[0].scores.map(() => 0.1)};
  for (let i = 0; i < 3; i++) {
    assert.deepEqual(tracker.look(picture), whole);
    assert.ok(tracker.take(unsure, whole, picture, 2 * i).lost);
    const around = tracker.look(picture);
    assert.ok(around.width < whole.width);
    tracker.take(i < 2 ? unsure : outputs[1], around, picture, 2 * i + 1);
  }
  assert.ok(tracker.look(picture).width < whole.width); // found at last, and followed
});

test("a phone that is turned: the picture is looked at as a whole again", () => {
  const {input, picture, outputs, times} = golden.track;
  const tracker = new Tracker(input, {follow: true, smooth: true});
  const crop = tracker.look(picture);
  tracker.take(outputs[0], crop, picture, times[0]);
  assert.notDeepEqual(tracker.look(picture), crop);
  const turned = [...picture].reverse();
  assert.deepEqual(tracker.look(turned), wholePicture(turned, input));
  const pose = tracker.take(outputs[1], tracker.look(turned), turned, times[1]);
  assertClose(pose.pose_3d, outputs[1].pose_3d); // nothing of the past is in it
});

test("few sure joints: all count", () => {
  const crop = {x: 0, y: 0, width: 100, height: 100};
  const points = [10, 10, 20, 40, 30, 20, 90, 80];
  assert.deepEqual(boxOf(points, [1, 1, 1, 0.1], crop), [10, 10, 90, 80]);
  assert.deepEqual(boxOf([...points, 15, 15], [1, 1, 1, 0.1, 1], crop), [10, 10, 30, 40]);
});

test("joints that are nowhere lead back to the whole picture", () => {
  const crop = {x: 0, y: 0, width: 640, height: 640};
  const whole = wholePicture([480, 640], [256, 256]);
  const scores = [0.9, 0.9, 0.9, 0.9];
  const there = [100, 100, 200, 200, 150, 120, 130, 190];
  assert.notDeepEqual(nextCrop(there, scores, crop, [480, 640], [256, 256]), whole);
  for (const points of [there.map((value) => value + 5000), there.map(() => Number.NaN)]) {
    assert.deepEqual(nextCrop(points, scores, crop, [480, 640], [256, 256]), whole);
  }
  assert.ok(isLost([Number.NaN, 1]));
});
