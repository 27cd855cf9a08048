// Follows one person from image to image: chooses the crops and smooths the joints. With a finder, the rules are those
// of PosePredictor and PoseTracker in keras_pose/inference; docs/phone.md lists the differences.

import {boxOf, cropAround, isLost, nextCrop, wholePicture} from "./crop.js";
import {toPicture} from "./decode.js";
import {confirmed, overlap, personAt, prominence, windowAround, windows} from "./people.js";
import {KEYPOINTS_2D, OneEuroFilter, POSE_3D_MM} from "./smoothing.js";

/** @typedef {import("./crop.js").Crop} Crop */
/** @typedef {import("./crop.js").Size} Size */
/** @typedef {import("./decode.js").Outputs} Outputs */
/** @typedef {import("./people.js").Person} Person */

const FOUND_MARGIN = 1.4; // larger, because a finder's box may be slightly off
const STAYS = 0.2; // if the second pass overlaps the first one's box less, it has moved to somebody else
const CHECK_S = 1; // how often the finder checks the crop
const FOLLOWED = 0.2; // overlap of the finder's box and the joints' box from which on both are the same person
const MISSED_CHECKS = 2; // in a row, after which the person is lost
const MOST_TRIED = 3; // boxes of one image that the model looks into
const TAPPED = 0.16; // side of the box assumed around a tap on a distant person, as a share of the image's longer side

/**
 * @typedef {object} Pose
 * @property {Float64Array} keypoints_2d pixels of the image: x, y of each joint
 * @property {Float32Array} raw_keypoints_2d in [0, 1] of the crop, as the model returned them
 * @property {ArrayLike<number> | null} pose_3d mm relative to the root: x, y, z of each joint
 * @property {Float32Array} scores 0 to 1
 * @property {Crop} crop what the model saw
 * @property {boolean} lost whether no person was found there
 * @property {number | null} person_score see `confirmed`; 0 if nobody was found, null if nobody was looked for
 */

