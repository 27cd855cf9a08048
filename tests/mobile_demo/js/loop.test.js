import assert from "node:assert/strict";
import test from "node:test";
import {Loop} from "../../../mobile_demo/web/page/loop.js";
import {golden} from "./golden.js";

const {input, picture, outputs} = golden.track;
const MOST_MISSED = 30;

/** A loop over a camera whose pictures a test hands out: `show(now)` one after the other. */
function looking(kind = "camera") {
  const seen = {results: [], errors: [], lost: [], closed: 0, failing: false};
  let next = null;
  const source = {
    kind,
    size: picture,
    video: {
      readyState: 4,
      requestVideoFrameCallback: (run) => {
        next = run;
      },
    },
    grab: async () => {
      if (seen.failing) throw new DOMException("no picture", "InvalidStateError");
      return {};
    },
    lose: (detail) => seen.lost.push(detail),
  };
  const engine = {model: {inputSize: input}, infer: async () => ({outputs: outputs[0], inferenceMs: 1})};
  const loop = new Loop(
    source,
    {follow: true, smooth: true},
    {
      draw: () => {},
      result: (latest) => seen.results.push(latest),
      picture: () => {},
      error: (error) => seen.errors.push(error),
    },
  );
  loop.use(engine);
  loop.start(kind === "photo");
  const show = async (now) => {
    next(now);
    await new Promise(setImmediate);
  };
  return {seen, show};
}

test("pictures that a browser gives one time are taken one after the other", async () => {
  const {seen, show} = looking();
  const now = performance.now() + 1000;
  for (let i = 0; i < 5; i++) await show(now);
  assert.deepEqual(seen.errors, []);
  assert.equal(seen.results.length, 5);
  const times = seen.results.map(({time_s}) => time_s);
  for (let i = 1; i < times.length; i++) assert.ok(times[i] - times[i - 1] > 0.99e-4);
});

test("a picture that cannot be had is passed over; many in a row are the source's trouble, not the model's", async () => {
  const {seen, show} = looking();
  for (const failing of [true, false, true]) {
    seen.failing = failing;
    for (let i = 0; i < MOST_MISSED - 1; i++) await show(performance.now());
    assert.deepEqual([seen.lost, seen.errors], [[], []]);
  }
  assert.equal(seen.results.length, MOST_MISSED - 1);
  await show(performance.now());
  assert.deepEqual([seen.lost, seen.errors], [["no picture"], []]);
});
