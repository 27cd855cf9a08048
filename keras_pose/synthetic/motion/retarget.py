"""Converts the joints of a BVH file to local rotations of the rig, relative to its T-pose.

All rigs known to `keras_pose.io.bvh_rigs` work if they stand upright at rest. Only rotations are used: lengths are the
body's, so the file's unit does not matter.
"""

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.io import bvh_rigs
from keras_pose.io.bvh import Bvh
from keras_pose.synthetic.body import rotation
from keras_pose.synthetic.body.rig import BONES, MIRROR, PARENTS, bone, t_pose_direction

# Bones of the rig and the parts of `bvh_rigs` that rotate them.
_BONES = {"Hips": "Hips", "LowerBack": "LowerBack", "Spine": "Chest", "Neck": "Neck", "Head": "Head"}
for _side in bvh_rigs.SIDES:
    _BONES |= {_side + part: _side + part for part in ("Arm", "ForeArm", "Hand", "UpLeg", "Leg", "Foot")}

# The bone at the end of each limb, which shows the limb's direction in the file's rest pose.
_ENDS = {"Arm": "ForeArm", "ForeArm": "Hand", "UpLeg": "Leg", "Leg": "Foot"}

# Largest local rotation of a bone from the T-pose, in degrees; capture noise exceeds it.
LIMITS_DEG = {"LowerBack": 70, "Spine": 45, "Neck": 45, "Head": 50, "Hand": 80, "Foot": 55}


def retarget(motion: Bvh) -> np.ndarray:
    """(F, len(BONES), 3, 3) float32 local rotations.

    Raises UserError that names the file if a joint is missing, a limb has no length, or the skeleton does
    not stand at rest.
    """
    parts = bvh_rigs.find_joints(motion)
    motion = bvh_rigs.turned_upright(motion, parts)
    if not bvh_rigs.stands_at_rest(motion, parts):
        raise UserError(f"{motion.name}: the skeleton at rest is not in a T-pose; export it in one")
    parts["LowerBack"] = bvh_rigs.spine_joints(motion, parts)[0]
    joints = {name: parts[part] for name, part in _BONES.items()}
    rest = motion.rest_positions()
    source = _global_rotations(motion, set(joints.values()))
    turns = np.zeros((len(motion.motion), len(BONES), 3, 3))
    for b, name in enumerate(BONES):
        if name not in joints:  # collars and fingers follow their parents
            turns[:, b] = turns[:, PARENTS[b]]
            continue
        turns[:, b] = source[joints[name]]
        limb = name.removeprefix("Left").removeprefix("Right")
        if limb == "Hand":  # at rest, a hand continues its forearm
            limb, name = "ForeArm", name.replace("Hand", "ForeArm")
        if limb in _ENDS:
            direction = rest[joints[name.replace(limb, _ENDS[limb])]] - rest[joints[name]]
            if np.linalg.norm(direction) < 1e-6:
                raise UserError(f"{motion.name}: {motion.joints[joints[name]].name} has no length; export it again")
            turns[:, b] = turns[:, b] @ rotation.between(t_pose_direction(name), direction)
    return within_limits(rotation.to_local(raise_shoulders(turns), PARENTS)).astype(np.float32)


def raise_shoulders(turns: np.ndarray) -> np.ndarray:
    """Makes the collar bones follow the arms; takes and returns (..., len(BONES), 3, 3) global rotations.

    A collar bone follows an arm by a fifth of its lift beyond 45 degrees from hanging, and by about a seventh of its
    swing to the front.
    """
    turns = turns.copy()
    chest = turns[..., bone("Spine"), :, :]
    for side, sign in (("Left", 1.0), ("Right", -1.0)):
        arm = turns[..., bone(f"{side}Arm"), :, 0] * sign  # (..., 3), the arm's direction
        x, y, z = np.moveaxis(np.einsum("...ji,...j->...i", chest, arm), -1, 0)  # in the chest's frame
        lift = np.arcsin(np.clip(y, -1, 1)) + np.pi / 4
        swing = np.arctan2(z, np.abs(x) + 0.2) * np.sqrt(np.clip(1 - y**2, 0, 1))
        lift, swing = 0.2 * np.clip(lift, -0.2, None) * sign, -0.14 * swing * sign
        collar = rotation.about(np.array([0, 1, 0]), swing) @ rotation.about(np.array([0, 0, 1]), lift)
        turns[..., bone(f"{side}Shoulder"), :, :] = chest @ collar
    return turns


def within_limits(local: np.ndarray) -> np.ndarray:
    """Limits the rotation of the bones in `LIMITS_DEG`; (..., len(BONES), 3, 3) local rotations."""
    local = local.copy()
    for b, name in enumerate(BONES):
        limit = LIMITS_DEG.get(name.removeprefix("Left").removeprefix("Right"))
        if limit is not None:
            vector = rotation.to_vector(local[..., b, :, :])
            angle = np.linalg.norm(vector, axis=-1, keepdims=True)
            scale = np.minimum(1, np.deg2rad(limit) / np.maximum(angle, 1e-9))
            local[..., b, :, :] = rotation.from_vector(vector * scale)
    return local


def mirror_pose(local: np.ndarray) -> np.ndarray:
    """The mirror image of (..., len(BONES), 3, 3) local rotations: left and right are swapped."""
    return rotation.mirrored(local[..., list(MIRROR), :, :])


def _global_rotations(motion: Bvh, wanted: set[int]) -> dict[int, np.ndarray]:
    """(F, 3, 3) world rotations of the `wanted` joints and their ancestors, by joint index."""
    turns: dict[int, np.ndarray] = {}

    def turn(j: int) -> np.ndarray:
        if j not in turns:
            parent = motion.joints[j].parent
            turns[j] = motion.rotation(j) if parent < 0 else turn(parent) @ motion.rotation(j)
        return turns[j]

    for j in wanted:
        turn(j)
    return turns
