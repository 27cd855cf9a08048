"""Scores of a batch: one row per example, NaN for missing labels or outputs, ready for any kind of average."""

import numpy as np
from keras import ops

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton
from keras_pose.evaluation import metrics

# Metrics of the report, and the scores that each averages.
SUMMARY = {
    "mpjpe_mm": "error_mm",
    "mpjpe_noisy_mm": "noisy_error_mm",
    "pa_mpjpe_mm": "aligned_error_mm",
    "n_mpjpe_mm": "scaled_error_mm",
    "pck3d_150mm": "pck3d",
    "auc": "auc",
    "pckh_0_5": "pckh",
    "mean_pose_mpjpe_mm": "mean_pose_error_mm",
    "pck_0_2": "pck",
    "pck_0_2_limbs": "limb_pck",
    "pckh_0_5_limbs": "limb_pckh",
    "pck_0_2_either_side": "either_side_pck",
    "left_right_collapse": "collapse",
}
# The joints that all whole-body skeletons define alike, so that models with different skeletons are comparable.
LIMBS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
PER_JOINT = {"mpjpe_mm": "error_mm", "pck3d_150mm": "pck3d", "pck_0_2": "pck", "pckh_0_5": "pckh"}


def mean(values: np.ndarray) -> float | None:
    """The mean of the values that are not NaN; None if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean(dtype=np.float64)) if len(known) else None


def score_batch(
    batch: dict,
    predicted: dict,
    skeleton: Skeleton,
    crop_size: tuple[int, int],
    mean_pose_mm: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """All scores of a batch.

    Args:
        batch: labels as in docs/architecture.md.
        predicted: from `to_skeleton`, in the skeleton of the labels.
        skeleton: of the labels.
        crop_size: (height, width) of the crops, in pixels.
        mean_pose_mm: (J, 3), the constant prediction for the mean-pose error; None if it is unknown.

    Returns:
        (B, J): `error_px`, `pck`, `either_side_pck`, `pckh`, `error_mm`, `noisy_error_mm`, `mean_pose_error_mm`,
        `pck3d`, `auc`;
        (B, L), of the joints of `LIMBS`: `limb_pck`, `limb_pckh`; (B, pairs): `collapse`;
        (B,): `upright`, `aligned_error_mm`, `scaled_error_mm`.
    """
    scores = _scores_2d(batch, predicted, skeleton, crop_size)
    limbs = [j for j, name in enumerate(skeleton.joint_names) if name.partition("_")[2] in LIMBS]
    scores |= {f"limb_{name}": scores[name][:, limbs] for name in ("pck", "pckh")}
    scores["upright"] = _upright(batch, skeleton, crop_size)
    return scores | _scores_3d(batch, predicted, mean_pose_mm)


def _scores_2d(batch: dict, predicted: dict, skeleton: Skeleton, crop_size: tuple[int, int]) -> dict:
    valid = batch["keypoint_valid"]
    pairs = np.array(skeleton.left_right_pairs, int).reshape(-1, 2)
    unscored = np.full(valid.shape, np.nan, np.float32)  # (B, J)
    scores = {name: unscored for name in ("error_px", "pck", "either_side_pck", "pckh")}
    scores["collapse"] = np.full((len(valid), len(pairs)), np.nan, np.float32)
    if "keypoints_2d" not in predicted:
        return scores
    target_px = geometry.denormalize_keypoints(batch["keypoints_2d"], crop_size)
    predicted_px = geometry.denormalize_keypoints(predicted["keypoints_2d"], crop_size)
    known = np.isfinite(predicted_px).all(-1)  # (B, J)
    scores["error_px"] = np.where(valid > 0, _numpy(metrics.joint_errors(target_px, predicted_px)), np.nan)
    ways = {"pck": (metrics.pck, known), "pckh": (metrics.pckh, known)}
    if len(pairs):
        ways["either_side_pck"] = metrics.pck_either_side, known
        ways["collapse"] = metrics.left_right_collapse, known[:, pairs].all(-1)
    for name, (metric, counts) in ways.items():
        try:
            values, weights = metric(target_px, predicted_px, valid, skeleton)
        except UserError:
            continue  # the skeleton has no torso or head to scale by
        scores[name] = np.where(counts & (_numpy(weights) > 0), _numpy(values), np.nan)
    return scores


def _upright(batch: dict, skeleton: Skeleton, crop_size: tuple[int, int]) -> np.ndarray:
    """(B,) 1 for upright people, 0 for others, NaN if the hips or the neck have no label."""
    target_px = geometry.denormalize_keypoints(batch["keypoints_2d"], crop_size)
    try:
        values, weights = metrics.upright(target_px, batch["keypoint_valid"], skeleton)
    except UserError:
        return np.full(len(target_px), np.nan, np.float32)  # the skeleton has no neck or no hips
    return np.where(_numpy(weights) > 0, _numpy(values), np.nan)


def _scores_3d(batch: dict, predicted: dict, mean_pose_mm: np.ndarray | None) -> dict:
    valid = batch["pose_3d_valid"] > 0  # (B, J)
    rows = valid.any(-1)
    valid, target = valid[rows], batch["pose_3d"][rows]  # (R, J) and (R, J, 3), R rows have a 3D label
    pose = predicted["pose_3d"][rows] if "pose_3d" in predicted else np.full_like(target, np.nan)
    noisy = predicted["pose_3d_noisy"][rows] if "pose_3d_noisy" in predicted else np.full_like(target, np.nan)
    known = valid & np.isfinite(pose).all(-1)  # (R, J), labeled and predicted
    shared = np.where(known[..., None], pose, 0)
    mean_pose = np.full_like(target, np.nan) if mean_pose_mm is None else mean_pose_mm
    has_output, is_aligned = known.any(-1), _numpy(metrics.pa_weights(known)) > 0
    found = {
        "error_mm": np.where(known, _numpy(metrics.joint_errors(target, shared)), np.nan),
        "noisy_error_mm": np.where(valid, _numpy(metrics.joint_errors(target, noisy)), np.nan),
        "pck3d": np.where(known, _numpy(metrics.pck3d(target, shared)), np.nan),
        "auc": np.where(known, _numpy(metrics.auc(target, shared)), np.nan),
        "mean_pose_error_mm": np.where(valid, _numpy(metrics.joint_errors(target, mean_pose)), np.nan),
        "aligned_error_mm": np.where(is_aligned, _numpy(metrics.pa_mpjpe(target, shared, known)), np.nan),
        "scaled_error_mm": np.where(has_output, _numpy(metrics.n_mpjpe(target, shared, known)), np.nan),
    }
    scores = {}
    for name, values in found.items():
        scores[name] = np.full((len(rows), *values.shape[1:]), np.nan, np.float32)
        scores[name][rows] = values
    return scores


def _numpy(values) -> np.ndarray:
    return ops.convert_to_numpy(values)
