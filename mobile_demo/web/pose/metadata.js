// The metadata of an exported model, inside its file or beside it (keras_pose/io/model_info.py and finder_info.py).

import {Trouble} from "./trouble.js";

const FORMAT_VERSION = 1;
const INSIDE = "keras_pose.json";
const IDENTIFIER = "TFL3"; // of a .tflite file, at its bytes 4 to 8
const END_BYTES = 22; // of an archive's last record, without a comment
const [END, ENTRY] = [0x06054b50, 0x02014b50];
const STORED = 0;

/**
 * The input and outputs of a file.
 * @typedef {object} Network
 * @property {[height: number, width: number]} inputSize
 * @property {"uint8" | "float32"} dtype of the image; both mean 0 to 255
 * @property {"nhwc" | "nchw"} layout
 * @property {Record<string, number>} sizes number of values of each output that the page uses
 */

/**
 * A finder of people; `stride`, `score` and `overlap` are for reading its maps (docs/deploy.md).
 * @typedef {Network & {stride: number, score: number, overlap: number}} Finder
 */

/**
 * @typedef {object} Joints
 * @property {{name: string, joint_names: string[], parents: number[], root: number | null}} skeleton as in the metadata
 * @property {string[]} jointNames
 * @property {import("./skeleton.js").Edge[]} edges
 * @property {boolean} hasPose whether it has a 3D output
 * @property {string} quantization
 * @property {string} run the training run
 */

/** @typedef {Network & Joints} Model */

/**
 * Checks a model's metadata and returns what the page needs; throws Trouble.
 * @param {any} values
 * @returns {Model}
 */
export function readMetadata(values) {
  return read(values, () => {
    if (!values.inputs.image || !values.outputs.keypoints_2d || !values.outputs.scores) {
      throw new Trouble("model-unsuitable", "It does not find joints in an image. Export the part pose or keypoints.");
    }
    const hasPose = "pose_3d" in values.outputs;
    const joints = values.joint_names.length;
    /** @type {Model} */
    const model = {
      ...readNetwork(values, {keypoints_2d: 2 * joints, scores: joints, ...(hasPose && {pose_3d: 3 * joints})}),
      skeleton: values.skeleton,
      jointNames: values.joint_names,
      edges: values.edges,
      hasPose,
      quantization: values.quantization,
      run: values.source?.run ?? "",
    };
    return isSound(model) && model;
  });
}

/**
 * The same for a finder's metadata.
 * @param {any} values
 * @returns {Finder}
 */
export function readFinder(values) {
  return read(values, () => {
    if (values.part !== "finder") throw new Trouble("model-unsuitable", "It does not find people.");
    const {stride, score, overlap} = values;
    const cells = (values.input_size[0] / stride) ** 2;
    const finder = {...readNetwork(values, {centers: cells, boxes: 4 * cells}), stride, score, overlap};
    const [height, width] = finder.inputSize;
    return height === width && Number.isInteger(height / stride) && score > 0 && overlap > 0 && finder;
  });
}

/**
 * @template T
 * @param {any} values
 * @param {() => T | false} make false for values that do not match
 * @returns {T}
 */
function read(values, make) {
  try {
    if (values.format_version !== FORMAT_VERSION) {
      throw new Trouble(
        "model-unsuitable",
        `Its metadata has format version ${values.format_version}; the page needs ${FORMAT_VERSION}.`,
      );
    }
    const made = make();
    if (!made) throw new TypeError("its values do not match");
    return made;
  } catch (error) {
    if (error instanceof Trouble) throw error;
    throw new Trouble(
      "model-unreadable",
      `Its metadata is damaged: ${error instanceof Error ? error.message : error}.`,
    );
  }
}

/**
 * @param {any} values
 * @param {Record<string, number>} sizes
 * @returns {Network}
 */
function readNetwork({input_size: inputSize, inputs, layout}, sizes) {
  const {dtype} = inputs.image;
  const sound =
    inputSize.length === 2 &&
    inputSize.every((/** @type {any} */ side) => Number.isInteger(side) && side > 0) &&
    ["uint8", "float32"].includes(dtype) &&
    ["nhwc", "nchw"].includes(layout);
  if (!sound) throw new TypeError("its values do not match");
  return {inputSize, dtype, layout, sizes};
}

/**
 * @param {Joints} model
 */
function isSound({skeleton, jointNames, edges}) {
  const joints = jointNames.length;
  return (
    typeof skeleton.name === "string" &&
    joints > 0 &&
    jointNames.every((name) => typeof name === "string") &&
    edges.every((edge) => edge.length === 2 && edge.every((j) => Number.isInteger(j) && j >= 0 && j < joints))
  );
}

/**
 * Throws Trouble if the bytes are not a .tflite file.
 * @param {Uint8Array} file
 */
export function checkIdentifier(file) {
  const found = String.fromCharCode(...file.subarray(4, 8));
  if (found !== IDENTIFIER) throw new Trouble("model-unreadable", "The file is damaged or not a .tflite file.");
}

/**
 * The metadata in the archive at the end of a file; null if there is none.
 * @param {Uint8Array} file
 * @returns {any}
 */
export function metadataInside(file) {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const end = file.length - END_BYTES;
  if (end < 0 || view.getUint32(end, true) !== END) return null;
  const directory = end - view.getUint32(end + 12, true);
  const shift = directory - view.getUint32(end + 16, true); // the archive counts offsets from its own start
  const text = new TextDecoder();
  for (let at = directory, left = view.getUint16(end + 10, true); left > 0; left--) {
    if (at < 0 || at + 46 > end || view.getUint32(at, true) !== ENTRY) return null;
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
    if (text.decode(file.subarray(at + 46, at + 46 + nameLength)) === INSIDE) {
      if (view.getUint16(at + 10, true) !== STORED) return null;
      const header = view.getUint32(at + 42, true) + shift;
      const start = header + 30 + view.getUint16(header + 26, true) + view.getUint16(header + 28, true);
      return JSON.parse(text.decode(file.subarray(start, start + view.getUint32(at + 24, true))));
    }
    at += 46 + nameLength + extraLength + commentLength;
  }
  return null;
}
