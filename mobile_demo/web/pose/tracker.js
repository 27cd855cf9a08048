// Follows one person from image to image: where to look next, and smoother joints. The Python predictor does the same.

import {isLost, nextCrop, wholePicture} from "./crop.js";
import {toPicture} from "./decode.js";
import {KEYPOINTS_2D, OneEuroFilter, POSE_3D_MM} from "./smoothing.js";

/** @typedef {import("./crop.js").Crop} Crop */
/** @typedef {import("./crop.js").Size} Size */

/**
 * @typedef {object} Pose
 * @property {Float64Array} keypoints_2d pixels of the image: x, y of each joint
 * @property {Float32Array} raw_keypoints_2d in [0, 1] of the crop, as the model returned them
 * @property {ArrayLike<number> | null} pose_3d mm relative to the root: x, y, z of each joint
 * @property {Float32Array} scores 0 to 1
 * @property {Crop} crop what the model saw
 * @property {boolean} lost whether no person was found there
 */

export class Tracker {
  /**
   * @param {Size} inputSize of the model
   * @param {{follow: boolean, smooth: boolean}} settings
   */
  constructor(inputSize, {follow, smooth}) {
    this.inputSize = inputSize;
    this.follow = follow;
    this.smooth = smooth;
    this.picture = "";
    this.keypointsFilter = new OneEuroFilter(KEYPOINTS_2D);
    this.poseFilter = new OneEuroFilter(POSE_3D_MM);
    this.reset();
  }

  /** Forgets the person: the next crop is the whole image. */
  reset() {
    /** @type {Crop | null} */
    this.next = null;
    this.keypointsFilter.reset();
    this.poseFilter.reset();
  }

  /**
   * The crop of the next image: the whole image if its size changed, for example because the phone was turned.
   * @param {Size} picture
   * @returns {Crop}
   */
  look(picture) {
    if (`${picture}` !== this.picture) this.reset();
    this.picture = `${picture}`;
    return this.next ?? wholePicture(picture, this.inputSize);
  }

  /**
   * Takes what the model found in that crop.
   * @param {import("./decode.js").Outputs} outputs
   * @param {Crop} crop
   * @param {Size} picture
   * @param {number} timeS of the image; must increase
   * @returns {Pose}
   */
  take(outputs, crop, picture, timeS) {
    const {scores, pose_3d = null} = outputs;
    const found = toPicture(outputs.keypoints_2d, crop);
    const raw = {
      keypoints_2d: found,
      raw_keypoints_2d: outputs.keypoints_2d,
      pose_3d,
      scores,
      crop,
      lost: isLost(scores),
    };
    const search = this.follow && !this.next;
    if (raw.lost) this.reset();
    // A person who is small in the whole image scores low there: the first crop around the joints decides.
    if (this.follow && (search || !raw.lost)) this.next = nextCrop(found, scores, crop, picture, this.inputSize);
    if (raw.lost || search || !this.smooth) return raw;
    const [height] = picture;
    const steady = this.keypointsFilter.filter(
      found.map((value) => value / height),
      timeS,
    );
    return {
      ...raw,
      keypoints_2d: steady.map((value) => value * height),
      pose_3d: pose_3d && this.poseFilter.filter(pose_3d, timeS),
    };
  }
}
