"""Labels that people gave, completed by teachers."""

import numpy as np

from keras_pose.core.skeleton import Skeleton

SAME_JOINT = 0.3  # of the torso: a human label and a teacher's closer than this mean the same place
SAME_PERSON = 0.6  # share of a person's labelled limbs that must be near a teacher's, on either side
FEWEST_SHARED = 3


def merge_labels(
    human_px: np.ndarray,
    human_valid: np.ndarray,
    teacher_px: np.ndarray,
    teacher_valid: np.ndarray,
    skeleton: Skeleton,
    torso_px: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Completes (J, 2) human labels by a teacher's, both of `skeleton`; None where they show different people.

    A joint that only one labelled is taken as it is. Where both did and mean the same place, their mean is taken, else
    the teacher's: only joints on which two teachers agree come here as valid, and exchanged limbs are the most common
    error of human labels.

    Returns:
        (J, 2) joints, (J,) validity, and (J,) whether the human label was overruled.
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
