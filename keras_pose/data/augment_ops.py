"""The augmentations as pure functions of a batch and of numbers drawn per example.

A batch is the dict in docs/architecture.md. Its images are floats in 0..255, except that `mirror` takes any dtype.
"""

import numpy as np
from keras import ops

from keras_pose.core.skeleton import Skeleton

FAR_FACTOR = 6.0  # see `disturb`
FAR_LIMIT = 1.959964  # one in twenty draws of the standard normal distribution is farther from 0
GREY_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma


def _quarter_turn() -> np.ndarray:
    """(3, 3), for rows: rotates colors by 90 degrees about the gray axis and removes their luma; maps gray to 0."""
    axis = np.full(3, 3**-0.5)  # the gray axis
    cross = np.cross(np.eye(3), axis)  # row @ cross is the cross product row x axis
    return (cross - np.outer(cross @ GREY_WEIGHTS, np.ones(3))).astype("float32")


QUARTER_TURN = _quarter_turn()

# --- color ----------------------------------------------------------------------------------------------------


def adjust_colour(image, brightness, contrast, saturation, hue=None):
    """Changes brightness, contrast, saturation and hue, in this order, without clipping.

    Each is affine in a pixel's color, so together they are one matrix and one offset per image.

    Args:
        image: (B, H, W, 3) in 0..255.
        brightness: (B,), added as a share of 255.
        contrast: (B,), the factor for the distance of pixels from the image's mean gray.
        saturation: (B,), the factor for the distance of pixels from their own gray.
        hue: (B,), rotation of the color about its own gray, in full turns; None leaves hues unchanged.
    """
    height, width = image.shape[1:3]
    pixels = ops.reshape(image, (-1, height * width, 3))
    weights = np.array(GREY_WEIGHTS, "float32")
    mean = ops.matmul(ops.mean(pixels, axis=1), weights)  # (B,)
    turned = None
    if hue is not None:
        angle = 2.0 * np.pi * hue
        turned = QUARTER_TURN * ops.reshape(contrast * saturation * ops.sin(angle), (-1, 1, 1))
        saturation = saturation * ops.cos(angle)
    own = np.eye(3, dtype="float32") * ops.reshape(contrast * saturation, (-1, 1, 1))
    grey = np.tile(weights[:, None], (1, 3)) * ops.reshape(contrast * (1.0 - saturation), (-1, 1, 1))
    offset = 255.0 * brightness + (1.0 - contrast) * mean  # (B,)
    matrix = own + grey if turned is None else own + grey + turned
    pixels = ops.matmul(pixels, matrix) + offset[:, None, None]
    return ops.reshape(pixels, (-1, height, width, 3))


def _each(values):
    """(B,) to (B, 1, 1, 1)."""
    return ops.reshape(values, (-1, 1, 1, 1))


# --- pixels ----------------------------------------------------------------------------------------------------


def blur(image, sigma_px: float, share):
    """Mixes in `share` (B,) of the image blurred by a Gaussian of `sigma_px`."""
    radius = int(np.ceil(2 * sigma_px))
    border = ((0, 0), (radius, radius), (radius, radius), (0, 0))
    padded = ops.pad(image, border, mode="symmetric")  # otherwise edges darken
    size, sigma = (2 * radius + 1,) * 2, (sigma_px,) * 2
    smooth = ops.image.gaussian_blur(padded, size, sigma, data_format="channels_last")
    smooth = smooth[:, radius:-radius, radius:-radius]
    return image + (smooth - image) * _each(share)


def cut_out(image, center, size, fill: float = 127.5):
    """Fills a rectangle per image with gray; `center` (x, y) and `size` (width, height), both (B, 2), in [0, 1]."""
    height, width = image.shape[1:3]
    x = (np.arange(width, dtype="float32") + 0.5) / width
    y = (np.arange(height, dtype="float32") + 0.5) / height
    inside_x = ops.abs(x[None] - center[:, :1]) * 2 < size[:, :1]  # (B, W)
    inside_y = ops.abs(y[None] - center[:, 1:]) * 2 < size[:, 1:]  # (B, H)
    inside = ops.logical_and(inside_y[:, :, None, None], inside_x[:, None, :, None])  # (B, H, W, 1)
    return ops.where(inside, fill, image)


def resample(image, pixels):
    """Resamples (B, H, W, 3) images through `pixels`, (B, 3, 3) affines from old to new pixels; black outside."""
    centre = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]], "float32")  # pixel index to its center
    back = ops.matmul(np.linalg.inv(centre), ops.matmul(ops.inv(pixels), centre))  # new to old, in indices
    flat = ops.reshape(back, (-1, 9))[:, :8]
    return ops.image.affine_transform(image, flat, interpolation="bilinear", data_format="channels_last")


# --- geometry --------------------------------------------------------------------------------------------------


