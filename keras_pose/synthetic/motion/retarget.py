"""From the joints of a BVH file to local rotations of the rig in its T-pose.

Two dialects of the CMU skeleton are known: the names of CMU's own bones (Hips, LeftUpLeg ...) and those of the
Daz figure (hip, lThigh ...), in which Hahne's conversion ships. Only rotations are used: lengths are the body's.
"""

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.io.bvh import Bvh
from keras_pose.synthetic.body import rotation
from keras_pose.synthetic.body.rig import BONES, MIRROR, PARENTS, bone, t_pose_direction

_NAMES = {
    "Hips": ("Hips", "hip"),
    "LowerBack": ("LowerBack", "abdomen"),
    "Spine": ("Spine1", "chest"),
    "Neck": ("Neck", "neck"),
    "Head": ("Head", "head"),
}
for _side, _letter in (("Left", "l"), ("Right", "r")):
    for _bone, _daz in (
        ("Arm", "Shldr"),
        ("ForeArm", "ForeArm"),
        ("Hand", "Hand"),
        ("UpLeg", "Thigh"),
        ("Leg", "Shin"),
        ("Foot", "Foot"),
    ):
        _NAMES[_side + _bone] = (_side + _bone, _letter + _daz)

# The bone whose offset tells where a limb points while the file's skeleton rests.
_ENDS = {"Arm": "ForeArm", "ForeArm": "Hand", "UpLeg": "Leg", "Leg": "Foot"}

# Degrees that a bone may turn from its T-pose; capture noise goes further.
LIMITS_DEG = {"LowerBack": 70, "Spine": 45, "Neck": 45, "Head": 50, "Hand": 80, "Foot": 55}


def retarget(motion: Bvh) -> np.ndarray:
    """(F, len(BONES), 3, 3) float32 local rotations; raises UserError that names file and joint."""
    joints = {name: _find(motion, name) for name in _NAMES}
    motion.check_stands(joints["LeftUpLeg"], joints["RightUpLeg"], joints["Neck"])
    rest = motion.rest_positions()
    source = _global_rotations(motion, set(joints.values()))
    turns = np.zeros((len(motion.motion), len(BONES), 3, 3))
    for b, name in enumerate(BONES):
        if name not in joints:  # collars and fingers follow their parents
            turns[:, b] = turns[:, PARENTS[b]]
            continue
        turns[:, b] = source[joints[name]]
        limb = name.removeprefix("Left").removeprefix("Right")
        if limb == "Hand":  # at rest a hand goes on as its forearm does
            limb, name = "ForeArm", name.replace("Hand", "ForeArm")
        if limb in _ENDS:
            direction = rest[joints[name.replace(limb, _ENDS[limb])]] - rest[joints[name]]
            if np.linalg.norm(direction) < 1e-6:
                raise UserError(f"{motion.name}: {motion.joints[joints[name]].name} has no length; export it again")
            turns[:, b] = turns[:, b] @ rotation.between(t_pose_direction(name), direction)
    return within_limits(rotation.to_local(raise_shoulders(turns), PARENTS)).astype(np.float32)


def raise_shoulders(turns: np.ndarray) -> np.ndarray:
    """Lets collar bones follow the arms: (..., len(BONES), 3, 3) global rotations to the same.

    About a fifth of an arm's lift above 45 degrees, and a seventh of its swing to the front, is the collar's.
    """
    turns = turns.copy()
    chest = turns[..., bone("Spine"), :, :]
    for side, sign in (("Left", 1.0), ("Right", -1.0)):
        arm = turns[..., bone(f"{side}Arm"), :, 0] * sign  # (..., 3), where the arm points
        x, y, z = np.moveaxis(np.einsum("...ji,...j->...i", chest, arm), -1, 0)  # in the chest's frame
        lift = np.arcsin(np.clip(y, -1, 1)) + np.pi / 4
        swing = np.arctan2(z, np.abs(x) + 0.2) * np.sqrt(np.clip(1 - y**2, 0, 1))
        lift, swing = 0.2 * np.clip(lift, -0.2, None) * sign, -0.14 * swing * sign
        collar = rotation.about(np.array([0, 1, 0]), swing) @ rotation.about(np.array([0, 0, 1]), lift)
        turns[..., bone(f"{side}Shoulder"), :, :] = chest @ collar
    return turns


def within_limits(local: np.ndarray) -> np.ndarray:
    """Turns back the bones of `LIMITS_DEG` that go too far; (..., len(BONES), 3, 3) local rotations."""
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
    """The pose in a mirror: left and right of (..., len(BONES), 3, 3) local rotations swapped."""
    return rotation.mirrored(local[..., list(MIRROR), :, :])


def _find(motion: Bvh, name: str) -> int:
    index = motion.index(*_NAMES[name])
    if index is None:
        raise UserError(f"{motion.name}: no joint {' or '.join(_NAMES[name])}; use a CMU skeleton or leave it out")
    return index


def _global_rotations(motion: Bvh, wanted: set[int]) -> dict[int, np.ndarray]:
    """(F, 3, 3) rotations of the world for the `wanted` joints and what they hang on."""
    turns: dict[int, np.ndarray] = {}

    def turn(j: int) -> np.ndarray:
        if j not in turns:
            parent = motion.joints[j].parent
            turns[j] = motion.rotation(j) if parent < 0 else turn(parent) @ motion.rotation(j)
        return turns[j]

    for j in wanted:
        turn(j)
    return turns
