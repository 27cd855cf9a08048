"""The paper's losses, Eq. 1 and 6 to 9, as pure functions with masks and as Keras losses.

Units are chosen so that weights of order 1 make sense: heatmaps as they are (a joint not found costs 0.13, the square
sum of its target), 3D in metres (a pose 0.25 m off costs 0.06), 2D in crops (a crop is about two metres).

Each function returns one loss an element; `Term` pairs add them up. A term is (sum of losses, sum of weights), and
both are sums over examples, so replicas may add theirs up before `combine_terms` divides: the loss of a global batch
is the same number on one device and on many.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from keras_pose.errors import UserError, unknown_name
from keras_pose.skeleton import Skeleton

METRES_PER_MM = 0.001
DECODER_TARGETS = ("predicted", "ground_truth")


@dataclass(frozen=True)
class LossConfig:
    """What Eq. 9 is made of: L = alpha L_joint2D + beta L_encoder + gamma L_decoder + delta L_boneSym3D.

    Attributes:
        alpha, beta, gamma, delta: the weights.
        alpha_decay: alpha is multiplied by this after every epoch; 1 leaves it.
        decoder_target: `predicted` as Eq. 7 prints it, or `ground_truth`.
        heatmap_kernel_size, heatmap_sigma: see `target_heatmaps`.
    """

    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 1.0
    delta: float = 1.0
    alpha_decay: float = 1.0
    decoder_target: str = "ground_truth"
    heatmap_kernel_size: int | None = 3
    heatmap_sigma: float = 1.0

    def __post_init__(self):
        if self.decoder_target not in DECODER_TARGETS:
            raise unknown_name("decoder target", self.decoder_target, DECODER_TARGETS)
        _check_kernel(self.heatmap_kernel_size, self.heatmap_sigma)

    def alpha_at(self, epoch: int) -> float:
        """Alpha in `epoch`, counted from 0."""
        return self.alpha * self.alpha_decay**epoch


# --- target heatmaps -------------------------------------------------------------------------------------------


def _check_kernel(kernel_size: int | None, sigma: float) -> None:
    if kernel_size is not None and (kernel_size < 1 or kernel_size % 2 == 0):
        raise UserError(f"heatmap kernel size is {kernel_size}; give an odd number such as 3, or None")
    if not sigma > 0:
        raise UserError(f"heatmap sigma is {sigma}; give a positive number of heatmap cells, such as 1")


def target_heatmaps(
    keypoints_2d, keypoint_valid, heatmap_size: tuple[int, int], kernel_size: int | None = 3, sigma: float = 1.0
):
    """The heatmaps to train towards.

    With a `kernel_size`, as the paper: 1 at the joint's cell of a zero map, smoothed by a normalised Gaussian of
    that size and sigma (3 and 1: the peak is 0.204), zeros beyond the border. With None, HRNet's own way: an
    unquantised Gaussian of peak 1. A joint labelled outside the crop has an all-zero map, and so has an invalid one.

    Args:
        keypoints_2d: (B, J, 2) in [0, 1] of the crop.
        keypoint_valid: (B, J).
        heatmap_size: (height, width) in cells.
        kernel_size: cells, odd; or None.
        sigma: cells.

    Returns:
        (B, height, width, J) float32.
    """
    _check_kernel(kernel_size, sigma)
    height, width = heatmap_size
    keypoints_2d = ops.cast(keypoints_2d, "float32")
    inside = ops.all(ops.logical_and(keypoints_2d >= 0, keypoints_2d < 1), axis=-1)  # (B, J)
    shown = ops.cast(inside, "float32") * ops.cast(keypoint_valid, "float32")
    # The Gaussian is separable: a profile along each axis.
    along_x = _profile(keypoints_2d[..., 0] * width, width, kernel_size, sigma)  # (B, W, J)
    along_y = _profile(keypoints_2d[..., 1] * height, height, kernel_size, sigma) * shown[:, None, :]  # (B, H, J)
    return along_y[:, :, None, :] * along_x[:, None, :, :]


def target_peak(kernel_size: int | None = 3, sigma: float = 1.0) -> float:
    """The height of the target at the joint's cell, 1 for HRNet's way; a heatmap as high scores 1."""
    return 1.0 if kernel_size is None else float(_kernel_sum(kernel_size, sigma) ** -2)


def _kernel_sum(kernel_size: int, sigma: float) -> float:
    radius = kernel_size // 2
    return sum(np.exp(-(k**2) / (2 * sigma**2)) for k in range(-radius, radius + 1))


def _profile(positions, cells: int, kernel_size: int | None, sigma: float):
    """(B, J) positions in cells to (B, cells, J), a Gaussian along one axis."""
    centres = np.arange(cells, dtype="float32")[None, :, None] + 0.5
    if kernel_size is None:
        return ops.exp(-ops.square(centres - positions[:, None, :]) / (2 * sigma**2))
    distance = centres - (ops.floor(positions) + 0.5)[:, None, :]  # whole numbers
    gaussian = ops.exp(-ops.square(distance) / (2 * sigma**2)) / _kernel_sum(kernel_size, sigma)
    return ops.where(ops.abs(distance) <= kernel_size // 2, gaussian, 0.0)


# --- pure functions --------------------------------------------------------------------------------------------


def joint2d_loss(target, predicted):
    """Eq. 1: (B, H, W, J) heatmaps to (B, J), the SUM over cells of the squared difference."""
    return ops.sum(ops.square(ops.cast(target, "float32") - ops.cast(predicted, "float32")), axis=(1, 2))


def encoder_loss(target_mm, predicted_mm):
    """Eq. 6: (B, J, 3) mm to (B, J), the squared distance in square metres."""
    return ops.sum(ops.square((target_mm - predicted_mm) * METRES_PER_MM), axis=-1)


def decoder_loss(target, reprojected):
    """Eq. 7: (B, J, 2) in [0, 1] to (B, J), the squared distance in square crops."""
    return ops.sum(ops.square(target - reprojected), axis=-1)


def bone_symmetry_loss(predicted_mm, skeleton: Skeleton):
    """Eq. 8: (B, J, 3) mm to (B, pairs), the squared difference of a left and a right bone's length, square metres.

    The gradient is finite also where a bone has no length.
    """
    pairs = np.array(skeleton.symmetric_bones)  # (pairs, 2 sides, parent and child)
    lengths = [_bone_lengths_m(predicted_mm, pairs[:, side]) for side in (0, 1)]
    return ops.square(lengths[0] - lengths[1])


def _bone_lengths_m(pose_mm, bones: np.ndarray):
    """(B, J, 3) mm and (N, 2) joint indices to (B, N) metres."""
    vectors = (ops.take(pose_mm, bones[:, 1], axis=1) - ops.take(pose_mm, bones[:, 0], axis=1)) * METRES_PER_MM
    return ops.sqrt(ops.sum(ops.square(vectors), axis=-1) + 1e-12)  # plus a square micrometre, for the gradient at 0


# --- the whole loss --------------------------------------------------------------------------------------------


def pose_loss_terms(batch: dict, outputs: dict, skeleton: Skeleton, config: LossConfig) -> dict:
    """The terms of Eq. 9 that `outputs` allow, each a (sum, weight) pair of scalars.

    `joint2d` needs the output `heatmaps`, `encoder` and `bone_symmetry` need `pose_3d`, `decoder` `reprojected_2d` and
    a gamma that is not 0: otherwise nobody computes the decoder.
    The two regularisers need no label and count every example, a decoder trained on ground truth valid joints only.
    Gradients of Eq. 7 reach both sides, as printed. A lifter has no predicted keypoints: its input is the target.

    Args:
        batch, outputs: as in docs/architecture.md.
    """
    weights, terms = _term_weights(batch, skeleton, config), {}
    if "heatmaps" in outputs:
        heatmaps = outputs["heatmaps"]
        target = target_heatmaps(
            batch["keypoints_2d"],
            batch["keypoint_valid"],
            heatmaps.shape[1:3],
            config.heatmap_kernel_size,
            config.heatmap_sigma,
        )
        terms["joint2d"] = weighted_term(joint2d_loss(target, heatmaps), weights["joint2d"])
    if "pose_3d" in outputs:
        terms["encoder"] = weighted_term(encoder_loss(batch["pose_3d"], outputs["pose_3d"]), weights["encoder"])
        if skeleton.symmetric_bones:
            symmetry = bone_symmetry_loss(outputs["pose_3d"], skeleton)
            terms["bone_symmetry"] = weighted_term(symmetry, weights["bone_symmetry"])
    if "reprojected_2d" in outputs and config.gamma:
        labels = batch["keypoints_2d"]
        target = outputs.get("keypoints_2d", labels) if config.decoder_target == "predicted" else labels
        terms["decoder"] = weighted_term(decoder_loss(target, outputs["reprojected_2d"]), weights["decoder"])
    return terms


def pose_loss_weights(batch: dict, skeleton: Skeleton, config: LossConfig) -> dict:
    """The weight of every term of `pose_loss_terms`, a scalar each; labels alone decide it."""
    return {name: ops.sum(weights) for name, weights in _term_weights(batch, skeleton, config).items()}


def _term_weights(batch: dict, skeleton: Skeleton, config: LossConfig) -> dict:
    """What each element of a term's loss weighs: (B, J), or (B, pairs) for `bone_symmetry`."""
    valid = ops.cast(batch["keypoint_valid"], "float32")  # (B, J)
    has_pose_3d = ops.cast(batch["has_pose_3d"], "float32")[:, None]  # (B, 1)
    return {
        "joint2d": valid,
        "encoder": has_pose_3d * ops.ones_like(valid),
        "bone_symmetry": ops.ones_like(has_pose_3d) * np.ones(len(skeleton.symmetric_bones), "float32"),
        "decoder": ops.ones_like(valid) if config.decoder_target == "predicted" else valid,
    }