def mirror(batch: dict, flipped, skeleton: Skeleton, size: tuple[int, int] | None = None) -> dict:
    """Mirrors the examples where `flipped` (B,) is true: pixels, 2D, 3D, masks and camera, swapping left and right.

    In 3D, x changes sign, and so does the skew of the camera. `size` is (height, width) of the crops, by default the
    images'; in a batch without images, only the labels are mirrored.
    """
    mirrored = {"image": ops.flip(batch["image"], axis=2)} if "image" in batch else {}
    for key in ("keypoints_2d", "keypoint_valid", "keypoint_hidden", "pose_3d", "pose_3d_valid"):
        if key in batch:
            mirrored[key] = ops.take(batch[key], np.array(skeleton.flip_permutation), axis=1)
    mirrored["keypoints_2d"] = mirrored["keypoints_2d"] * np.array([-1, 1], "float32") + np.array([1, 0], "float32")
    camera = np.diag([-1.0, 1.0, 1.0]).astype("float32")
    mirrored["pose_3d"] = ops.matmul(mirrored["pose_3d"], camera)
    if "root_position_mm" in batch:
        mirrored["root_position_mm"] = ops.matmul(batch["root_position_mm"], camera)
    if "intrinsics" in batch:
        width = (size or batch["image"].shape[1:3])[1]
        pixels = np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1]], "float32")
        mirrored["intrinsics"] = ops.matmul(ops.matmul(pixels, batch["intrinsics"]), camera)
    # Selecting whole examples takes a fourth of the time of a `where` over every pixel.
    count = ops.shape(batch["keypoints_2d"])[0]
    picked = ops.arange(count, dtype="int32") + count * ops.cast(flipped, "int32")
    chosen = {key: ops.take(ops.concatenate([batch[key], value]), picked, axis=0) for key, value in mirrored.items()}
    return {**batch, **chosen}


def transform(batch: dict, rotation_deg, scale, shift, size: tuple[int, int] | None = None) -> dict:
    """Rotates and scales the crop about its center, then shifts it: one affine for pixels, 2D and camera.

    3D rotates with the image, about the optical axis. For a crop off the principal point this is an approximation: the
    true camera would rotate about the ray through the crop's center, and the perspective differs by that angle.
    If the batch has `intrinsics`, they follow exactly: 3D still projects onto 2D. Scale and shift leave 3D unchanged.

    Args:
        rotation_deg: (B,), clockwise.
        scale: (B,), a factor.
        shift: (B, 2), along x and y, as a share of the crop.
        size: (height, width) of the crops, by default the images'; in a batch without images, only the labels move.
    """
    height, width = size or batch["image"].shape[1:3]
    size, middle = np.array([width, height], "float32"), np.array([width / 2, height / 2], "float32")
    camera = _turn(rotation_deg)  # (B, 3, 3), new = camera @ old
    linear = camera[:, :2, :2] * ops.reshape(scale, (-1, 1, 1))
    offset = middle + shift * size - ops.matmul(linear, middle[:, None])[..., 0]  # (B, 2)
    last_row = ops.broadcast_to(np.array([[[0, 0, 1]]], "float32"), ops.shape(camera[:, :1]))
    pixels = ops.concatenate([ops.concatenate([linear, offset[..., None]], axis=2), last_row], axis=1)  # (B, 3, 3)
    changed = {"image": resample(batch["image"], pixels)} if "image" in batch else {}
    points_px = ops.einsum("bik,bjk->bji", linear, batch["keypoints_2d"] * size) + offset[:, None]
    changed["keypoints_2d"] = points_px / size
    changed["pose_3d"] = ops.einsum("bik,bjk->bji", camera, batch["pose_3d"])
    if "root_position_mm" in batch:
        changed["root_position_mm"] = ops.einsum("bik,bk->bi", camera, batch["root_position_mm"])
    if "intrinsics" in batch:
        changed["intrinsics"] = ops.einsum("bij,bjk,blk->bil", pixels, batch["intrinsics"], camera)
    return {**batch, **changed}


def disturb(keypoints_2d, deviation: float, errors):
    """Moves (B, J, 2) points as a detector's errors would: most slightly, one in twenty far.

    Args:
        deviation: standard deviation of x and y, in the points' unit; `FAR_FACTOR` times as large for far points.
        errors: (B, J, 3) draws of the standard normal distribution.
    """
    is_far = ops.abs(errors[..., 2:]) > FAR_LIMIT
    return keypoints_2d + errors[..., :2] * deviation * ops.where(is_far, FAR_FACTOR, 1.0)


def _turn(rotation_deg):
    """(B,) degrees to (B, 3, 3) rotations, clockwise in the image (y is down)."""
    angle = rotation_deg * (np.pi / 180)
    cos, sin, zero, one = ops.cos(angle), ops.sin(angle), ops.zeros_like(angle), ops.ones_like(angle)
    rows = [[cos, -sin, zero], [sin, cos, zero], [zero, zero, one]]
    return ops.stack([ops.stack(row, axis=-1) for row in rows], axis=1)
