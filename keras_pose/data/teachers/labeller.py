"""Labels the most prominent person in an image with one or two teachers.

MoveNet (.json) finds the person and gives 2D joints. BlazePose (.tflite) gives 2D joints and a 3D pose. With two
teachers, a joint counts if they agree on it; with one, if its score is high enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import BLAZEPOSE_18, COCO_17, TEACHER_22, map_joints
from keras_pose.data.teachers.answers import Answer, Answers
from keras_pose.data.teachers.blazepose import BlazePose, Landmarks, crop_around
from keras_pose.data.teachers.crop import Crop
from keras_pose.data.teachers.movenet import CROP_MARGIN, SEEN, Keypoints, MoveNet, crop_around_joints

# Joints of two teachers agree within this share of the torso.
AGREEMENT = 0.2
# With two teachers: the lowest scores of a person (BlazePose's) and of a joint (MoveNet's score, BlazePose's presence).
LEAST_PERSON = 0.5
LEAST_SCORE, LEAST_PRESENCE = 0.15, 0.3
# The same with a single teacher, which no other confirms.
SURE_SCORE, SURE_PRESENCE = 0.4, 0.5
SURE_PERSON = 0.8
AS_GOOD = 0.02  # BlazePose's second pass counts unless its score is lower by more than this
VISIBLE = 0.5  # BlazePose's visibility below which a joint counts as hidden
LEAST_LIMBS = 6  # of the 12 limb joints; with fewer, the person does not count as found
LIMBS = [
    TEACHER_22.index(f"{side}_{joint}")
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
]
# Joints that no teacher marks, as mixtures of those that they mark: least-squares fits, rounded. neck and head_top are
# fitted to human labels of Leeds Sports Pose Extended (median error 0.08 and 0.11 torso), the others to rendered
# people.
MIXTURES = {
    "spine": {"hip": 0.55, "shoulder": 0.3, "ear": 0.15},
    "neck": {"shoulder": 2 / 3, "ear": 1 / 3},
    "neck_nose": {"shoulder": 2 / 15, "ear": 13 / 15},
    "head_top": {"shoulder": -2 / 3, "ear": 5 / 3},
}


@dataclass(frozen=True)
class Labels:
    """The joints of TEACHER_22 of the most prominent person in an image.

    `keypoints_px` (22, 2) are pixels of the image, with `valid` and `hidden` (22,) bool. `pose_mm` (22, 3) is relative
    to the pelvis, in camera axes; `pose_valid` (22,) bool is all False without BlazePose. `torso_px` is the longer
    diagonal of the trunk. `next_crop` is the crop with which to follow the person in a video.
    """

    keypoints_px: np.ndarray
    valid: np.ndarray
    hidden: np.ndarray
    pose_mm: np.ndarray
    pose_valid: np.ndarray
    torso_px: float
    next_crop: Crop


class Labeller:
    """Runs one or two teachers; raises UserError if a file is not a teacher, or both are of one kind.

    `cache` names a file that keeps their answers (`keras_pose.data.teachers.answers`).
    """

    def __init__(self, paths: Sequence[str], cache: str | None = None):
        self._movenet = self._blazepose = self._answers = None
        for path in paths:
            if str(path).endswith(".json") and self._movenet is None:
                self._movenet = MoveNet(path)
            elif str(path).endswith(".tflite") and self._blazepose is None:
                self._blazepose = BlazePose(path)
            else:
                raise UserError(
                    f"--teacher={','.join(map(str, paths))}: give movenet-thunder.json, pose_landmark_heavy.tflite, "
                    "or one of each"
                )
        if not paths:
            raise UserError(
                "--teacher is missing: give movenet-thunder.json, pose_landmark_heavy.tflite, or both "
                "separated by a comma; docs/data.md says where they come from"
            )
        if cache:
            self._answers = Answers(cache, paths)

    def __call__(self, image: np.ndarray, crop: Crop | None = None) -> Labels | None:
        """The labels of the most prominent person in an (H, W, 3) uint8 RGB image; None if nobody is found.

        `crop` is where a person is known to be; None searches the whole image.
        """
        seen, found = self.look(image, crop)
        if seen and found:
            labels = agreed(seen, found)
        else:
            labels = _only_movenet(seen) if seen else _only_blazepose(found)
        return labels if labels.valid[LIMBS].sum() >= LEAST_LIMBS else None

    def look(self, image: np.ndarray, crop: Crop | None = None) -> Answer:
        """Each teacher's answer, from the cache if it has it; None for a teacher that is not used."""
        if self._answers is None:
            return self._ask(image, crop)
        return self._answers.get(image, crop) or self._answers.put(image, crop, self._ask(image, crop))

    def _ask(self, image: np.ndarray, crop: Crop | None) -> Answer:
        if self._movenet is None:
            return None, self._blazepose(image, crop) if crop else self._blazepose.find(image)
        seen = self._movenet.find(image, crop)
        if self._blazepose is None:
            return seen, None
        found = self._blazepose(image, _crop_of_person(seen))
        again = self._blazepose(image, found.next_crop)
        return seen, again if again.score >= found.score - AS_GOOD else found


