"""BlazePose as a teacher: its landmark model in a .tflite file, run through LiteRT on crops that follow the person.

The user provides the file: `pose_landmark_lite.tflite`, `_full` or `_heavy` of the npm package `@mediapipe/pose`
(Bazarevsky et al. 2020, arXiv:2006.10204). Its input is (1, 256, 256, 3) RGB in [0, 1]. Its outputs are 39 landmarks of
(x, y, z, visibility, presence), a score, and the same landmarks in meters around the hips. Landmarks 33 and 34 define
the next crop: the middle of the hips, and a point above it that gives the person's size and rotation.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import BLAZEPOSE_18
from keras_pose.data.teachers.crop import Crop, whole_image

SIZE = 256
LANDMARKS = 39
HIPS, ABOVE = 33, 34
CROP_MARGIN = 1.25
# From the whole image, several passes fit the crop, until its place and size change by less than this share.
SETTLED, MOST_PASSES = 0.05, 10
# BlazePose's landmark number of each joint except the pelvis.
_NUMBERS = {"nose": 0, "left_eye": 2, "right_eye": 5, "left_ear": 7, "right_ear": 8}
for _i, _joint in enumerate(("shoulder", "elbow", "wrist")):
    _NUMBERS |= {f"left_{_joint}": 11 + 2 * _i, f"right_{_joint}": 12 + 2 * _i}
for _i, _joint in enumerate(("hip", "knee", "ankle")):
    _NUMBERS |= {f"left_{_joint}": 23 + 2 * _i, f"right_{_joint}": 24 + 2 * _i}


@dataclass(frozen=True)
class Landmarks:
    """The joints of BLAZEPOSE_18 that the teacher found.

    `keypoints_px` (18, 2) are pixels of the image; `pose_mm` (18, 3) is relative to the pelvis, in camera axes;
    `visibility` and `presence` (18,) are in [0, 1], and so is `score`, whether there is a person. `next_crop` is the
    crop around that person.
    """

    keypoints_px: np.ndarray
    pose_mm: np.ndarray
    visibility: np.ndarray
    presence: np.ndarray
    score: float
    next_crop: Crop


class BlazePose:
    """Runs a landmark model; raises UserError if LiteRT is not installed or the file is another model."""

    def __init__(self, path: str | Path):
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise UserError("a teacher needs LiteRT; run: pip install 'keras_pose[teacher]'") from None
        if not Path(path).is_file():
            raise UserError(f"--teacher={path} is no file; get pose_landmark_full.tflite of npm's @mediapipe/pose")
        try:
            self._interpreter = Interpreter(str(path), num_threads=1)
            self._interpreter.allocate_tensors()
            self._input = self._interpreter.get_input_details()
            sizes = {int(np.prod(d["shape"])): d["index"] for d in self._interpreter.get_output_details()}
        except (ValueError, RuntimeError) as error:
            raise UserError(f"--teacher={path} is no TFLite model ({str(error).splitlines()[0]})") from error
        self._outputs = [sizes.get(size) for size in (LANDMARKS * 5, 1, LANDMARKS * 3)]
        if None in self._outputs or [list(d["shape"]) for d in self._input] != [[1, SIZE, SIZE, 3]]:
            raise UserError(f"--teacher={path} is not BlazePose's landmark model; get pose_landmark_full.tflite")

    def __call__(self, picture: np.ndarray, crop: Crop) -> Landmarks:
        """The person in a crop of an (H, W, 3) uint8 RGB image."""
        image = geometry.warp_image(picture, crop.affine(SIZE), (SIZE, SIZE)).astype(np.float32) / 255
        self._interpreter.set_tensor(self._input[0]["index"], image[None])
        self.step()
        return read_landmarks(*(self._interpreter.get_tensor(index).ravel() for index in self._outputs), crop)

    def step(self) -> None:
        """Runs the model on the crop that was set last; speed measurements call it repeatedly."""
        self._interpreter.invoke()

    def find(self, picture: np.ndarray) -> Landmarks:
        """The upright person in an (H, W, 3) uint8 RGB image: starts with the whole image, then fits the crop."""
        crop = whole_image(picture.shape[:2])
        for _ in range(MOST_PASSES):
            found = self(picture, crop)
            if crop.change(found.next_crop) < SETTLED:
                break
            crop = found.next_crop
        return found


def is_blazepose(path: Path) -> bool:
    """Whether a file is a landmark model, rather than an export of this project, which has metadata beside it."""
    if path.suffix != ".tflite" or not path.is_file() or path.with_name(f"{path.name}.json").is_file():
        return False
    try:
        BlazePose(path)
    except UserError:
        return False
    return True


def read_landmarks(values: np.ndarray, score: np.ndarray, world: np.ndarray, crop: Crop) -> Landmarks:
    """Converts the model's outputs (195,), (1,) and (117,) for a crop to joints in the image."""
    values, world = values.reshape(LANDMARKS, 5).astype(np.float64), world.reshape(LANDMARKS, 3).astype(np.float64)
    points = geometry.apply_affine(geometry.invert_affine(crop.affine(SIZE)), values[:, :2])  # (39, 2)
    linear = crop.affine(SIZE)[:, :2] * crop.side_px / SIZE  # the rotation alone
    metres = np.concatenate([world[:, :2] @ linear, world[:, 2:]], axis=1)  # rotated back
    visibility, presence = 1 / (1 + np.exp(-np.clip(values[:, 3:].T, -50, 50)))
    pose = _joints(metres)
    return Landmarks(
        keypoints_px=_joints(points),
        pose_mm=(pose - pose[BLAZEPOSE_18.root]) * 1000,
        visibility=_joints(visibility[:, None])[:, 0],
        presence=_joints(presence[:, None])[:, 0],
        score=float(score[0]),
        next_crop=crop_around(points[HIPS], points[ABOVE]),
    )


def _joints(landmarks: np.ndarray) -> np.ndarray:
    """(39, D) landmarks to (18, D) joints; the pelvis is the middle of the hips."""
    hips = landmarks[[_NUMBERS["left_hip"], _NUMBERS["right_hip"]]].mean(0)
    return np.stack([landmarks[_NUMBERS[n]] if n in _NUMBERS else hips for n in BLAZEPOSE_18.joint_names])


def crop_around(hips_px: np.ndarray, above_px: np.ndarray) -> Crop:
    """The upright crop around a person: the square around the circle through the point above, plus a margin.

    Args:
        hips_px: (2,) the middle of the hips, the circle's center.
        above_px: (2,) the point above it.
    """
    x, y = above_px - hips_px
    side = max(2 * CROP_MARGIN * float(np.hypot(x, y)), 1.0)
    return Crop(hips_px, side, -float(np.rad2deg(np.arctan2(x, -y))))
