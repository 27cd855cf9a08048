"""Summarizes a data set in numbers and finds what looks wrong. The command is `data.inspect`."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton
from keras_pose.data.example import PoseExample

# Fewer cases allow no conclusion about left and right, or up and down.
FEWEST_CASES = 20
# If at most this share of heads is above the ankles, or of bent knees in front, most labels must be wrong.
FEWEST_RIGHT = 0.3
# Smallest plausible share of upright people who face the camera; it is 67 % in Leeds Sports Pose Extended.
FEWEST_FACING = 0.33
# Range of the median distance from the root to the farthest joint (mm); a standing adult has about 900.
TYPICAL_RADIUS_MM = (450.0, 1500.0)
MOST_OUTSIDE = 0.2  # largest plausible share of labeled joints outside their crop
# Largest plausible median distance of projected 3D poses from 2D labels, in crop heights. With teachers' labels it is
# 0.015 in street photos and 0.03 in photos of acrobatics.
MOST_REPROJECTION = 0.04
# A leg counts as bent if the knee is this far off the line from hip to ankle, in leg lengths.
BENT = 0.08


@dataclass(frozen=True)
class Sample:
    """The labels of N examples of a split, M of them with 3D.

    `keypoints_2d` (N, J, 2) in [0, 1] of the crop, `valid` and `hidden` (N, J); `pose_3d_mm` (M, J, 3), NaN for joints
    without a 3D label, and `root_mm` (M, 3); `reprojection` (M,), the median distance of the projected 3D pose from the
    2D labels, in crop heights, 0 if no joint has both; `names`, of the N examples; `broken`, messages about invalid
    examples.
    """

    skeleton: Skeleton
    keypoints_2d: np.ndarray
    valid: np.ndarray
    hidden: np.ndarray
    pose_3d_mm: np.ndarray
    root_mm: np.ndarray
    reprojection: np.ndarray
    names: tuple[str, ...]
    subjects: tuple[str, ...]
    actions: tuple[str, ...]
    broken: tuple[str, ...]


def collect(examples: Iterable[PoseExample], skeleton: Skeleton) -> Sample:
    """Collects the labels of examples; an invalid one only adds a message."""
    good, broken = [], []
    for example in examples:
        try:
            good.append(example.validate())
            if example.image_jpeg:
                example.decode_image()
        except UserError as error:
            broken.append(str(error))
    joints = skeleton.num_joints
    lifted = [e for e in good if e.has_pose_3d]
    return Sample(
        skeleton,
        np.array([geometry.normalize_keypoints(e.keypoints_2d_px, e.image_size) for e in good]).reshape(-1, joints, 2),
        np.array([e.keypoint_valid for e in good], bool).reshape(-1, joints),
        np.array([e.keypoint_hidden for e in good], bool).reshape(-1, joints),
        np.array([_labelled_pose(e) for e in lifted], np.float64).reshape(-1, joints, 3),
        np.array([e.root_position_mm for e in lifted], np.float64).reshape(-1, 3),
        np.array([_reprojection(e) for e in lifted if _labelled_twice(e).any()], np.float64),
        tuple(e.where() for e in good),
        tuple(dict.fromkeys(e.subject for e in good if e.subject)),
        tuple(dict.fromkeys(e.action for e in good if e.action)),
        tuple(broken),
    )


def _labelled_pose(example: PoseExample) -> np.ndarray:
    return np.where(example.pose_3d_valid[:, None], example.pose_3d_mm, np.nan)


def _labelled_twice(example: PoseExample) -> np.ndarray:
    """(J,) bool, whether a joint has a 2D and a 3D label."""
    return example.keypoint_valid & example.pose_3d_valid


def _reprojection(example: PoseExample) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        projected = geometry.project_points(
            example.pose_3d_mm.astype(np.float64) + example.root_position_mm, example.intrinsics
        )
    distances = np.linalg.norm(projected - example.keypoints_2d_px, axis=-1)[_labelled_twice(example)]
    return float(np.median(np.nan_to_num(distances, nan=np.inf))) / example.image_size[0]


# --- numbers ---------------------------------------------------------------------------------------------------


def summarize(sample: Sample) -> dict:
    """Shares, ranges (1st to 99th percentile) and medians, ready for JSON; the keys contain the units."""
    labelled = sample.keypoints_2d[sample.valid]
    summary = {
        "examples": len(sample.valid),
        "subjects": len(sample.subjects),
        "actions": len(sample.actions),
        "labelled_share": _rounded(sample.valid.mean()) if sample.valid.size else 0.0,
    }
    if len(labelled):
        summary["outside_share"] = _rounded(1 - _inside(labelled).mean())
        summary["hidden_share"] = _rounded(sample.hidden[sample.valid].mean())
        summary["x_range"] = _range(labelled[:, 0], 3)
        summary["y_range"] = _range(labelled[:, 1], 3)
    summary["pose_3d_share"] = _rounded(len(sample.pose_3d_mm) / max(len(sample.valid), 1))
    if len(sample.pose_3d_mm):
        summary["pose_3d_joint_share"] = _rounded(np.isfinite(sample.pose_3d_mm[..., 0]).mean())
        summary["radius_range_mm"] = _range(_radii(sample), 0)
        summary["distance_range_mm"] = _range(np.linalg.norm(sample.root_mm, axis=-1), 0)
        summary["reprojection_median_crop_heights"] = _rounded(np.median(sample.reprojection))
        summary["bone_median_mm"] = {
            f"{sample.skeleton.joint_names[a]}-{sample.skeleton.joint_names[b]}": _rounded(np.nanmedian(length), 0)
            for (a, b), length in zip(sample.skeleton.bones, _bone_lengths(sample).T, strict=True)
            if np.isfinite(length).any()
        }
    return summary


def _rounded(value: float, digits: int = 4) -> float:
    return round(float(value), digits)


def _range(values: np.ndarray, digits: int) -> list[float]:
    return [_rounded(v, digits) for v in np.percentile(values, (1, 99))]


def _inside(keypoints_2d: np.ndarray) -> np.ndarray:
    return ((keypoints_2d >= 0) & (keypoints_2d <= 1)).all(-1)


def _radii(sample: Sample) -> np.ndarray:
    return np.nanmax(np.linalg.norm(sample.pose_3d_mm, axis=-1), axis=-1)  # the root always has a label


def _bone_lengths(sample: Sample) -> np.ndarray:
    """(M, bones) mm, NaN if an end has no label."""
    parents, children = np.array(sample.skeleton.bones).T
    return np.linalg.norm(sample.pose_3d_mm[:, children] - sample.pose_3d_mm[:, parents], axis=-1)


# --- what looks wrong ------------------------------------------------------------------------------------------


def find_problems(sample: Sample) -> list[str]:
    """One line per problem, from each of `CHECKS` that found one."""
    return [problem for check in CHECKS for problem in [check(sample)] if problem]


def check_broken(sample: Sample) -> str | None:
    """NaN, wrong shapes, images that do not decode."""
    return f"{len(sample.broken)} examples are broken: {sample.broken[0]}" if sample.broken else None


def check_unlabelled(sample: Sample) -> str | None:
    """Joints that no example labels, because the source's skeleton does not have them."""
    if not sample.valid.size:
        return None
    names = sample.skeleton.joint_names
    missing = [name for name, labelled in zip(names, sample.valid.any(0), strict=True) if not labelled]
    return f"never labeled: {', '.join(missing)}; the source does not have them" if missing else None


