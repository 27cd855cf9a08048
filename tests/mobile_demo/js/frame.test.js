import assert from "node:assert/strict";
import test from "node:test";
import {isPlain} from "../../../mobile_demo/web/pose/frame.js";

const PLAIN = {
  format: "NV12",
  rotation: 0,
  flip: false,
  displayWidth: 640,
  displayHeight: 480,
  visibleRect: {width: 640, height: 480},
};

test("a frame's pixels are taken where they are what is seen, and nowhere else", () => {
  assert.ok(isPlain(PLAIN));
  assert.ok(isPlain({...PLAIN, format: "I420"}));
  const others = {
    turned: {rotation: 180},
    "turned and so of another shape": {rotation: 90, displayWidth: 480, displayHeight: 640},
    mirrored: {flip: true},
    stretched: {displayWidth: 853},
    "cut off": {visibleRect: {width: 640, height: 360}},
    "of ten bits": {format: "I420P10"},
    "see-through": {format: "I420A"},
    "kept by the GPU": {format: null},
    closed: {format: null, visibleRect: null, displayWidth: 0, displayHeight: 0},
    "in a browser that does not say how it is turned": {rotation: undefined, flip: undefined},
  };
  for (const [how, change] of Object.entries(others)) assert.ok(!isPlain({...PLAIN, ...change}), how);
});
