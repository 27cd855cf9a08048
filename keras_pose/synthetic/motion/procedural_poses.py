"""Plausible poses without motion capture: joint angles drawn from the ranges of a kind of pose."""

import numpy as np

from keras_pose.synthetic.body import rotation
from keras_pose.synthetic.body.rig import BONES, PARENTS, bone, t_pose_direction
from keras_pose.synthetic.motion.retarget import mirror_pose, raise_shoulders, within_limits

_X, _Y, _Z = np.eye(3)

# Default ranges in degrees, for kinds of poses that do not set their own. Left and right limbs are drawn separately.
# pitch: body forward; roll: body about its front axis (lying: about the spine); arm_lift: upper arm from hanging (0) to
# overhead (180); arm_front: the plane of that lift, from sideways (0) to forward (90); leg_lift: thigh to the front;
# leg_side: thigh away from the other.
_DEFAULTS = {
    "pitch": (-5, 8),
    "roll": (-5, 5),
    "bend": (-5, 15),
    "lean": (-8, 8),
    "turn": (-20, 20),
    "nod": (-20, 25),
    "look": (-45, 45),
    "arm_lift": (5, 40),
    "arm_front": (-10, 90),
    "arm_twist": (-40, 40),
    "elbow": (5, 70),
    "wrist": (-30, 30),
    "leg_lift": (-5, 10),
    "leg_side": (0, 12),
    "leg_twist": (-20, 20),
    "knee": (0, 12),
    "ankle": (-10, 10),
}
KINDS = {
    "standing": {},
    "walking": {"leg_lift": (-25, 35), "knee": (5, 60), "arm_front": (60, 110), "ankle": (-15, 15)},
    "sitting": {"leg_lift": (75, 100), "knee": (60, 110), "leg_side": (0, 25), "bend": (-5, 35)},
    "reaching": {"arm_lift": (50, 130), "arm_front": (-10, 110), "elbow": (0, 50), "bend": (0, 50)},
    "bending": {"pitch": (10, 50), "bend": (30, 75), "leg_lift": (0, 40), "knee": (0, 40), "arm_lift": (20, 90)},
    "raised_arms": {"arm_lift": (120, 178), "arm_front": (-10, 60), "elbow": (0, 100), "lean": (-20, 20)},
    "crouching": {"pitch": (5, 35), "leg_lift": (80, 125), "knee": (95, 140), "leg_side": (5, 35), "bend": (10, 50)},
    "curled": {"pitch": (-20, 60), "leg_lift": (90, 130), "knee": (100, 145), "bend": (40, 75), "arm_lift": (30, 80)},
    "lunging": {"leg_lift": (-25, 90), "knee": (10, 95), "leg_side": (0, 35), "arm_lift": (10, 120)},
    "lying": {"roll": (-180, 180), "leg_lift": (-5, 60), "knee": (0, 80), "arm_lift": (5, 170)},
    "inverted": {"pitch": (150, 210), "arm_lift": (150, 178), "elbow": (0, 20), "leg_side": (0, 50), "knee": (0, 60)},
    "free": {"arm_lift": (0, 175), "elbow": (0, 140), "leg_lift": (-25, 110), "knee": (0, 130), "leg_side": (0, 50)},
}


def sample_kind(kind: str, rng: np.random.Generator) -> np.ndarray:
    """(len(BONES), 3, 3) local rotations of one pose of that kind."""
    ranges = _DEFAULTS | KINDS[kind]

    def draw(name: str) -> float:
        low, high = ranges[name]
        # two draws make the middle of a range likelier than its ends
        return np.deg2rad(low + (high - low) * (rng.random() + rng.random()) / 2)

    local = np.tile(np.eye(3), (len(BONES), 1, 1))
    if kind == "lying":  # on the back, belly or a side: pitched by a right angle, then rolled about the spine
        pitch = (np.pi / 2 + np.deg2rad(rng.normal(0, 8))) * rng.choice([-1, 1])
        local[bone("Hips")] = rotation.about(_X, pitch) @ rotation.about(_Y, draw("roll"))
    else:
        local[bone("Hips")] = rotation.about(_X, draw("pitch")) @ rotation.about(_Z, draw("roll"))
    trunk = rotation.about(_X, draw("bend") / 2) @ rotation.about(_Z, draw("lean") / 2)
    local[bone("LowerBack")] = local[bone("Spine")] = trunk @ rotation.about(_Y, draw("turn") / 2)
    look = rotation.about(_Y, draw("look") / 2) @ rotation.about(_X, draw("nod") / 2)
    local[bone("Neck")] = local[bone("Head")] = look
    _pose_left_limbs(local, draw)
    local = mirror_pose(local)  # the limbs drawn as left become the right ones
    _pose_left_limbs(local, draw)
    turns = raise_shoulders(rotation.to_global(local, PARENTS))
    chest = turns[bone("Spine")]
    for side in ("Left", "Right"):  # arms were drawn relative to the chest, but their parents are the moved collars
        collar, arm = bone(f"{side}Shoulder"), bone(f"{side}Arm")
        local[collar] = chest.T @ turns[collar]
        local[arm] = local[collar].T @ local[arm]
    return within_limits(local)


def _pose_left_limbs(local: np.ndarray, draw) -> None:
    lift, front = draw("arm_lift"), draw("arm_front")
    direction = np.array([np.sin(lift) * np.cos(front), -np.cos(lift), np.sin(lift) * np.sin(front)])
    along = t_pose_direction("LeftArm")
    local[bone("LeftArm")] = rotation.between(along, direction) @ rotation.about(along, draw("arm_twist"))
    local[bone("LeftForeArm")] = rotation.about(-_Y, draw("elbow"))
    local[bone("LeftHand")] = rotation.about(_Z, draw("wrist")) @ rotation.about(along, draw("arm_twist"))
    thigh = rotation.about(-_X, draw("leg_lift")) @ rotation.about(_Z, draw("leg_side"))
    local[bone("LeftUpLeg")] = thigh @ rotation.about(_Y, draw("leg_twist"))
    local[bone("LeftLeg")] = rotation.about(_X, draw("knee"))
    local[bone("LeftFoot")] = rotation.about(_X, draw("ankle"))
