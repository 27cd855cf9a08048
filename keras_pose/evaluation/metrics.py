"""Metrics of 2D and 3D pose as pure functions, with a value per example or per joint, ready for any kind of average.

3D poses are (B, J, 3) in millimeters, 2D keypoints (B, J, 2) in PIXELS of the crop ([0, 1] of a crop that is not square
would distort distances). `valid` is (B, J), 1 if a joint counts. If a function returns values and weights, average them
with `weighted_mean` over any axes.
"""

import numpy as np
from keras import ops

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton

PCK3D_THRESHOLD_MM = 150.0
# A similarity has 7 degrees of freedom: it maps any two points exactly onto any other two, and three almost exactly.
PA_FEWEST_JOINTS = 4
AUC_THRESHOLDS_MM = tuple(np.arange(0.0, 151.0, 5.0))
# The joint at the base of the neck, in order of preference.
NECK_JOINTS = ("neck", "upper_neck", "thorax")


def weighted_mean(values, weights, axis=None):
    """The mean of `values` weighted by `weights`, which are broadcast; 0 if all weights are 0."""
    weights = ops.broadcast_to(ops.cast(weights, values.dtype), ops.shape(values))
    return ops.sum(values * weights, axis=axis) / ops.maximum(ops.sum(weights, axis=axis), 1e-9)


# --- 3D --------------------------------------------------------------------------------------------------------


def joint_errors(target, predicted):
    """The distances (B, J) of two (B, J, D); mm for poses, pixels for keypoints."""
    return ops.sqrt(ops.sum(ops.square(target - predicted), axis=-1))


def mpjpe(target, predicted, valid=None):
    """Protocol 1: the mean joint error in mm of root-relative poses; the root counts as a joint. (B,)"""
    return weighted_mean(joint_errors(target, predicted), _weights(target, valid)[..., 0], axis=-1)


def pa_mpjpe(target, predicted, valid=None):
    """Protocol 2: MPJPE after the best rotation, translation and scale (Procrustes), mm. (B,)

    It is meaningful only if `pa_weights` is 1.
    """
    return mpjpe(target, align_procrustes(target, predicted, valid), valid)


def pa_weights(valid):
    """(B, J) validity to (B,): 1 for examples with at least `PA_FEWEST_JOINTS` valid joints, the root included."""
    return ops.cast(ops.sum(ops.cast(valid, "float32"), axis=-1) >= PA_FEWEST_JOINTS, "float32")


def n_mpjpe(target, predicted, valid=None):
    """MPJPE after the best scale about the root (Rhodin et al. 2018), mm. (B,)"""
    return mpjpe(target, align_scale(target, predicted, valid), valid)


def align_scale(target, predicted, valid=None):
    """Scales `predicted` to be as close as possible to `target`, by least squares. (B, J, 3)"""
    weights = _weights(target, valid)
    overlap = ops.sum(weights * target * predicted, axis=(1, 2), keepdims=True)
    return predicted * overlap / ops.maximum(ops.sum(weights * ops.square(predicted), axis=(1, 2), keepdims=True), 1e-9)


def align_procrustes(target, predicted, valid=None):
    """Moves `predicted` as close as possible to `target` by a similarity, by least squares. (B, J, 3)

    A reflection is not allowed: the axis of least correlation is flipped instead (Umeyama 1991). Invalid joints do not
    count toward the similarity, which is applied to all.
    """
    weights = _weights(target, valid)  # (B, J, 1)
    total = ops.maximum(ops.sum(weights, axis=1, keepdims=True), 1.0)
    target_mean = ops.sum(target * weights, axis=1, keepdims=True) / total  # (B, 1, 3)
    predicted_mean = ops.sum(predicted * weights, axis=1, keepdims=True) / total
    target, predicted = target - target_mean, predicted - predicted_mean
    covariance = ops.einsum("bji,bjk->bik", predicted * weights, target)  # (B, 3, 3)
    u, singular, vt = ops.svd(covariance)
    sign = ops.sign(ops.det(ops.matmul(u, vt)))
    signs = ops.stack([ops.ones_like(sign), ops.ones_like(sign), sign], axis=-1)  # (B, 3)
    rotation = ops.matmul(u * signs[:, None, :], vt)  # from predicted to target, for row vectors
    spread = ops.sum(weights * ops.square(predicted), axis=(1, 2))
    scale = ops.sum(singular * signs, axis=-1) / ops.maximum(spread, 1e-9)
    return scale[:, None, None] * ops.matmul(predicted, rotation) + target_mean


def pck3d(target, predicted, threshold_mm: float = PCK3D_THRESHOLD_MM):
    """1 if the error of a joint is at most `threshold_mm`: MPI-INF-3DHP's 3D PCK, for root-relative poses. (B, J)"""
    return ops.cast(joint_errors(target, predicted) <= threshold_mm, "float32")


def auc(target, predicted):
    """The mean of 3D PCK over thresholds of 0, 5, ... 150 mm, as in MPI-INF-3DHP's evaluation. (B, J)"""
    errors = joint_errors(target, predicted)[..., None]  # (B, J, 1)
    return ops.mean(ops.cast(errors <= np.array(AUC_THRESHOLDS_MM, "float32"), "float32"), axis=-1)


def _weights(target, valid):
    """(B, J) validity, or None for all, as (B, J, 1)."""
    return ops.ones_like(target[..., :1]) if valid is None else ops.cast(valid, "float32")[..., None]


# --- 2D --------------------------------------------------------------------------------------------------------