def check_outside(sample: Sample) -> str | None:
    """Joints outside the crop: a wrong box, or labels of another image size."""
    outside = ~_inside(sample.keypoints_2d) & sample.valid
    share = outside.sum() / max(sample.valid.sum(), 1)
    if share <= MOST_OUTSIDE:
        return None
    worst = sample.names[int(outside.sum(1).argmax())]
    return f"{share:.0%} of the labeled joints lie outside their crop, most in {worst}; check boxes and image sizes"


def check_millimetres(sample: Sample) -> str | None:
    """Poses that are not in millimeters."""
    if not len(sample.pose_3d_mm):
        return None
    radius = np.median(_radii(sample))
    if TYPICAL_RADIUS_MM[0] <= radius <= TYPICAL_RADIUS_MM[1]:
        return None
    return f"the farthest joint is at a median of {radius:.0f} mm from the root, a person's is at 900; check the unit"


def check_reprojection(sample: Sample) -> str | None:
    """2D labels that differ from the projected 3D pose: wrong joint order, cameras or frames."""
    if not len(sample.reprojection):
        return None
    median = np.median(sample.reprojection)
    if median <= MOST_REPROJECTION:
        return None
    return f"3D poses project {median:.1%} of the crop from their 2D labels; check camera, joint order and frames"


