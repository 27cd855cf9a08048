import assert from "node:assert/strict";
import test from "node:test";
import {cropAround} from "../../../mobile_demo/web/pose/crop.js";
import {describePicture, Recording, UNITS, videoSize} from "../../../mobile_demo/web/pose/record.js";
import {Tracker} from "../../../mobile_demo/web/pose/tracker.js";
import {assertClose, golden} from "./golden.js";

const {input, picture, box, times, outputs, results} = golden.track;
const model = {inputSize: input, skeleton: results[0].skeleton};

function followed() {
  const tracker = new Tracker(input, {follow: true, smooth: true});
  tracker.look(picture);
  tracker.next = cropAround(box, input);
  return times.map((time_s, i) => ({
    ...tracker.take(outputs[i], tracker.look(picture), picture, time_s),
    picture,
    time_s,
  }));
}

/** Equal but for one in the last digit that is written. */
function assertSame(found, expected) {
  assertClose(found.keypoints_px.flat(), expected.keypoints_px.flat(), 0.0101);
  assertClose(found.scores, expected.scores, 0.00011);
  assertClose(found.pose_3d_mm.flat(), expected.pose_3d_mm.flat(), 0.101);
  assertClose(found.crop_affine.flat(), expected.crop_affine.flat());
}

test("a recording reads as keras_pose.predict writes a video's", () => {
  const recording = new Recording("camera", model);
  for (const pose of followed()) recording.add(pose);
  const written = JSON.parse(recording.write().join(""));
  assert.deepEqual(Object.keys(written), ["file", "frames_per_second", "skeleton", "units", "frames"]);
  assert.deepEqual(written.units, golden.units);
  assert.deepEqual(written.skeleton, results[0].skeleton);
  assertClose(
    written.frames.map(({time_s}) => time_s),
    times.map((time) => time - times[0]),
    1e-4,
  );
  for (const [i, result] of results.entries()) assertSame(written.frames[i], result);
  assertClose([written.frames_per_second], [(times.length - 1) / (times.at(-1) - times[0])], 0.01);
});

test("a pause is left out of a recording's time, and what is looked at meanwhile", () => {
  const recording = new Recording("camera", model);
  const [pose] = followed();
  const add = (time_s) => recording.add({...pose, time_s});
  add(10);
  add(11);
  recording.pause(true, 1000.5); // of another clock
  add(300);
  recording.pause(false, 1400);
  add(411);
  const times = JSON.parse(recording.write().join("")).frames.map(({time_s}) => time_s);
  assert.deepEqual(times, [0, 1, 1.5]);
  assert.equal(recording.lengthS, 1.5);
});

test("a video's sides are even, of the picture's form, and what H.264 of level 3.1 takes", () => {
  assert.deepEqual(videoSize([480, 640]), [480, 640]);
  assert.deepEqual(videoSize([481, 641]), [480, 640]);
  assert.deepEqual(videoSize([1080, 1920]), [720, 1280]);
  assert.deepEqual(videoSize([3840, 2160]), [1280, 720]);
  assert.deepEqual(videoSize([1500, 2000]), [720, 960]);
  for (const size of [
    [719, 3001],
    [1999, 1999],
    [1281, 721],
  ]) {
    const [height, width] = videoSize(size);
    assert.ok(Math.ceil(height / 16) * Math.ceil(width / 16) <= 3600);
    assert.ok(Math.abs(height / width / (size[0] / size[1]) - 1) < 0.01);
  }
});

test("a recording without results is JSON too", () => {
  const written = JSON.parse(new Recording("camera", model).write().join(""));
  assert.deepEqual(written.frames, []);
  assert.equal(written.frames_per_second, null);
});

test("a picture reads as keras_pose.predict writes one; a 2D model has no 3D", () => {
  assert.deepEqual(UNITS, golden.units);
  const pose = followed()[0];
  const written = JSON.parse(JSON.stringify(describePicture("photo.jpg", pose, model)));
  assert.deepEqual(written.image_size, picture);
  assertSame(written, results[0]);
  assert.equal(describePicture("photo.jpg", {...pose, pose_3d: null}, model).pose_3d_mm, null);
});