def weighted_term(losses, weights):
    """A term: the (sum of weighted losses, sum of weights), two scalars."""
    return ops.sum(losses * weights), ops.sum(weights)


def combine_terms(terms: dict, config: LossConfig, alpha=None, weights: dict | None = None) -> dict:
    """Eq. 9: each term's mean, and their weighted sum as `loss`.

    Args:
        terms: from `pose_loss_terms`.
        alpha: takes the place of `config.alpha`, for its decay; a number or a scalar tensor.
        weights: name to weight of the GLOBAL batch, for a replica that holds a part of it. The replicas' losses,
            and their gradients, then ADD UP to those of one device.

    Returns:
        Scalars: one a term, by its name, and `loss`. A term without any weight is 0.
    """
    factors = {
        "joint2d": config.alpha if alpha is None else alpha,
        "encoder": config.beta,
        "decoder": config.gamma,
        "bone_symmetry": config.delta,
    }
    means = {
        name: total / ops.maximum(weight if weights is None else weights[name], 1.0)
        for name, (total, weight) in terms.items()
    }
    return {**means, "loss": sum(factors[name] * mean for name, mean in means.items())}


def pose_losses(batch: dict, outputs: dict, skeleton: Skeleton, config: LossConfig, alpha=None) -> dict:
    """`pose_loss_terms` and `combine_terms` on one device: scalars `loss`, `joint2d`, `encoder`, ..."""
    return combine_terms(pose_loss_terms(batch, outputs, skeleton, config), config, alpha)


