"""The square of an image that a teacher sees."""

from dataclasses import dataclass

import numpy as np

from keras_pose.core import geometry


@dataclass(frozen=True)
class Crop:
    """A square of the image: its center (x, y) and side in pixels, and its rotation (see `geometry.crop_affine`)."""

    center_px: np.ndarray
    side_px: float
    rotation_deg: float = 0.0

    def affine(self, size: int) -> np.ndarray:
        """(2, 3) from pixels of the image to pixels of a square with side `size`."""
        return geometry.crop_affine(self.center_px, (self.side_px, self.side_px), (size, size), self.rotation_deg)

    def change(self, other: "Crop") -> float:
        """The larger of the differences in place and in size, as a share of this crop's side."""
        moved = np.abs(np.subtract(self.center_px, other.center_px)).max()
        return float(max(moved, abs(self.side_px - other.side_px)) / self.side_px)


def whole_image(image_size: tuple[int, int]) -> Crop:
    """The smallest square that holds an image of (height, width)."""
    return Crop(np.array(image_size[::-1]) / 2, float(max(image_size)))