@lru_cache(maxsize=1)
def open_teachers(paths: tuple[str, ...], cache: str | None = None) -> Labeller:
    """The labeller of these files; repeated calls in a process return the same one."""
    return Labeller(paths, cache)


def _only_movenet(seen: Keypoints) -> Labels:
    points, scores = _with_pelvis(seen)
    sure = scores >= SURE_SCORE
    return _labels(points, sure, np.zeros(len(sure), bool), None, crop_around_joints(seen) or Crop(np.zeros(2), 1.0))


def _only_blazepose(found: Landmarks) -> Labels:
    sure = (found.presence >= SURE_PRESENCE) & (found.score >= SURE_PERSON)
    return _labels(found.keypoints_px, sure, found.visibility < VISIBLE, found.pose_mm, found.next_crop)


def agreed(seen: Keypoints, found: Landmarks, agreement: float = AGREEMENT) -> Labels:
    """Labels by two teachers: the mean of joints less than `agreement` torsos apart.

    Joints that are farther apart, or have too low a score, are invalid.
    """
    points, scores = _with_pelvis(seen)
    torso = max(_torso_px(each) for each in (points, found.keypoints_px))
    apart = np.linalg.norm(points - found.keypoints_px, axis=-1)  # (18,)
    agree = (apart < agreement * torso) & (scores >= LEAST_SCORE)
    agree &= (found.presence >= LEAST_PRESENCE) & (found.score >= LEAST_PERSON)
    return _labels((points + found.keypoints_px) / 2, agree, found.visibility < VISIBLE, found.pose_mm, found.next_crop)


def _with_pelvis(seen: Keypoints) -> tuple[np.ndarray, np.ndarray]:
    """MoveNet's answer as joints of BLAZEPOSE_18: (18, 2), and their scores (18,)."""
    rows = np.concatenate([seen.keypoints_px, seen.scores[:, None]], axis=1)
    rows = map_joints(rows, np.ones(len(rows), bool), COCO_17, BLAZEPOSE_18)[0]
    return rows[:, :2], rows[:, 2]


def _torso_px(points: np.ndarray) -> float:
    """The longer diagonal of the trunk of (18, 2) joints of BLAZEPOSE_18."""
    diagonals = (("left_shoulder", "right_hip"), ("right_shoulder", "left_hip"))
    ends = [[points[BLAZEPOSE_18.index(name)] for name in diagonal] for diagonal in diagonals]
    return max(float(np.linalg.norm(first - second)) for first, second in ends)


def _labels(
    points: np.ndarray, valid: np.ndarray, hidden: np.ndarray, pose_mm: np.ndarray | None, next_crop: Crop
) -> Labels:
    """(18, 2) joints of BLAZEPOSE_18 to Labels; 3D is valid where 2D is, but only if both hips are."""
    marked = np.zeros((18, 3)) if pose_mm is None else pose_mm
    hips = [BLAZEPOSE_18.index("left_hip"), BLAZEPOSE_18.index("right_hip")]
    has_pose = valid & (pose_mm is not None and bool(valid[hips].all()))
    return Labels(
        *add_mixtures(points, valid),
        add_mixtures(hidden[:, None].astype(float), valid)[0][:, 0] > 0.5,
        *add_mixtures(marked, has_pose),
        _torso_px(points),
        next_crop,
    )


def add_mixtures(joints: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(18, D) joints of BLAZEPOSE_18 and their validity to (22, D) and (22,) of TEACHER_22, by `MIXTURES`."""
    mapped, mapped_valid = map_joints(joints, valid, BLAZEPOSE_18, TEACHER_22)
    for name, parts in MIXTURES.items():
        sides = {part: [BLAZEPOSE_18.index(f"{side}_{part}") for side in ("left", "right")] for part in parts}
        j = TEACHER_22.index(name)
        mapped_valid[j] = all(valid[pair].all() for pair in sides.values())
        mapped[j] = sum(share * joints[sides[part]].mean(0) for part, share in parts.items()) * mapped_valid[j]
    return mapped, mapped_valid


def crop_of_box(box_px: np.ndarray) -> Crop:
    """MoveNet's crop for a person in a known box (x0, y0, x1, y1) in pixels."""
    box_px = np.asarray(box_px, np.float64)
    return Crop((box_px[:2] + box_px[2:]) / 2, float(max((box_px[2:] - box_px[:2]).max() * CROP_MARGIN, 1.0)))


def _crop_of_person(seen: Keypoints) -> Crop:
    """BlazePose's crop: centered on the hips, up to the farthest joint seen, rotated so that the trunk is upright."""
    points = {name: seen.keypoints_px[COCO_17.index(name)] for name in COCO_17.joint_names}
    hips = (points["left_hip"] + points["right_hip"]) / 2
    up = (points["left_shoulder"] + points["right_shoulder"]) / 2 - hips
    reach = np.linalg.norm(seen.keypoints_px[seen.scores > SEEN] - hips, axis=-1).max(initial=8.0)
    return crop_around(hips, hips + up / max(float(np.linalg.norm(up)), 1e-6) * reach * 1.08)
