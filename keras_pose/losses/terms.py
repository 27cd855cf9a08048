"""The paper's losses, Eq. 1 and 6 to 9, as pure functions with masks.

Units are chosen to make weights of order 1 sensible: heatmaps are unscaled (a missed joint costs 0.13, the sum of
squares of its target), 3D is in meters (a pose 0.25 m off costs 0.06), 2D in crops (a crop is about two meters).

Each function returns one loss per element, such as a joint of an example. `weighted_term` reduces them to a term: the
pair (sum of weighted losses, sum of weights). `combine_terms` divides by the weights of the global batch, so the loss
of a global batch is the same number on one device and on many.
"""

from dataclasses import dataclass

import numpy as np
from keras import ops

from keras_pose.core.errors import UserError, unknown_name
from keras_pose.core.options import option
from keras_pose.core.skeleton import Skeleton
from keras_pose.losses.targets import check_kernel, target_heatmaps

METRES_PER_MM = 0.001
DECODER_TARGETS = ("predicted", "ground_truth")
TERMS = ("joint2d", "left_right", "encoder", "decoder", "bone_symmetry", "adversarial")  # of the total loss, by name


@dataclass(frozen=True)
class LossConfig:
    """The settings of Eq. 9: L = alpha L_joint2D + beta L_encoder + gamma L_decoder + delta L_boneSym3D.

    Attributes:
        heatmap_kernel_size: see `target_heatmaps`; None means a whole Gaussian, for which the flag has 0.

    Raises:
        UserError: unknown decoder target, invalid kernel or sigma, or a weight that is negative or not finite.
    """

    alpha: float = option(1.0, "Weight of the heatmap loss (L_joint2D).")
    beta: float = option(1.0, "Weight of the 3D joint loss (L_encoder).")
    gamma: float = option(1.0, "Weight of the re-projected 2D loss (L_decoder).")
    delta: float = option(1.0, "Weight of the left/right bone length loss (L_boneSym3D).")
    left_right_weight: float = option(
        0.0,
        "Extra weight for confusing left and right, relative to the heatmap loss; 0 as in the paper.",
    )
    adversarial_weight: float = option(
        0.0,
        "Weight of the adversarial loss, from a small discriminator of 3D poses, in phases lifter and e2e; not used in "
        "phase hrnet. 0, as in the paper, trains no discriminator.",
    )
    alpha_decay: float = option(1.0, "Factor on alpha after each epoch; each phase starts with the full alpha.")
    decoder_target: str = option(
        "ground_truth",
        "2D target of the decoder: the model's own prediction, as printed in the paper, or the label.",
        choices=DECODER_TARGETS,
    )
    heatmap_kernel_size: int | None = option(
        3, "Size in cells of the target's Gaussian kernel; 0: a whole Gaussian with peak 1, as in HRNet."
    )
    heatmap_sigma: float = option(1.0, "Sigma of that Gaussian in cells.")

    def __post_init__(self):
        if self.decoder_target not in DECODER_TARGETS:
            raise unknown_name("decoder target", self.decoder_target, DECODER_TARGETS)
        check_kernel(self.heatmap_kernel_size, self.heatmap_sigma)
        for name in ("alpha", "beta", "gamma", "delta", "left_right_weight", "adversarial_weight", "alpha_decay"):
            if not 0 <= getattr(self, name) < np.inf:
                raise UserError(f"{name} is {getattr(self, name)}; give a positive number, or 0 for off")

    def alpha_at(self, epoch: int) -> float:
        """Alpha in `epoch`, counted from 0 in each phase."""
        return self.alpha * self.alpha_decay**epoch


# --- pure functions --------------------------------------------------------------------------------------------


def joint2d_loss(target, predicted):
    """Eq. 1: (B, H, W, J) heatmaps to (B, J), the SUM of squared differences over the cells."""
    return ops.sum(ops.square(ops.cast(target, "float32") - ops.cast(predicted, "float32")), axis=(1, 2))


