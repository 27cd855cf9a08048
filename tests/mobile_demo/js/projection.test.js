import assert from "node:assert/strict";
import test from "node:test";
import {extent, orbit, project, turn} from "../../../mobile_demo/web/pose/projection.js";
import {assertClose, golden} from "./golden.js";

const POINTS = [100, -200, 300, -50, 400, 20, 0, 0, 0];

test("rotations are keras_pose's", () => {
  for (const {yaw, pitch, rotation} of golden.orbits) assertClose(orbit(yaw, pitch), rotation);
});

test("from the camera one sees x and y, from the side z and y", () => {
  const far = (yaw, pitch) => [...project(POINTS, orbit(yaw, pitch), [0, 0, 0], Infinity)];
  assertClose(far(0, 0), POINTS);
  assertClose(far(90, 0), [300, -200, -100, 20, 400, 50, 0, 0, 0]);
});

test("turning keeps distances to the middle, which stays where it is", () => {
  const middle = [10, 20, 30];
  const seen = project([...POINTS, ...middle], orbit(37, -21), middle, Infinity);
  for (let j = 0; j < 3; j++) {
    const given = [0, 1, 2].map((k) => POINTS[3 * j + k] - middle[k]);
    assertClose([Math.hypot(...seen.slice(3 * j, 3 * j + 3))], [Math.hypot(...given)]);
  }
  assertClose(seen.slice(9), [0, 0, 0]);
});

test("perspective: twice as far from the eye is half as large", () => {
  const seen = project([100, 50, 0, 100, 50, 2000], orbit(0, 0), [0, 0, 0], 2000);
  assertClose(seen, [100, 50, 0, 50, 25, 2000]);
});

test("a finger over the whole view turns by half a turn, and never over the pole", () => {
  assert.deepEqual(turn({yaw: 0, pitch: 0}, 0.5, 0), {yaw: -90, pitch: 0});
  assertClose([turn({yaw: -170, pitch: 0}, 0.25, 0).yaw], [145]);
  assert.equal(turn({yaw: 0, pitch: 80}, 0, 1).pitch, 85);
  assert.equal(turn({yaw: 0, pitch: 0}, 0, -1).pitch, -85);
});

test("a finger to the right moves what is near to the right", () => {
  const {yaw, pitch} = turn({yaw: 0, pitch: 0}, 0.1, 0);
  assert.ok(project([0, 0, -100], orbit(yaw, pitch), [0, 0, 0])[0] > 0);
  const down = turn({yaw: 0, pitch: 0}, 0, 0.1);
  assert.ok(project([0, 0, -100], orbit(down.yaw, down.pitch), [0, 0, 0])[1] > 0);
});

test("the box of points", () => {
  assert.deepEqual(extent(POINTS), {middle: [25, 100, 150], radius: 300, floor: 400});
});
