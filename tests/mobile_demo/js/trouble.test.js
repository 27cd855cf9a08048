import assert from "node:assert/strict";
import test from "node:test";
import {wordsFor} from "../../../mobile_demo/web/page/words.js";
import {Trouble, troubleFrom} from "../../../mobile_demo/web/pose/trouble.js";

test("what browsers and the runtime say when memory is short", () => {
  for (const error of [
    new RangeError("Array buffer allocation failed"),
    new RangeError("WebAssembly.Memory(): could not allocate memory"),
    new Error("Aborted(Cannot enlarge memory arrays to size 2147483648 bytes (OOM))"),
    "out of memory",
  ]) {
    assert.equal(troubleFrom(error, "model-unreadable").code, "memory-short");
  }
  assert.equal(troubleFrom(new Error("memory access out of bounds"), "model-unreadable").code, "model-unreadable");
});

test("a trouble stays what it is; each that the page can be in has words", () => {
  const trouble = new Trouble("camera-denied", "detail");
  assert.equal(troubleFrom(trouble, "runtime-failed"), trouble);
  const unknown = wordsFor("no such code");
  for (const code of [
    "camera-denied",
    "no-camera",
    "insecure",
    "memory-short",
    "model-unreadable",
    "model-unsuitable",
  ]) {
    assert.notDeepEqual(wordsFor(code), unknown);
  }
});
