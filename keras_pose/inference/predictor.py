"""PosePredictor: an image in, a person's joints out.

The model sees crops. Without a box the first pass looks at the whole picture; the crop of the second pass then
follows the joints that the first one found.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton
from keras_pose.core.units import units_of
from keras_pose.inference.runtimes import LoadedModel, open_model
from keras_pose.io import images
from keras_pose.visualization.drawing import LOW_SCORE

CROP_MARGIN = 1.25
# A box needs some joints to be around: with fewer sure ones, all joints count.
FEWEST_SURE_JOINTS = 4
# A crop is at most so much smaller than the one before it: joints that fall onto one spot are no person.
MOST_ZOOM = 8.0
UNITS = units_of("keypoints_px", "scores", "pose_3d_mm")


@dataclass(frozen=True)
class PoseResult:
    """One person in one picture.

    Attributes:
        keypoints_px: (J, 2) pixels of the picture; may lie outside it.
        scores: (J,) in [0, 1].
        pose_3d_mm: (J, 3) camera frame (x right, y down, z away), relative to the root; None from a 2D model.
        crop_affine: (2, 3) from pixels of the picture to pixels of the crop that the model saw.
    """

    keypoints_px: np.ndarray
    scores: np.ndarray
    pose_3d_mm: np.ndarray | None
    skeleton: Skeleton
    crop_affine: np.ndarray

    def to_dict(self) -> dict:
        """JSON-ready numbers with their units."""
        return {
            "skeleton": self.skeleton.to_dict(),
            "units": UNITS,
            "keypoints_px": np.round(self.keypoints_px, 2).tolist(),
            "scores": np.round(self.scores, 4).tolist(),
            "pose_3d_mm": None if self.pose_3d_mm is None else np.round(self.pose_3d_mm, 1).tolist(),
            "crop_affine": self.crop_affine.tolist(),
        }


class PosePredictor:
    """Finds a person's joints in RGB pictures.

    Args:
        source: a run folder, an exported .tflite or .onnx file, the name of a shipped weight, or a `LoadedModel`.

    Raises UserError where there is no such model.
    """

    def __init__(self, source: str | os.PathLike | LoadedModel):
        self.model = source if isinstance(source, LoadedModel) else open_model(source)

    @property
    def skeleton(self) -> Skeleton:
        return self.model.skeleton

    def __call__(self, image: np.ndarray, box: Sequence[float] | None = None) -> PoseResult:
        """The person in (H, W, 3) uint8 RGB, looked for in the whole picture or in box (x0, y0, x1, y1) pixels."""
        return self.predict([image], [box])[0]

    def predict(
        self, images: Sequence[np.ndarray], boxes: Sequence[Sequence[float] | None] | None = None
    ) -> list[PoseResult]:
        """As `__call__`, for several pictures of any sizes in one batch."""
        if len(images) == 0:
            return []
        boxes = [None] * len(images) if boxes is None else list(boxes)
        for image, box in zip(images, boxes, strict=True):
            _check_picture(image, box)
        first = [
            self._whole(image) if box is None else self._around(box) for image, box in zip(images, boxes, strict=True)
        ]
        results = self._run(images, first)
        again = [i for i, box in enumerate(boxes) if box is None]
        if again:
            second = self._run([images[i] for i in again], [self._around(self.box_of(results[i])) for i in again])
            for i, result in zip(again, second, strict=True):
                results[i] = result
        return results

    def box_of(self, result: PoseResult) -> np.ndarray:
        """The box (x0, y0, x1, y1) in pixels to look at next: around the sure joints, around all if few are sure."""
        sure = result.scores >= LOW_SCORE
        counted = sure if sure.sum() >= FEWEST_SURE_JOINTS else np.ones_like(sure)
        x0, y0, x1, y1 = geometry.keypoints_box(result.keypoints_px, counted)
        crop_height_px = self.model.input_size[0] / np.sqrt(abs(np.linalg.det(result.crop_affine[:, :2])))
        short_of = np.maximum(crop_height_px / MOST_ZOOM - np.array([x1 - x0, y1 - y0]), 0) / 2
        return np.concatenate([np.array([x0, y0]) - short_of, np.array([x1, y1]) + short_of])

    def _whole(self, image: np.ndarray) -> np.ndarray:
        return self._around((0, 0, image.shape[1], image.shape[0]), margin=1.0)

    def _around(self, box_px: Sequence[float], margin: float = CROP_MARGIN) -> np.ndarray:
        """The affine of the crop around a box."""
        size = self.model.input_size
        return geometry.crop_affine(*geometry.box_crop(box_px, size, margin), size)

    def _run(self, images: Sequence[np.ndarray], affines: Sequence[np.ndarray]) -> list[PoseResult]:
        """One pass of the model over a crop of each picture."""
        size = self.model.input_size
        crops = [geometry.warp_image(image, affine, size) for image, affine in zip(images, affines, strict=True)]
        outputs = self.model.run(np.stack(crops))
        crop_keypoints_px = geometry.denormalize_keypoints(outputs["keypoints_2d"], size)  # (B, J, 2)
        return [
            PoseResult(
                keypoints_px=geometry.apply_affine(geometry.invert_affine(affine), crop_keypoints_px[i]),
                scores=outputs["scores"][i],
                pose_3d_mm=outputs["pose_3d"][i] if "pose_3d" in outputs else None,
                skeleton=self.skeleton,
                crop_affine=affine,
            )
            for i, affine in enumerate(affines)
        ]


def _check_picture(image: np.ndarray, box: Sequence[float] | None) -> None:
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise UserError(f"a picture is (height, width, 3) uint8 RGB, got {image.dtype} {image.shape}")
    images.check_size(image.shape[:2], "a picture")
    if box is not None and not (len(box) == 4 and np.isfinite(box).all() and box[0] < box[2] and box[1] < box[3]):
        raise UserError(f"a box is (x0, y0, x1, y1) in pixels with x0 < x1 and y0 < y1, got {tuple(box)}")