def left_right_loss(target, predicted, skeleton: Skeleton):
    """(B, H, W, J) heatmaps to (B, pairs): Eq. 1 for the DIFFERENCE between a left and a right joint's heatmaps.

    Not in the paper. A network that is unsure of left and right shows both joints in both maps, and Eq. 1 rewards it
    for being half right. The difference of the maps is then zero, which this loss penalizes, whatever their sum is.
    """
    error = ops.cast(target, "float32") - ops.cast(predicted, "float32")
    left, right = np.array(skeleton.left_right_pairs).T
    return ops.sum(ops.square(ops.take(error, left, axis=-1) - ops.take(error, right, axis=-1)), axis=(1, 2))


def encoder_loss(target_mm, predicted_mm):
    """Eq. 6: (B, J, 3) mm to (B, J), the squared distance in square meters."""
    return ops.sum(ops.square((target_mm - predicted_mm) * METRES_PER_MM), axis=-1)


def decoder_loss(target, reprojected):
    """Eq. 7: (B, J, 2) in [0, 1] to (B, J), the squared distance in square crops."""
    return ops.sum(ops.square(target - reprojected), axis=-1)


def bone_symmetry_loss(predicted_mm, skeleton: Skeleton):
    """Eq. 8: (B, J, 3) mm to (B, pairs), the squared difference between left and right bone lengths, square meters.

    The gradient is finite even for bones of length zero.
    """
    pairs = np.array(skeleton.symmetric_bones)  # (pairs, 2 sides, parent and child)
    lengths = [_bone_lengths_m(predicted_mm, pairs[:, side]) for side in (0, 1)]
    return ops.square(lengths[0] - lengths[1])


def adversarial_loss(pose_score):
    """The discriminator's scores (B,) of predicted poses to (B, 1), the squared distance from 1.

    1 is the score of a labeled pose: least squares, as in Mao et al. 2017. Not in the paper, which mentions it as
    future work.
    """
    return ops.square(ops.cast(pose_score, "float32") - 1.0)[:, None]


def _bone_lengths_m(pose_mm, bones: np.ndarray):
    """(B, J, 3) mm and (N, 2) joint indices to (B, N) meters."""
    vectors = (ops.take(pose_mm, bones[:, 1], axis=1) - ops.take(pose_mm, bones[:, 0], axis=1)) * METRES_PER_MM
    return ops.sqrt(ops.sum(ops.square(vectors), axis=-1) + 1e-12)  # a square micrometer keeps the gradient finite at 0


# --- the whole loss --------------------------------------------------------------------------------------------


