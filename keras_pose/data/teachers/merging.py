"""Completes human labels with those of the teachers."""

import numpy as np

from keras_pose.core.skeleton import Skeleton

SAME_JOINT = 0.3  # share of the torso; a human's and a teacher's label closer than this mean the same place
SAME_PERSON = 0.6  # share of the limb joints labeled by both that must mean the same place, left or right
FEWEST_SHARED = 3  # limb joints that both must have labeled


def merge_labels(
    human_px: np.ndarray,
    human_valid: np.ndarray,
    teacher_px: np.ndarray,
    teacher_valid: np.ndarray,
    skeleton: Skeleton,
    torso_px: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Completes (J, 2) human labels with the teachers', both of `skeleton`; None if they show different people.

    A joint with one label keeps it. A joint with both gets their mean if they mean the same place, and otherwise the
    teachers' label: it has passed their own check (`Labeller`), and swapped limbs are the most common error of human
    labels. `torso_px` is the unit of `SAME_JOINT`.

    Returns:
        (J, 2) joints, (J,) bool, which are valid, and (J,) bool, where the teachers overruled the human label.
    """
    apart = np.linalg.norm(human_px - teacher_px, axis=-1) / torso_px  # (J,)
    mirrored = np.linalg.norm(human_px - teacher_px[list(skeleton.flip_permutation)], axis=-1) / torso_px
    both = human_valid & teacher_valid
    limbs = both & np.array([name.startswith(("left_", "right_")) for name in skeleton.joint_names])
    if limbs.sum() < FEWEST_SHARED or (np.minimum(apart, mirrored)[limbs] < SAME_JOINT).mean() < SAME_PERSON:
        return None
    near, overruled = both & (apart < SAME_JOINT), both & (apart >= SAME_JOINT)
    merged = np.where(human_valid[:, None], human_px, teacher_px)
    merged[near] = (human_px[near] + teacher_px[near]) / 2
    merged[overruled] = teacher_px[overruled]
    return merged, human_valid | teacher_valid, overruled
