"""Poses in motion for `keras_pose.synthetic.clip`: a captured sequence, or a motion between procedural poses."""

import os
from pathlib import Path

import numpy as np

from keras_pose.core.errors import UserError, unknown_name
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.io.bvh import parse_bvh
from keras_pose.synthetic.body import rotation
from keras_pose.synthetic.body.rig import bone
from keras_pose.synthetic.motion.poses import bvh_texts
from keras_pose.synthetic.motion.procedural_poses import sample_kind
from keras_pose.synthetic.motion.retarget import retarget

_KINDS = ("standing", "walking", "reaching", "raised_arms", "lunging")  # on two feet
_POSE_SECONDS = 0.8  # time from one procedural pose to the next
_TURN_DEG = 40.0  # largest rotation about the vertical from one procedural pose to the next
_ANKLES = [HUMAN36M_17.joint_names.index(f"{side}_ankle") for side in ("left", "right")]


def drawn_motion(rng: np.random.Generator, frames: int, fps: float) -> np.ndarray:
    """(frames, len(BONES), 3, 3) float32 local rotations of a person who moves from one procedural pose to the next.

    Between two poses each bone rotates about a fixed axis, and starts and ends at rest.
    """
    steps = np.arange(frames) / (fps * _POSE_SECONDS)
    keys, heading = [], 0.0
    for _ in range(int(np.ceil(steps[-1])) + 1):
        key = sample_kind(str(rng.choice(_KINDS)), rng)
        key[bone("Hips")] = rotation.about(np.array([0, 1, 0]), heading) @ key[bone("Hips")]
        keys.append(key)
        heading += np.deg2rad(rng.uniform(-_TURN_DEG, _TURN_DEG))
    keys = np.stack([*keys, keys[-1]])  # (K, len(BONES), 3, 3)
    turns = rotation.to_vector(np.swapaxes(keys[:-1], -1, -2) @ keys[1:])
    first = steps.astype(int)
    share = steps - first
    share = share**2 * (3 - 2 * share)  # smoothstep: at rest at both ends
    return (keys[first] @ rotation.from_vector(share[:, None, None] * turns[first])).astype(np.float32)


def captured_motion(path: str | os.PathLike, sequence: str, start: int, frames: int) -> np.ndarray:
    """`frames` frames from `start` of one file in a folder or zip of BVH files; shape as in `drawn_motion`.

    Raises UserError if the file is missing, too short or cannot be converted.
    """
    names = []
    for name, text in bvh_texts(Path(path)):
        names.append(name)
        if name == sequence:
            motion = retarget(parse_bvh(text, name))
            if start + frames > len(motion):
                raise UserError(
                    f"{name} has {len(motion)} frames, fewer than --start and --seconds need: {start} + {frames}"
                )
            return motion[start : start + frames]
    raise unknown_name("sequence", sequence, names)


def steps_on_the_ground(joints_mm: np.ndarray) -> np.ndarray:
    """(F, 3) offsets in mm, one per frame, that keep the lower foot in place, which makes the person walk.

    Args:
        joints_mm: (F, J, 3) joints of HUMAN36M_17, each frame above the origin with its lowest point on the ground.
    """
    ankles = joints_mm[:, _ANKLES]  # (F, 2, 3)
    height = ankles[1:, :, 1] + ankles[:-1, :, 1]  # (F - 1, 2)
    moves = np.diff(ankles, axis=0)[np.arange(len(height)), height.argmin(1)] * [-1.0, 0.0, -1.0]
    return np.concatenate([np.zeros((1, 3)), np.cumsum(moves, axis=0)])
