// The joints as JSON, in the form of keras_pose.predict: with the skeleton and the units.

/** @typedef {import("./metadata.js").Model} Model */
/** @typedef {import("./tracker.js").Pose} Pose */

export const UNITS = {
  keypoints_px: "pixels of the image (x, y); the centre of the first pixel is (0.5, 0.5)",
  scores: "0 to 1: the height of the joint's heatmap as a share of the training target's",
  pose_3d_mm: "millimetres relative to the root joint; x right, y down, z away from the camera",
};

const [MOST_LONG, MOST_SHORT] = [1280, 720]; // the longest sides for H.264 level 3.1

/**
 * The video's size for images of this size: even, as encoders need it, and small enough for them.
 * @param {import("./crop.js").Size} size
 */
export function videoSize(size) {
  const scale = Math.min(1, MOST_LONG / Math.max(...size), MOST_SHORT / Math.min(...size));
  return size.map((side) => 2 * Math.floor((side * scale) / 2 + 1e-6));
}

/**
 * A result as JSON values.
 * @param {Pose} pose
 * @param {import("./crop.js").Size} inputSize
 */
export function describe({keypoints_2d, scores, pose_3d, crop, person_score}, [height, width]) {
  const [scaleX, scaleY] = [width / crop.width, height / crop.height];
  return {
    keypoints_px: rows(keypoints_2d, 2, 2),
    scores: Array.from(scores, (score) => round(score, 4)),
    pose_3d_mm: pose_3d && rows(pose_3d, 3, 1),
    crop_affine: [
      [scaleX, 0, -crop.x * scaleX],
      [0, scaleY, -crop.y * scaleY],
    ],
    person_score: person_score && round(person_score, 4),
  };
}

/**
 * The result of one image.
 * @param {string} file
 * @param {Pose & {picture: import("./crop.js").Size}} pose
 * @param {Model} model
 */
export function describePicture(file, pose, {skeleton, inputSize}) {
  return {file, image_size: pose.picture, skeleton, units: UNITS, ...describe(pose, inputSize)};
}

/** Collects results as JSON text; converts each at once, so that long recordings end quickly, too. */
export class Recording {
  /** @type {string[]} */
  #frames = [];
  #start = Number.NaN;
  #pausedAt = Number.NaN;
  lengthS = 0;

  /**
   * @param {string} file the name of the source
   * @param {Model} model
   */
  constructor(file, model) {
    this.file = file;
    this.model = model;
  }

  /** The number of results. */
  get count() {
    return this.#frames.length;
  }

  /**
   * Leaves the time of a pause out of the recording.
   * @param {boolean} paused
   * @param {number} timeS of any clock
   */
  pause(paused, timeS) {
    if (!paused) this.#start += timeS - this.#pausedAt;
    this.#pausedAt = paused ? timeS : Number.NaN;
  }

  /**
   * @param {Pose & {picture: import("./crop.js").Size, time_s: number}} latest
   */
  add(latest) {
    if (!Number.isNaN(this.#pausedAt)) return; // a repeated result of a paused image
    if (!this.count) this.#start = latest.time_s;
    this.lengthS = latest.time_s - this.#start;
    const time_s = round(this.lengthS, 4);
    this.#frames.push(JSON.stringify({time_s, image_size: latest.picture, ...describe(latest, this.model.inputSize)}));
  }

  /** The JSON text, in parts. */
  write() {
    const {file, model} = this;
    const frames_per_second = this.lengthS > 0 ? round((this.count - 1) / this.lengthS, 2) : null;
    const head = JSON.stringify({file, frames_per_second, skeleton: model.skeleton, units: UNITS});
    return [head.slice(0, -1), ',\n"frames": [\n', this.#frames.join(",\n"), "\n]}\n"];
  }
}

/**
 * @param {ArrayLike<number>} values
 * @param {number} size of a row
 * @param {number} digits
 */
function rows(values, size, digits) {
  return Array.from({length: values.length / size}, (_, j) =>
    Array.from({length: size}, (_, k) => round(values[size * j + k], digits)),
  );
}

/**
 * @param {number} value
 * @param {number} digits after the point
 */
function round(value, digits) {
  return Number(value.toFixed(digits));
}