/**
 * What can be run on one image: `infer` runs the model on a crop. `find` returns the people in a window x0, y0, x1, y1,
 * or in the whole image, the most prominent first.
 * @typedef {{infer: (crop: Crop) => Promise<Outputs>, find: (window?: number[]) => Promise<Person[]>, finder: import("./metadata.js").Finder}} Eyes
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
    /** Where to look for a person next, x and y in the image. @type {number[] | null} */
    this.wish = null;
    this.checkedS = Number.NEGATIVE_INFINITY;
    this.missed = 0;
    this.searched = 0; // images in a row in which nobody was found
    this.keypointsFilter = new OneEuroFilter(KEYPOINTS_2D);
    this.poseFilter = new OneEuroFilter(POSE_3D_MM);
    this.reset();
  }

  /** Forgets the person: the next crop is the whole image. */
  reset() {
    /** @type {Crop | null} */
    this.next = null;
    /** The box around the joints in the previous image. @type {number[]} */
    this.box = [];
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
   * Processes what the model found in the crop of `look`; used without a finder.
   * @param {Outputs} outputs
   * @param {Crop} crop
   * @param {Size} picture
   * @param {number} timeS of the image; must increase
   * @returns {Pose}
   */
  take(outputs, crop, picture, timeS) {
    const raw = read(outputs, crop);
    const search = this.follow && !this.next;
    if (raw.lost) this.reset();
    // A small person scores low in the whole image, so only the first crop around the joints decides.
    if (this.follow && (search || !raw.lost)) this.#proceed(raw, picture);
    return raw.lost || search ? raw : this.#steady(raw, picture, timeS);
  }

  /**
   * Processes one image with a finder: searches for a person if none is followed, and checks every `CHECK_S` that the
   * crop still contains the one who is. While nobody is found, the finder searches one place in each image: in turn the
   * whole image and each of the `windows`.
   * @param {Eyes} eyes
   * @param {Size} picture
   * @param {number} timeS of the image; must increase
   * @returns {Promise<Pose>}
   */
  async see({infer, find, finder}, picture, timeS) {
    this.look(picture);
    const {wish} = this;
    this.wish = null;
    /** @type {Person[] | null} */
    let people = null;
    if (wish) {
      people = await this.#lookAt(wish, find, picture);
      if (people.length) this.reset();
      this.checkedS = timeS;
    } else if (this.next && timeS - this.checkedS >= CHECK_S) {
      const around = await find(windowAround(this.box, picture));
      this.#check(around.filter(({score}) => score >= finder.score));
      this.checkedS = timeS;
    }
    let [person_score, crop] = [/** @type {number | null} */ (null), this.next];
    /** @type {Outputs} */
    let outputs;
    if (crop) outputs = await infer(crop);
    else {
      people ??= await find(this.#turn(picture, finder.inputSize[0]));
      [this.checkedS, this.missed] = [timeS, 0];
      const found = await this.#firstPass(people, infer, picture);
      if (!found) {
        this.searched += 1;
        const whole = wholePicture(picture, this.inputSize);
        this.reset();
        return {...read(await infer(whole), whole), lost: true, person_score: 0};
      }
      this.searched = 0;
      const {person} = found;
      person_score = person.score;
      [crop, outputs] = [found.crop, found.outputs];
      // The second pass, around the joints.
      const again = cropAround(boxOf(read(outputs, crop).keypoints_2d, outputs.scores, crop), this.inputSize);
      const second = await infer(again);
      const box = boxOf(read(second, again).keypoints_2d, second.scores, again);
      if (overlap(box, person.box) >= STAYS) [crop, outputs] = [again, second];
    }
    const raw = {...read(outputs, crop), person_score};
    if (raw.lost) {
      this.reset();
      return raw;
    }
    this.#proceed(raw, picture);
    return this.#steady(raw, picture, timeS);
  }

  /**
   * The person at a tap, or else the nearest one; empty without any. Searches around the tap if no box contains it.
   * @param {number[]} point
   * @param {Eyes["find"]} find
   * @param {Size} picture
   */
  async #lookAt(point, find, picture) {
    const [x, y] = point;
    const people = await find();
    if (!people.some(({box: [x0, y0, x1, y1]}) => x >= x0 && x <= x1 && y >= y0 && y <= y1)) {
      const half = (TAPPED * Math.max(...picture)) / 2;
      people.push(...(await find(windowAround([x - half, y - half, x + half, y + half], picture))));
    }
    const person = personAt(people, point);
    return person ? [person] : [];
  }

  /**
   * The window that the finder searches in this image; undefined for the whole image.
   * @param {Size} picture
   * @param {number} finderSize
   */
  #turn(picture, finderSize) {
    const places = [undefined, ...windows(picture, finderSize)];
    return places[this.searched % places.length];
  }

  /**
   * The most prominent person in the finder's first boxes, and what the model finds there; undefined without any.
   * @param {Person[]} people
   * @param {Eyes["infer"]} infer
   * @param {Size} picture
   */
  async #firstPass(people, infer, picture) {
    const found = [];
    for (const {box, score} of people.slice(0, MOST_TRIED)) {
      const crop = cropAround(box, this.inputSize, FOUND_MARGIN);
      const outputs = await infer(crop);
      const person = confirmed({box, score}, toPicture(outputs.keypoints_2d, crop), outputs.scores, picture);
      if (person) found.push({person, crop, outputs});
    }
    return found.sort((a, b) => prominence(b.person) - prominence(a.person)).at(0);
  }

  /** @param {Person[]} people */
  #check(people) {
    if (people.some(({box}) => overlap(box, this.box) >= FOLLOWED)) this.missed = 0;
    else if (++this.missed >= MISSED_CHECKS || people.length) this.reset();
  }

  /**
   * @param {Pose} pose
   * @param {Size} picture
   */
  #proceed({keypoints_2d, scores, crop}, picture) {
    this.box = boxOf(keypoints_2d, scores, crop);
    this.next = nextCrop(keypoints_2d, scores, crop, picture, this.inputSize);
  }

  /**
   * @param {Pose} pose
   * @param {Size} picture
   * @param {number} timeS
   * @returns {Pose}
   */
  #steady(pose, [height], timeS) {
    if (!this.smooth) return pose;
    const steady = this.keypointsFilter.filter(
      pose.keypoints_2d.map((value) => value / height),
      timeS,
    );
    return {
      ...pose,
      keypoints_2d: steady.map((value) => value * height),
      pose_3d: pose.pose_3d && this.poseFilter.filter(pose.pose_3d, timeS),
    };
  }
}

/**
 * @param {Outputs} outputs
 * @param {Crop} crop
 * @returns {Pose}
 */
function read({keypoints_2d, scores, pose_3d}, crop) {
  return {
    keypoints_2d: toPicture(keypoints_2d, crop),
    raw_keypoints_2d: keypoints_2d,
    pose_3d: pose_3d ?? null,
    scores,
    crop,
    lost: isLost(scores),
    person_score: null,
  };
}
