"""The square of an image that a teacher looks at."""

from dataclasses import dataclass

import numpy as np

from keras_pose.core import geometry


@dataclass(frozen=True)
class Crop:
    """A square of the image: its centre (x, y) and side in pixels, and how far it is turned (see `crop_affine`)."""

    center_px: np.ndarray
    side_px: float
    rotation_deg: float = 0.0

    def affine(self, size: int) -> np.ndarray:
        """(2, 3) from pixels of the image to pixels of a square of `size`."""
        return geometry.crop_affine(self.center_px, (self.side_px, self.side_px), (size, size), self.rotation_deg)

    def change(self, other: "Crop") -> float:
        """How far two crops are apart in place or size, as a share of this one's side."""
        moved = np.abs(np.subtract(self.center_px, other.center_px)).max()
        return float(max(moved, abs(self.side_px - other.side_px)) / self.side_px)


def whole_image(image_size: tuple[int, int]) -> Crop:
    """The smallest square that holds an image of (height, width)."""
    return Crop(np.array(image_size[::-1]) / 2, float(max(image_size)))