def check_upside_down(sample: Sample) -> str | None:
    """Heads below ankles in most images: y increases upward."""
    head, ankles = _joint(sample, "head_top", "nose"), _joint(sample, "left_ankle", "right_ankle")
    if head is None or ankles is None:
        return None
    both = ~np.isnan(head[:, 1] - ankles[:, 1])
    if both.sum() < FEWEST_CASES or (head[both, 1] < ankles[both, 1]).mean() > FEWEST_RIGHT:
        return None
    return "heads are below ankles in most images; y may increase upward"


def check_facing(sample: Sample) -> str | None:
    """Left is on the image's left in most upright people: swapped names, or mirrored images."""
    left, right = _joint(sample, "left_shoulder"), _joint(sample, "right_shoulder")
    hips = _joint(sample, "left_hip", "right_hip")
    if left is None or right is None or hips is None:
        return None
    upright = (left[:, 1] < hips[:, 1]) & (right[:, 1] < hips[:, 1])  # False if one is not labeled
    if upright.sum() < FEWEST_CASES:
        return None
    facing = (left[upright, 0] > right[upright, 0]).mean()
    if facing >= FEWEST_FACING:
        return None
    return f"only {facing:.0%} of upright people face the camera by their shoulders; left and right may be swapped"


def check_knees(sample: Sample) -> str | None:
    """Knees that bend backward: left and right swapped in 3D, or a mirrored axis."""
    bends = [b for side in ("left", "right") for b in _knee_bends(sample, side)]
    if len(bends) < FEWEST_CASES or np.mean(np.array(bends) > 0) > FEWEST_RIGHT:
        return None
    return "knees bend backward in 3D; left and right may be swapped, or an axis of the camera frame mirrored"


def _knee_bends(sample: Sample, side: str) -> np.ndarray:
    """One number per bent, fully labeled leg: positive if the knee is in front of the line from hip to ankle."""
    names = sample.skeleton.joint_names
    neck = next((n for n in ("thorax", "neck", "upper_neck") if n in names), None)
    needed = [f"{side}_hip", f"{side}_knee", f"{side}_ankle", "left_hip", "right_hip", neck]
    if not len(sample.pose_3d_mm) or any(name not in names for name in needed):
        return np.empty(0)
    joints = sample.pose_3d_mm[:, [names.index(name) for name in needed]]  # (M, 6, 3)
    hip, knee, ankle, left, right, top = joints[np.isfinite(joints).all((1, 2))].transpose(1, 0, 2)
    leg = ankle - hip
    length = np.linalg.norm(leg, axis=-1, keepdims=True) + 1e-9
    along = ((knee - hip) * leg).sum(-1, keepdims=True) / length**2
    off = knee - hip - along * leg
    forward = np.cross(left - right, top - (left + right) / 2)
    bent = np.linalg.norm(off, axis=-1) > BENT * length[:, 0]
    return (off * forward).sum(-1)[bent]


def _joint(sample: Sample, *names: str) -> np.ndarray | None:
    """(N, 2) mean of the named joints that the skeleton has, NaN if one is not labeled; None if it has none of them."""
    indices = [sample.skeleton.index(name) for name in names if name in sample.skeleton.joint_names]
    if not indices:
        return None
    points = np.where(sample.valid[..., None], sample.keypoints_2d, np.nan)
    return points[:, indices].mean(1)


CHECKS = (
    check_broken,
    check_unlabelled,
    check_outside,
    check_millimetres,
    check_reprojection,
    check_upside_down,
    check_facing,
    check_knees,
)