def pose_loss_terms(batch: dict, outputs: dict, skeleton: Skeleton, config: LossConfig) -> dict:
    """The terms of Eq. 9 that `outputs` allow, each as scalars (sum, weight).

    - `joint2d` needs the output `heatmaps`. It counts joints with a 2D label.
    - `left_right` needs `heatmaps` and a weight other than 0. It counts pairs of joints with 2D labels.
    - `encoder` needs `pose_3d`. It counts joints with a 3D label.
    - `bone_symmetry` needs `pose_3d` and a skeleton with symmetric bones. It counts every example.
    - `decoder` needs `reprojected_2d` and a gamma other than 0; otherwise the decoder need not be computed. If the
      target is the label, it counts joints with a 2D label. If it is the prediction, it counts every joint, and
      gradients reach both sides of Eq. 7, as printed.
    - `adversarial` needs `pose_score` (B,), the discriminator's score of `pose_3d`, and a weight other than 0. It
      counts every example.

    A lifter predicts no keypoints, so its input, `seen_keypoints_2d`, stands for the prediction. Its batch marks the
    labeled joints of the input in `seen_valid` (B, J): `decoder` counts only these, and `encoder` omits examples
    whose input has no labels.

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
        if "left_right" in weights:
            terms["left_right"] = weighted_term(left_right_loss(target, heatmaps, skeleton), weights["left_right"])
    if "pose_3d" in outputs:
        terms["encoder"] = weighted_term(encoder_loss(batch["pose_3d"], outputs["pose_3d"]), weights["encoder"])
        if skeleton.symmetric_bones:
            symmetry = bone_symmetry_loss(outputs["pose_3d"], skeleton)
            terms["bone_symmetry"] = weighted_term(symmetry, weights["bone_symmetry"])
    if "reprojected_2d" in outputs and config.gamma:
        labels = batch["keypoints_2d"]
        predicted = outputs.get("keypoints_2d", outputs.get("seen_keypoints_2d", labels))
        target = predicted if config.decoder_target == "predicted" else labels
        terms["decoder"] = weighted_term(decoder_loss(target, outputs["reprojected_2d"]), weights["decoder"])
    if "pose_score" in outputs and "adversarial" in weights:
        terms["adversarial"] = weighted_term(adversarial_loss(outputs["pose_score"]), weights["adversarial"])
    return terms


def pose_loss_weights(batch: dict, skeleton: Skeleton, config: LossConfig) -> dict:
    """The weight of every term of `pose_loss_terms`, as scalars; depends only on the labels."""
    return {name: ops.sum(weights) for name, weights in _term_weights(batch, skeleton, config).items()}


def _term_weights(batch: dict, skeleton: Skeleton, config: LossConfig) -> dict:
    """The weights of a term's elements: (B, J), (B, pairs) for `bone_symmetry` and `left_right`, or (B, 1)."""
    valid = ops.cast(batch["keypoint_valid"], "float32")  # (B, J)
    seen_valid = ops.cast(batch["seen_valid"], "float32") if "seen_valid" in batch else ops.ones_like(valid)
    every_example = ops.ones_like(valid[:, :1])  # (B, 1)
    weights = {
        "joint2d": valid,
        "encoder": ops.cast(batch["pose_3d_valid"], "float32") * ops.max(seen_valid, axis=1, keepdims=True),
        "bone_symmetry": every_example * np.ones(len(skeleton.symmetric_bones), "float32"),
        "decoder": seen_valid if config.decoder_target == "predicted" else valid,
    }
    if config.left_right_weight and skeleton.left_right_pairs:
        left, right = np.array(skeleton.left_right_pairs).T
        weights["left_right"] = ops.take(valid, left, axis=1) * ops.take(valid, right, axis=1)
    if config.adversarial_weight:
        weights["adversarial"] = every_example
    return weights


def weighted_term(losses, weights):
    """A term: the (sum of weighted losses, sum of weights), two scalars."""
    return ops.sum(losses * weights), ops.sum(weights)


def combine_terms(terms: dict, config: LossConfig, alpha=None, weights: dict | None = None) -> dict:
    """Eq. 9: the mean of each term, and their weighted sum as `loss`.

    Args:
        terms: from `pose_loss_terms`.
        alpha: replaces `config.alpha` where it decays; a number or a scalar tensor.
        weights: from `pose_loss_weights` of the GLOBAL batch, for a replica with a part of it. The losses and gradients
            of the replicas then ADD UP to those of one device.

    Returns:
        Scalars: the mean of each term by name, and `loss`. A term with a weight of 0 is 0.
    """
    alpha = config.alpha if alpha is None else alpha
    factors = {
        "joint2d": alpha,
        "left_right": alpha * config.left_right_weight,
        "encoder": config.beta,
        "decoder": config.gamma,
        "bone_symmetry": config.delta,
        "adversarial": config.adversarial_weight,
    }
    means = {
        name: total / ops.maximum(weight if weights is None else weights[name], 1.0)
        for name, (total, weight) in terms.items()
    }
    return {**means, "loss": sum(factors[name] * mean for name, mean in means.items())}


def pose_losses(batch: dict, outputs: dict, skeleton: Skeleton, config: LossConfig, alpha=None) -> dict:
    """`pose_loss_terms` and `combine_terms` on one device: scalars `loss`, `joint2d`, `encoder`, ..."""
    return combine_terms(pose_loss_terms(batch, outputs, skeleton, config), config, alpha)
