import assert from "node:assert/strict";
import test from "node:test";
import {Engine} from "../../../mobile_demo/web/page/engine.js";

let worker = null; // the newest
let alarm = null; // what runs once the clock has gone on far enough

/** A worker that a test speaks for. */
class FakeWorker {
  ended = false;

  constructor() {
    worker = this;
  }

  postMessage() {}

  terminate() {
    this.ended = true;
  }

  say(type, rest) {
    this.onmessage({data: {type, ...rest}});
  }
}

Object.assign(globalThis, {
  Worker: FakeWorker,
  setTimeout: (run) => {
    alarm = run;
  },
  clearTimeout: () => {
    alarm = null;
  },
});

/** An engine that has its model and tries WebGPU. */
async function trying() {
  const starting = Engine.start({url: "/model"}, {threads: 1, accelerator: "auto"}, () => {});
  worker.say("ready");
  worker.say("loaded", {model: {}, threads: 1, build: "", loadMs: 1});
  const engine = await starting;
  const hangs = [];
  engine.onHang = () => hangs.push(engine);
  worker.say("trying");
  return {engine, hangs};
}

test("a trial of WebGPU that does not end is told, and its worker ended", async () => {
  const {engine, hangs} = await trying();
  assert.ok(alarm);
  alarm();
  assert.deepEqual(hangs, [engine]);
  assert.ok(worker.ended);
});

test("one that ends is waited for no more, nor is one whose engine was closed", async () => {
  const {engine, hangs} = await trying();
  const trial = {kept: false, reason: "it is slower"};
  worker.say("trial", {trial});
  assert.equal(alarm, null);
  assert.equal(engine.trial, trial);
  assert.ok(!worker.ended);
  const other = await trying();
  assert.ok(alarm);
  other.engine.close();
  assert.equal(alarm, null);
  assert.deepEqual([hangs, other.hangs], [[], []]);
});
