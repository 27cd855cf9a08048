"""The target heatmaps for training, in the paper's form and in HRNet's own."""

import numpy as np
from keras import ops

from keras_pose.core.errors import UserError


def check_kernel(kernel_size: int | None, sigma: float) -> None:
    """Raises UserError unless the kernel size is odd and positive, or None, and sigma is positive."""
    if kernel_size is not None and (kernel_size < 1 or kernel_size % 2 == 0):
        raise UserError(f"heatmap kernel size is {kernel_size}; give an odd number such as 3, or None")
    if not sigma > 0:
        raise UserError(f"heatmap sigma is {sigma}; give a positive number of heatmap cells, such as 1")


def target_heatmaps(
    keypoints_2d, keypoint_valid, heatmap_size: tuple[int, int], kernel_size: int | None = 3, sigma: float = 1.0
):
    """The target heatmaps for training.

    With a `kernel_size`, as in the paper: 1 at the joint's cell of a zero map, smoothed by a normalized Gaussian of
    that size and sigma (3 and 1 give a peak of 0.204), zeros beyond the border. With None, as in HRNet: an unquantized
    Gaussian with peak 1. Invalid joints, and joints labeled outside the crop, have all-zero maps.

    Args:
        keypoints_2d: (B, J, 2) in [0, 1] of the crop.
        keypoint_valid: (B, J).
        heatmap_size: (height, width) in cells.
        kernel_size: cells, odd; or None.
        sigma: cells.

    Returns:
        (B, height, width, J) float32.

    Raises:
        UserError: `kernel_size` is not odd and positive, or `sigma` is not positive.
    """
    check_kernel(kernel_size, sigma)
    height, width = heatmap_size
    keypoints_2d = ops.cast(keypoints_2d, "float32")
    inside = ops.all(ops.logical_and(keypoints_2d >= 0, keypoints_2d < 1), axis=-1)  # (B, J)
    shown = ops.cast(inside, "float32") * ops.cast(keypoint_valid, "float32")
    # The Gaussian is separable: a profile along each axis.
    along_x = _profile(keypoints_2d[..., 0] * width, width, kernel_size, sigma)  # (B, W, J)
    along_y = _profile(keypoints_2d[..., 1] * height, height, kernel_size, sigma) * shown[:, None, :]  # (B, H, J)
    return along_y[:, :, None, :] * along_x[:, None, :, :]


def target_peak(kernel_size: int | None = 3, sigma: float = 1.0) -> float:
    """The height of the target at the joint's cell (1 for HRNet's form); a heatmap of this height scores 1."""
    return 1.0 if kernel_size is None else float(_kernel_sum(kernel_size, sigma) ** -2)


def _kernel_sum(kernel_size: int, sigma: float) -> float:
    radius = kernel_size // 2
    return sum(np.exp(-(k**2) / (2 * sigma**2)) for k in range(-radius, radius + 1))


def _profile(positions, cells: int, kernel_size: int | None, sigma: float):
    """(B, J) positions in cells to (B, cells, J): a Gaussian along one axis."""
    centres = np.arange(cells, dtype="float32")[None, :, None] + 0.5
    if kernel_size is None:
        return ops.exp(-ops.square(centres - positions[:, None, :]) / (2 * sigma**2))
    distance = centres - (ops.floor(positions) + 0.5)[:, None, :]  # whole numbers
    gaussian = ops.exp(-ops.square(distance) / (2 * sigma**2)) / _kernel_sum(kernel_size, sigma)
    return ops.where(ops.abs(distance) <= kernel_size // 2, gaussian, 0.0)
