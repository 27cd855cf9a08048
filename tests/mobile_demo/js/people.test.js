import assert from "node:assert/strict";
import test from "node:test";
import {Overlay} from "../../../mobile_demo/web/page/overlay.js";
import {cropAround} from "../../../mobile_demo/web/pose/crop.js";
import {readFinder} from "../../../mobile_demo/web/pose/metadata.js";
import {
  confirmed,
  overlap,
  personAt,
  placePeople,
  readPeople,
  windowAround,
  windows,
} from "../../../mobile_demo/web/pose/people.js";
import {Tracker} from "../../../mobile_demo/web/pose/tracker.js";
import {assertClose, assertCrop, golden} from "./golden.js";

test("people are read from a finder's maps as keras_pose reads them", () => {
  const {finder, maps} = golden;
  const count = (finder.inputSize[0] / finder.stride) ** 2;
  for (const {picture, cells, decoded, looks} of maps) {
    const [centers, boxes] = [new Float32Array(count), new Float32Array(4 * count)];
    for (const [i, score, ...sides] of cells) {
      centers[i] = score;
      boxes.set(sides, 4 * i);
    }
    const found = readPeople({centers, boxes}, finder, finder.score);
    assert.equal(found.length, decoded.length);
    for (const [i, {box, score}] of decoded.entries()) assertClose([...found[i].box, found[i].score], [...box, score]);
    for (const {window, people} of looks) {
      const [x0, y0, x1, y1] = window;
      const placed = placePeople(found, cropAround(window, finder.inputSize, 1), picture);
      // keras_pose rounds size and place of the small image, so that boxes may differ by a pixel of that.
      const scale = Math.max(x1 - x0, y1 - y0) / finder.inputSize[0];
      const room = [x1 - x0, y1 - y0].every((side) => Number.isInteger(side / scale)) ? 1e-6 : scale;
      assert.equal(placed.length, people.length, `${picture}: ${window}`);
      for (const {box, score} of people) {
        const near = (/** @type {any} */ other) => box.every((side, k) => Math.abs(other.box[k] - side) <= room);
        const same = placed.filter((other) => Math.abs(other.score - score) < 1e-6 && near(other));
        assert.equal(same.length, 1, `${picture}: ${window}: ${box}`);
      }
      const order = placed.map(({score, box: [x0, y0, x1, y1]}) => score * Math.sqrt((x1 - x0) * (y1 - y0)));
      assertClose(
        order,
        order.toSorted((a, b) => b - a),
      );
    }
  }
});

test("windows and persons are those of keras_pose", () => {
  const {windows: grids, around, confirmed: cases} = golden.places;
  for (const {picture, windows: expected} of grids) {
    assert.deepEqual(windows(picture, golden.finder.inputSize[0]), expected, `${picture}`);
  }
  for (const {picture, box, window} of around) assert.deepEqual(windowAround(box, picture), window);
  for (const {box, score, keypoints_px, joints, picture, person} of cases) {
    const found = confirmed({box, score}, keypoints_px, Array(keypoints_px.length / 2).fill(joints), picture);
    assert.equal(found === null, person === null, `${score}, ${joints}`);
    if (found) assertClose([...found.box, found.score], [...person.box, person.score]);
  }
});

test("who is far away is found in a closer window, one look in each image", async () => {
  const corners = [0.25, 0.25, 0.75, 0.25, 0.25, 0.75, 0.75, 0.75];
  const outputs = {keypoints_2d: Float32Array.from(corners), scores: Float32Array.of(0.9, 0.9, 0.9, 0.9)};
  const tracker = new Tracker([256, 192], {follow: true, smooth: true});
  const picture = [480, 640];
  const seen = [];
  const person = {box: [500, 300, 530, 380], score: 0.9};
  const eyes = {
    infer: async () => outputs,
    find: async (window) => {
      seen.push(window);
      return window?.[0] === 256 && window[1] === 96 ? [person] : [];
    },
    finder: golden.finder,
  };
  const places = windows(picture, golden.finder.inputSize[0]);
  assert.equal(places.length, 4);
  for (const [i] of [...places, 0].entries()) {
    const pose = await tracker.see(eyes, picture, i / 25);
    assert.equal(pose.lost, i < 4, `image ${i}`);
  }
  assert.deepEqual(seen, [undefined, ...places]);
  await tracker.see(eyes, picture, 1.2); // the check looks around the person
  assert.equal(seen.length, 6);
  assert.ok(seen[5][2] - seen[5][0] < 256);
});

