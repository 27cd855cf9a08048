import assert from "node:assert/strict";
import test from "node:test";
import {checkIdentifier, metadataInside, readMetadata} from "../../../mobile_demo/web/pose/metadata.js";

const VALUES = {
  format_version: 1,
  quantization: "int8",
  skeleton: {name: "three", root: 0},
  joint_names: ["body", "left_hand", "right_hand"],
  edges: [
    [0, 1],
    [0, 2],
  ],
  input_size: [256, 192],
  layout: "nhwc",
  inputs: {image: {dtype: "uint8"}},
  outputs: {keypoints_2d: {unit: "u"}, scores: {unit: "v"}, pose_3d: {unit: "w"}},
  source: {run: "run1"},
};

test("what the page needs of the metadata", () => {
  const model = readMetadata(VALUES);
  assert.deepEqual(model.inputSize, [256, 192]);
  assert.equal(model.skeleton.root, 0);
  assert.ok(model.hasPose);
  const {pose_3d, ...outputs} = VALUES.outputs;
  assert.equal(readMetadata({...VALUES, outputs}).hasPose, false);
});

test("metadata that will not do is refused with a code that the page has words for", () => {
  const code = (changes) => {
    try {
      readMetadata({...VALUES, ...changes});
    } catch (error) {
      return error.code;
    }
    return "none";
  };
  assert.equal(code({}), "none");
  assert.equal(code({format_version: 2}), "model-unsuitable");
  assert.equal(code({inputs: {keypoints_2d: {}}}), "model-unsuitable");
  assert.equal(code({outputs: {heatmaps: {}}}), "model-unsuitable");
  const damaged = [
    {edges: [[0, 3]]},
    {edges: [[0, -1]]},
    {edges: undefined},
    {input_size: [256]},
    {input_size: [0, 256]},
    {joint_names: []},
    {joint_names: [1, 2, 3]},
    {layout: "nhcw"},
    {inputs: {image: {dtype: "int8"}}},
    {inputs: undefined},
    {skeleton: {}},
  ];
  for (const changes of damaged) assert.equal(code(changes), "model-unreadable", JSON.stringify(changes));
  assert.throws(() => readMetadata(null), {code: "model-unreadable"});
});

test("a file is known by its identifier", () => {
  checkIdentifier(new TextEncoder().encode("....TFL3...."));
  for (const text of ["", "TFL3", "....TFL2", "{}"]) {
    assert.throws(() => checkIdentifier(new TextEncoder().encode(text)), {code: "model-unreadable"});
  }
});

test("files without an archive, or with a cut one, have no metadata inside", () => {
  for (const size of [0, 10, 22, 500]) assert.equal(metadataInside(new Uint8Array(size)), null);
  const end = new Uint8Array(100);
  end.set([0x50, 0x4b, 5, 6, 0, 0, 0, 0, 1, 0, 1, 0, 60, 0, 0, 0], 78);
  assert.equal(metadataInside(end), null); // its directory is not there
  end.set([0xff, 0xff, 0xff, 0xff], 90);
  assert.equal(metadataInside(end), null); // its directory lies before the file
});