def pck(target_px, predicted_px, valid, skeleton: Skeleton, fraction: float = 0.2):
    """PCK by the torso, as for Leeds Sports Pose: a joint is correct if its error is at most `fraction` of the torso.

    The torso is the distance from the left shoulder to the right hip.

    Returns:
        (B, J) 1 if correct, and (B, J) weights: valid joints of people with a labeled torso.

    Raises:
        UserError: the skeleton lacks these joints.
    """
    return _within(target_px, predicted_px, valid, *_torso_px(target_px, valid, skeleton), fraction)


def pckh(target_px, predicted_px, valid, skeleton: Skeleton, fraction: float = 0.5):
    """PCKh, by the head as for MPII: a joint is correct if its error is at most `fraction` of the head's size.

    MPII's head size is 0.6 times the diagonal of an annotated head box. A skeleton has no box, so the size is the
    distance from the top of the head to the base of the neck (`upper_neck` of MPII; `thorax` of Human3.6M, whose
    `neck_nose` is too high; otherwise `neck`). With `thorax` and `neck` it is about a quarter longer than MPII's, so
    only results for one skeleton are comparable.

    Returns:
        (B, J) 1 if correct, and (B, J) weights: valid joints of people with a labeled head.

    Raises:
        UserError: the skeleton lacks these joints.
    """
    neck = _neck(skeleton)
    if neck is None or "head_top" not in skeleton.joint_names:
        raise UserError(f"skeleton {skeleton.name} has no head top and neck, so no PCKh; use PCK by the torso")
    head_px = _distance_px(target_px, valid, skeleton.index("head_top"), neck)
    return _within(target_px, predicted_px, valid, *head_px, fraction)


def pck_either_side(target_px, predicted_px, valid, skeleton: Skeleton, fraction: float = 0.2):
    """`pck` if the two predictions of each left/right pair may be swapped: the result if sides were known.

    Returns:
        (B, J) 1 if correct, in the better order of each pair, and (B, J) weights as for `pck`.

    Raises:
        UserError: as `pck`.
    """
    other_side = np.arange(skeleton.num_joints)
    for left, right in skeleton.left_right_pairs:
        other_side[[left, right]] = right, left
    as_is, weights = pck(target_px, predicted_px, valid, skeleton, fraction)
    exchanged, _ = pck(target_px, ops.take(predicted_px, other_side, axis=1), valid, skeleton, fraction)
    counts = [right * weights + ops.take(right * weights, other_side, axis=1) for right in (as_is, exchanged)]
    return ops.where(counts[1] > counts[0], exchanged, as_is), weights


def left_right_collapse(target_px, predicted_px, valid, skeleton: Skeleton, smallest_gap: float = 0.4):
    """Whether both predictions of a left/right pair are closer to the same one of the pair's labels.

    Only pairs whose labels are more than `smallest_gap` torsos apart count.

    Returns:
        (B, pairs) 1 if collapsed, and (B, pairs) weights.

    Raises:
        UserError: as `pck`.
    """
    left, right = np.array(skeleton.left_right_pairs).T
    torso_px, torso_valid = _torso_px(target_px, valid, skeleton)  # (B,)
    labels = [ops.take(target_px, side, axis=1) for side in (left, right)]  # (B, pairs, 2) each
    nearer_left = [
        joint_errors(labels[0], guess) < joint_errors(labels[1], guess)
        for guess in (ops.take(predicted_px, side, axis=1) for side in (left, right))
    ]
    valid = ops.cast(valid, "float32")
    apart = ops.cast(joint_errors(*labels) > smallest_gap * torso_px[:, None], "float32")
    weights = apart * torso_valid[:, None] * ops.take(valid, left, axis=1) * ops.take(valid, right, axis=1)
    return ops.cast(ops.equal(*nearer_left), "float32"), weights


def upright(target_px, valid, skeleton: Skeleton, largest_deg: float = 45.0):
    """Whether a person is upright: the direction from the middle of the hips to the neck is within `largest_deg` of up.

    Returns:
        (B,) 1 if upright, and (B,) weights: people with labeled hips and neck.

    Raises:
        UserError: the skeleton lacks these joints.
    """
    neck, hips = _neck(skeleton), [skeleton.index("left_hip"), skeleton.index("right_hip")]
    if neck is None:
        raise UserError(f"skeleton {skeleton.name} has no neck, which is needed to recognize upright people")
    spine = target_px[:, neck] - (target_px[:, hips[0]] + target_px[:, hips[1]]) / 2  # (B, 2), y down
    valid = ops.cast(valid, "float32")
    angle = ops.arctan2(ops.abs(spine[:, 0]), -spine[:, 1])
    return ops.cast(angle <= np.deg2rad(largest_deg), "float32"), valid[:, neck] * valid[:, hips[0]] * valid[:, hips[1]]


def _neck(skeleton: Skeleton) -> int | None:
    """The index of the joint at the base of the neck; None if the skeleton has none."""
    name = next((name for name in NECK_JOINTS if name in skeleton.joint_names), None)
    return None if name is None else skeleton.index(name)


def _within(target_px, predicted_px, valid, size_px, size_valid, fraction: float):
    """(B, J) 1 if correct, and weights, from a size and its validity (B,) per example."""
    right = joint_errors(target_px, predicted_px) <= fraction * size_px[:, None]
    return ops.cast(right, "float32"), ops.cast(valid, "float32") * size_valid[:, None]


def _torso_px(points_px, valid, skeleton: Skeleton):
    """(B,) distance from the left shoulder to the right hip, and whether both are labeled."""
    return _distance_px(points_px, valid, skeleton.index("left_shoulder"), skeleton.index("right_hip"))


def _distance_px(points_px, valid, first: int, second: int):
    """(B,) distance of two joints, and 1 if both are valid."""
    valid = ops.cast(valid, "float32")
    return joint_errors(points_px[:, first], points_px[:, second]), valid[:, first] * valid[:, second]