# --- Keras losses ----------------------------------------------------------------------------------------------


class _PoseLoss(keras.losses.Loss):
    """A mean over what weighs something: sample weights are masks, as in the pure functions."""

    def __init__(self, name: str, reduction="mean_with_sample_weight", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def get_config(self):
        return {**super().get_config(), "dtype": self.dtype}


@keras.saving.register_keras_serializable(package="keras_pose")
class Joint2DLoss(_PoseLoss):
    """Eq. 1: `y_true` (B, J, 2) keypoints in [0, 1], `y_pred` (B, H, W, J) heatmaps, weights (B, J) validity."""

    def __init__(self, kernel_size: int | None = 3, sigma: float = 1.0, name="joint2d", **kwargs):
        super().__init__(name, **kwargs)
        _check_kernel(kernel_size, sigma)
        self.kernel_size = kernel_size
        self.sigma = sigma

    def call(self, y_true, y_pred):
        valid = ops.ones_like(y_true[..., 0])
        target = target_heatmaps(y_true, valid, y_pred.shape[1:3], self.kernel_size, self.sigma)
        return joint2d_loss(target, y_pred)

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.kernel_size, "sigma": self.sigma}


@keras.saving.register_keras_serializable(package="keras_pose")
class EncoderLoss(_PoseLoss):
    """Eq. 6: (B, J, 3) mm against (B, J, 3) mm, in square metres; weights (B,) `has_pose_3d`."""

    def __init__(self, name="encoder", **kwargs):
        super().__init__(name, **kwargs)

    def call(self, y_true, y_pred):
        return ops.mean(encoder_loss(y_true, y_pred), axis=-1)


@keras.saving.register_keras_serializable(package="keras_pose")
class DecoderLoss(_PoseLoss):
    """Eq. 7: (B, J, 2) keypoints, predicted or labelled, against the re-projected ones; weights (B, J) validity."""

    def __init__(self, name="decoder", **kwargs):
        super().__init__(name, **kwargs)

    def call(self, y_true, y_pred):
        return decoder_loss(y_true, y_pred)


@keras.saving.register_keras_serializable(package="keras_pose")
class BoneSymmetryLoss(_PoseLoss):
    """Eq. 8 on `y_pred` (B, J, 3) mm, in square metres; `y_true` is not looked at; weights (B,).

    Args:
        skeleton: a `Skeleton`, or its `to_dict()`.
    """

    def __init__(self, skeleton: Skeleton | dict, name="bone_symmetry", **kwargs):
        super().__init__(name, **kwargs)
        self.skeleton = Skeleton.from_dict(skeleton) if isinstance(skeleton, dict) else skeleton

    def call(self, y_true, y_pred):
        return ops.mean(bone_symmetry_loss(y_pred, self.skeleton), axis=-1)

    def get_config(self):
        return {**super().get_config(), "skeleton": self.skeleton.to_dict()}
