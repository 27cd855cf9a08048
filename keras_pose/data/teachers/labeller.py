"""Labels an image by teachers; where two of them agree, a joint counts.

A MoveNet file (.json) finds the person and gives 2D joints. A BlazePose file (.tflite) gives 2D joints and a 3D pose
around them. With one teacher its own scores decide which joints count, with two their agreement does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import BLAZEPOSE_18, COCO_17, TEACHER_22, map_joints
from keras_pose.data.teachers.blazepose import BlazePose, Landmarks, crop_around
from keras_pose.data.teachers.crop import Crop
from keras_pose.data.teachers.movenet import CROP_MARGIN, SEEN, Keypoints, MoveNet

# Joints of two teachers agree within this share of the torso.
AGREEMENT = 0.2
LEAST_SCORE, LEAST_PRESENCE = 0.15, 0.3  # joints that agree need no more than this
SURE_SCORE, SURE_PRESENCE = 0.4, 0.5  # a joint of a single teacher
SURE_PERSON = 0.5  # BlazePose's score of a crop that holds a person
VISIBLE = 0.5
LEAST_LIMBS = 6  # of the 12 limb joints; with fewer the person does not count as found
LIMBS = [
    BLAZEPOSE_18.index(f"{side}_{joint}")
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
]
# Joints that no teacher marks, as mixtures of those that they do: least-squares fits, rounded. Neck and head_top are
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

    `keypoints_px` (22, 2) of the image, `valid` and `hidden` (22,) bool; `pose_mm` (22, 3) relative to the pelvis,
    camera axes, and `pose_valid` (22,) bool: none without BlazePose.
    """

    keypoints_px: np.ndarray
    valid: np.ndarray
    hidden: np.ndarray
    pose_mm: np.ndarray
    pose_valid: np.ndarray


class Labeller:
    """Runs one or two teachers; raises UserError for files that are not teachers, and two of a kind."""

    def __init__(self, paths: Sequence[str]):
        self._movenet = self._blazepose = None
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

    def __call__(self, image: np.ndarray, box_px: np.ndarray | None = None) -> Labels | None:
        """The labels of an (H, W, 3) uint8 RGB image; None where no person is found.

        `box_px` (x0, y0, x1, y1) is the box of a person who is known to be there.
        """
        crop = None if box_px is None else _crop_of_box(box_px)
        if self._movenet is None:
            found = self._blazepose(image, crop) if crop else self._blazepose.find(image)
            return self._checked(_only_blazepose(found))
        seen = self._movenet.find(image, crop)
        if self._blazepose is None:
            return self._checked(_only_movenet(seen))
        found = self._blazepose(image, _crop_of_person(seen))
        again = self._blazepose(image, found.next_crop)
        return self._checked(_agreed(seen, again if again.score >= found.score - 0.02 else found))

    def _checked(self, labels: Labels) -> Labels | None:
        return labels if labels.valid[LIMBS].sum() >= LEAST_LIMBS else None


@lru_cache(maxsize=1)
def open_teachers(paths: tuple[str, ...]) -> Labeller:
    """The labeller of these files, once per process."""
    return Labeller(paths)


def _only_movenet(seen: Keypoints) -> Labels:
    points, sure = map_joints(seen.keypoints_px, seen.scores >= SURE_SCORE, COCO_17, BLAZEPOSE_18)
    return _labels(points, sure, np.zeros(len(sure), bool))


def _only_blazepose(found: Landmarks) -> Labels:
    sure = (found.presence >= SURE_PRESENCE) & (found.score >= SURE_PERSON)
    return _labels(found.keypoints_px, sure, found.visibility < VISIBLE, found.pose_mm)


def _agreed(seen: Keypoints, found: Landmarks) -> Labels:
    """The mean of the joints that agree."""
    points, present = map_joints(seen.keypoints_px, seen.scores >= LEAST_SCORE, COCO_17, BLAZEPOSE_18)
    torso = max(_torso_px(points), _torso_px(found.keypoints_px))
    apart = np.linalg.norm(points - found.keypoints_px, axis=-1)  # (18,)
    agree = present & (apart < AGREEMENT * torso) & (found.presence >= LEAST_PRESENCE) & (found.score >= SURE_PERSON)
    return _labels((points + found.keypoints_px) / 2, agree, found.visibility < VISIBLE, found.pose_mm)


def _torso_px(points: np.ndarray) -> float:
    """The longer diagonal of the trunk."""
    corners = [
        points[BLAZEPOSE_18.index(name)] for name in ("left_shoulder", "right_hip", "right_shoulder", "left_hip")
    ]
    return max(float(np.linalg.norm(corners[0] - corners[1])), float(np.linalg.norm(corners[2] - corners[3])))


def _labels(points: np.ndarray, valid: np.ndarray, hidden: np.ndarray, pose_mm: np.ndarray | None = None) -> Labels:
    """(18, 2) joints of BLAZEPOSE_18 to Labels; 3D is valid where 2D is, and only with a pelvis."""
    marked = np.zeros((18, 3)) if pose_mm is None else pose_mm
    has_pose = valid & (pose_mm is not None and bool(valid[BLAZEPOSE_18.root]))
    return Labels(
        *add_mixtures(points, valid),
        add_mixtures(hidden[:, None].astype(float), valid)[0][:, 0] > 0.5,
        *add_mixtures(marked, has_pose),
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


def _crop_of_box(box_px: np.ndarray) -> Crop:
    box_px = np.asarray(box_px, np.float64)
    return Crop((box_px[:2] + box_px[2:]) / 2, float(max((box_px[2:] - box_px[:2]).max() * CROP_MARGIN, 1.0)))


def _crop_of_person(seen: Keypoints) -> Crop:
    """BlazePose's crop: around the hips, as far as the farthest joint that was seen, the trunk upright."""
    points = {name: seen.keypoints_px[COCO_17.index(name)] for name in COCO_17.joint_names}
    hips = (points["left_hip"] + points["right_hip"]) / 2
    up = (points["left_shoulder"] + points["right_shoulder"]) / 2 - hips
    reach = np.linalg.norm(seen.keypoints_px[seen.scores > SEEN] - hips, axis=-1).max(initial=8.0)
    return crop_around(hips, hips + up / max(float(np.linalg.norm(up)), 1e-6) * reach * 1.08)
