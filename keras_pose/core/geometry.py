"""Pixels, crops and cameras. NumPy only, which keeps the start of worker processes fast.

Pixel convention throughout: pixel i covers [i, i + 1) and its center is i + 0.5. Normalized coordinates in [0, 1] are
pixels divided by the image size. (OpenCV puts centers at integers; in this module only `warp_image` calls it.)
Points are (x, y), images (height, width). Camera frame: x right, y down, z away from the camera, in millimeters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from keras_pose.core.errors import UserError


def normalize_keypoints(keypoints_px: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Pixels (..., 2) to [0, 1], for an image of (height, width) `image_size`."""
    return keypoints_px / np.array([image_size[1], image_size[0]], np.float32)


def denormalize_keypoints(keypoints_2d: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """The inverse of `normalize_keypoints`."""
    return keypoints_2d * np.array([image_size[1], image_size[0]], np.float32)


def inside_image(keypoints_px: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Pixels (..., 2) -> (...) bool: whether each point lies inside an image of (height, width)."""
    x, y = keypoints_px[..., 0], keypoints_px[..., 1]
    return (x >= 0) & (x < image_size[1]) & (y >= 0) & (y < image_size[0])


# --- crops -----------------------------------------------------------------------------------------------------


def crop_affine(
    center_px: np.ndarray, crop_size_px: tuple[float, float], output_size: tuple[int, int], rotation_deg: float = 0.0
) -> np.ndarray:
    """The (2, 3) affine from image pixels to crop pixels.

    The crop is centered on `center_px` (x, y), covers `crop_size_px` (height, width) of the image and has
    `output_size` (height, width). Its content is rotated clockwise by `rotation_deg`.
    """
    scale = np.array([output_size[1] / crop_size_px[1], output_size[0] / crop_size_px[0]])
    angle = np.deg2rad(rotation_deg)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = scale[:, None] * rotation
    offset = np.array([output_size[1], output_size[0]]) / 2 - linear @ np.asarray(center_px, np.float64)
    return np.concatenate([linear, offset[:, None]], axis=1)


def box_crop(
    box_px: Sequence[float] | np.ndarray, output_size: tuple[int, int], margin: float = 1.25
) -> tuple[np.ndarray, tuple[float, float]]:
    """Center (x, y) and size (height, width) of the crop around a box (x0, y0, x1, y1), in pixels.

    The box is enlarged by the factor `margin`, then to the aspect ratio of `output_size`, to avoid stretching.
    """
    x0, y0, x1, y1 = (float(v) for v in box_px)
    width, height = max(x1 - x0, 1.0) * margin, max(y1 - y0, 1.0) * margin
    aspect = output_size[1] / output_size[0]
    if width > height * aspect:
        height = width / aspect
    else:
        width = height * aspect
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2]), (height, width)


def keypoints_box(keypoints_px: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The box (x0, y0, x1, y1) around the valid ones of (J, 2) keypoints; raises UserError if none is valid."""
    points = np.asarray(keypoints_px)[np.asarray(valid, bool)]
    if len(points) == 0:
        raise UserError("no valid keypoint to fit a box to; drop the example")
    return np.concatenate([points.min(0), points.max(0)])


def apply_affine(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Applies a (2, 3) affine to (..., 2) points."""
    return points @ affine[:, :2].T + affine[:, 2]


def invert_affine(affine: np.ndarray) -> np.ndarray:
    """The (2, 3) affine that undoes `affine`."""
    inverse = np.linalg.inv(affine[:, :2])
    return np.concatenate([inverse, -(inverse @ affine[:, 2:])], axis=1)


def warp_image(image: np.ndarray, affine: np.ndarray, output_size: tuple[int, int], smooth: bool = True) -> np.ndarray:
    """Resamples an (H, W, 3) image through `affine` (image to crop) to `output_size` (height, width); black outside.

    With `smooth` the image is blurred before it is shrunk, to avoid aliasing.
    """
    shrink = 1 / np.sqrt(abs(np.linalg.det(affine[:, :2])))
    if smooth and shrink > 1.5:
        sigma = 0.35 * shrink
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    centred = affine.copy()
    centred[:, 2] += affine[:, :2] @ [0.5, 0.5] - 0.5
    return cv2.warpAffine(image, centred, (output_size[1], output_size[0]), flags=cv2.INTER_LINEAR)


def crop_intrinsics(intrinsics: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """(3, 3) intrinsics of the crop that `affine` cuts from an image with `intrinsics`."""
    return np.concatenate([affine, [[0.0, 0.0, 1.0]]]) @ intrinsics


# --- cameras ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Camera:
    """A calibrated camera: `rotation` (3, 3) and `translation_mm` (3,) map world to camera points.

    `radial` (k1, k2, k3) and `tangential` (p1, p2) follow Human3.6M's formula; see `distort`.
    """

    intrinsics: np.ndarray
    rotation: np.ndarray
    translation_mm: np.ndarray
    radial: tuple[float, ...] = ()
    tangential: tuple[float, ...] = ()

    def to_camera(self, world_mm: np.ndarray) -> np.ndarray:
        """(..., 3) world points to camera points, mm."""
        return world_mm @ self.rotation.T + self.translation_mm

    def project(self, camera_mm: np.ndarray) -> np.ndarray:
        """(..., 3) camera points to (..., 2) pixels, distortion included."""
        plane = camera_mm[..., :2] / camera_mm[..., 2:]
        if self.radial or self.tangential:
            plane = distort(plane, self.radial, self.tangential)
        return plane @ self.intrinsics[:2, :2].T + self.intrinsics[:2, 2]


def distort(plane: np.ndarray, radial: tuple[float, ...], tangential: tuple[float, ...]) -> np.ndarray:
    """Human3.6M's lens distortion of (..., 2) points on the plane z = 1.

    With r2 = x^2 + y^2, a point is scaled by 1 + k1 r2 + k2 r2^2 + k3 r2^3 + p1 y + p2 x and shifted by (p2, p1) r2, as
    in the data set's own code and Martinez et al. 2017. (OpenCV has 2 (p1 y + p2 x) instead of p1 y + p2 x.)
    """
    p1, p2 = tangential or (0.0, 0.0)
    r2 = (plane**2).sum(-1, keepdims=True)
    scale = 1 + sum(k * r2 ** (i + 1) for i, k in enumerate(radial))
    scale = scale + p1 * plane[..., 1:] + p2 * plane[..., :1]
    return plane * scale + r2 * np.array([p2, p1])


def project_points(points_mm: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """(..., 3) camera points to (..., 2) pixels of a pinhole camera with (3, 3) intrinsics (skew included)."""
    homogeneous = points_mm @ np.asarray(intrinsics).T
    return homogeneous[..., :2] / homogeneous[..., 2:]


def root_relative(points_mm: np.ndarray, root: int) -> np.ndarray:
    """(..., J, 3) points relative to joint `root`."""
    return points_mm - points_mm[..., root : root + 1, :]