test("boxes overlap as in keras_pose", () => {
  for (const {boxes, overlap: expected} of golden.overlaps) {
    assertClose([overlap(...boxes), overlap(...[...boxes].reverse())], [expected, expected]);
  }
});

test("a person is found, checked, given up and found again as in keras_pose", async () => {
  const {input, picture, steps} = golden.found;
  const tracker = new Tracker(input, {follow: true, smooth: true});
  for (const {time, people, outputs, crop, keypoints_px, person_score} of steps) {
    let asked = 0;
    const eyes = {infer: async () => outputs[asked++], find: async () => people, finder: golden.finder};
    const pose = await tracker.see(eyes, picture, time);
    assert.equal(pose.person_score === null, person_score === null, `at ${time}`);
    assertClose([pose.person_score ?? 0], [person_score ?? 0]);
    if (person_score === 0) {
      assert.ok(pose.lost); // keras_pose has a second look at the whole image
      continue;
    }
    assert.equal(asked, outputs.length, `at ${time}`);
    assertCrop(pose.crop, crop);
    assertClose(pose.keypoints_2d, keypoints_px, 1e-4);
  }
});

test("a tap chooses the person there, or the nearest", async () => {
  const person = (...box) => ({box, score: 0.9});
  const [left, right, small] = [person(10, 0, 110, 200), person(300, 0, 400, 200), person(310, 10, 330, 50)];
  const people = [left, right, small];
  assert.equal(personAt(people, [50, 100]), left);
  assert.equal(personAt(people, [190, 100]), left);
  assert.equal(personAt(people, [220, 100]), right);
  assert.equal(personAt(people, [350, 110]), right);
  assert.equal(personAt(people, [318, 28]), small); // inside both
  assert.equal(personAt([], [0, 0]), undefined);

  // The model finds joints at the corners of the middle half of each crop.
  const corners = [0.25, 0.25, 0.75, 0.25, 0.25, 0.75, 0.75, 0.75];
  const outputs = {keypoints_2d: Float32Array.from(corners), scores: Float32Array.of(0.9, 0.9, 0.9, 0.9)};
  const tracker = new Tracker([256, 192], {follow: true, smooth: true});
  let looks = 0;
  let there = people;
  const eyes = {
    infer: async () => outputs,
    find: async () => {
      looks += 1;
      return there;
    },
    finder: golden.finder,
  };
  const middle = async (time) => {
    const {crop} = await tracker.see(eyes, [480, 640], time);
    return [crop.x + crop.width / 2, crop.y + crop.height / 2];
  };
  assertClose(await middle(0), [60, 100]);
  tracker.wish = [352, 101];
  assertClose(await middle(0.1), [350, 100]);
  assertClose(await middle(0.2), [350, 100]);
  assert.equal(looks, 2);
  there = [];
  tracker.wish = [50, 100]; // nobody to choose from: the one who is followed stays
  assertClose(await middle(0.3), [350, 100]);
  assert.equal(tracker.wish, null);
});

test("a tap is at a pixel of the image, also of a mirrored one and beside it", () => {
  const overlay = {canvas: {clientWidth: 400, clientHeight: 500}};
  const at = (offsetX, offsetY, mirrored) =>
    Overlay.prototype.locate.call(overlay, {offsetX, offsetY}, [480, 640], mirrored);
  assertClose(at(200, 250, false), [320, 240]);
  assertClose(at(0, 100, false), [0, 0]);
  assertClose(at(0, 100, true), [640, 0]);
  assertClose(at(100, 50, true), [480, -80]);
});

test("what the page needs of a finder's metadata", () => {
  const values = {
    format_version: 1,
    part: "finder",
    input_size: [160, 160],
    stride: 8,
    score: 0.3,
    overlap: 0.5,
    layout: "nhwc",
    inputs: {image: {dtype: "uint8"}},
  };
  const {inputSize, stride, sizes} = readFinder(values);
  assert.deepEqual([inputSize, stride, sizes], [[160, 160], 8, {centers: 400, boxes: 1600}]);
  assert.throws(() => readFinder({...values, format_version: 2}), {code: "model-unsuitable"});
  assert.throws(() => readFinder({...values, part: "pose"}), {code: "model-unsuitable"});
  for (const changes of [
    {input_size: [160, 192]},
    {input_size: [0, 0]},
    {input_size: undefined},
    {stride: 0},
    {stride: 7},
    {score: 0},
    {overlap: undefined},
    {inputs: {}},
    {layout: "chwn"},
  ]) {
    assert.throws(() => readFinder({...values, ...changes}), {code: "model-unreadable"}, JSON.stringify(changes));
  }
  for (const nothing of [{}, null, []]) assert.throws(() => readFinder(nothing));
});
