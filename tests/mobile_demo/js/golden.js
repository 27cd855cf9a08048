// Numbers of keras_pose (tests/mobile_demo/golden.py) and how they are compared.

import assert from "node:assert/strict";
import {readFileSync} from "node:fs";

export const golden = JSON.parse(readFileSync(new URL("golden.json", import.meta.url), "utf8"));

export function assertClose(found, expected, tolerance = 1e-6) {
  assert.equal(found.length, expected.length);
  for (const [i, value] of Array.from(expected).entries()) {
    const room = tolerance * Math.max(1, Math.abs(value));
    assert.ok(Math.abs(found[i] - value) <= room, `[${i}] is ${found[i]}, not ${value}`);
  }
}

export function assertCrop(found, expected) {
  const sides = ["x", "y", "width", "height"];
  assertClose(
    sides.map((side) => found[side]),
    sides.map((side) => expected[side]),
    1e-5,
  );
}
