"""Matches the joints of a BVH file to parts of the body, whatever tool named them.

Namespaces (`mixamorig:Hips`, `Character1_Hips`, `DEF-thigh.L`) are stripped and side marks parsed. The remaining name
is looked up in `_NAMES`, which covers Mixamo, Rokoko, Xsens, Perception Neuron, MotionBuilder, LAFAN1, CMU, Daz,
Rigify, 3ds Max, Unreal, Unity, VRM, OptiTrack and SMPL. Hips and chest come from the hierarchy: the joints from which
both legs and both arms branch.
"""

import os
import re

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.io.bvh import Bvh

# Body part to possible joint names without side, most certain first.
_NAMES = {
    "UpLeg": ("upleg", "upperleg", "thigh", "thighbend", "femur", "hip"),
    "Leg": ("lowerleg", "lowleg", "shin", "calf", "knee", "tibia", "leg"),
    "Foot": ("ankle", "foot"),
    "Arm": ("upperarm", "uparm", "uarm", "shldr", "shldrbend", "humerus", "arm", "shoulder"),
    "ForeArm": ("forearm", "forearmbend", "lowerarm", "lowarm", "farm", "elbow", "radius"),
    "Hand": ("wrist", "hand"),
}
SIDES = ("Left", "Right")
_HEAD = ("head",)
_NECK = ("neck",)
# Words that do not identify a part: deform bones, joints in general, the middle.
_NOISE = {"def", "org", "joint", "jnt", "bone", "bn", "bind", "skin", "j", "c", "center"}
_SIDE_WORDS = {"left": "Left", "l": "Left", "right": "Right", "r": "Right"}
RIGS = "Mixamo, Rokoko, Xsens, Perception Neuron, MotionBuilder, LAFAN1, CMU, Daz, Rigify, 3ds Max, Unreal"

# Unit name to the shortest and longest leg of a person in it, hip to ankle.
_UNITS = {
    "metres": (0.5, 1.3),
    "decimetres": (5.0, 13.0),
    "inches": (20.0, 49.0),
    "centimetres": (50.0, 130.0),
    "millimetres": (500.0, 1300.0),
}
_UPRIGHT, _CLEARLY_UPRIGHT = 0.6, 0.8  # component of the mean direction from feet to head along a world axis


def find_joints(motion: Bvh) -> dict[str, int]:
    """The joint of each part: `Head`, `Neck`, `Hips`, `Chest`, and `LeftUpLeg` ... `RightHand`, by CMU names.

    `Neck` is the joint of that name between chest and head, else the first joint above the chest toward the head, which
    may be the head itself. Raises UserError that names the part without a joint and lists the joints of the file.
    """
    parts = [_part(name) for name in _without_namespace([joint.name for joint in motion.joints])]
    joints: dict[str, int] = {}
    for side in SIDES:
        for part, names in _NAMES.items():
            found = _first(parts, side, names)
            if found is None:
                raise _lacks(motion, side + part)
            joints[side + part] = found
    joints["Hips"] = _common(motion, joints["LeftUpLeg"], joints["RightUpLeg"])
    joints["Chest"] = _common(motion, joints["LeftArm"], joints["RightArm"])
    head = _first(parts, "", _HEAD)
    if head is None:
        head = _top_of_spine(motion, parts, joints["Chest"])
    if head is None:
        raise _lacks(motion, "Head")
    above = [j for j in _path(motion, head) if j not in _path(motion, joints["Chest"])]  # head first
    neck = _first(parts, "", _NECK)
    joints["Head"], joints["Neck"] = head, neck if neck in above else (above or [head])[-1]
    return joints


def spine_joints(motion: Bvh, joints: dict[str, int]) -> list[int]:
    """The joints from the one above the hips up to the chest, in order; only the chest if it is the hips."""
    chain = [j for j in _path(motion, joints["Chest"]) if j not in _path(motion, joints["Hips"])]
    return chain[::-1] or [joints["Chest"]]


def unit_of(motion: Bvh, joints: dict[str, int]) -> str:
    """The name of the file's unit, from the length of the legs; "units of its own" if no unit fits a person."""
    lengths = [
        np.linalg.norm(_offset(motion, joints[f"{side}{lower}"], joints[f"{side}{upper}"]))
        for side in SIDES
        for upper, lower in (("UpLeg", "Leg"), ("Leg", "Foot"))
    ]
    leg = sum(lengths) / 2
    return next((name for name, (low, high) in _UNITS.items() if low <= leg <= high), "units of its own")


def turned_upright(motion: Bvh, joints: dict[str, int]) -> Bvh:
    """The motion with y up, and facing +z at rest, whatever its original axes.

    The skeleton at rest shows which way is up. Some tools (LAFAN1's) lay all bones along one axis; then the motion
    shows it, from heads above feet. The motion also decides if the rest pose stands along y but the root moves at leg
    height along another axis. Raises UserError if neither is conclusive.
    """
    rest = motion.rest_positions()
    left = rest[joints["LeftUpLeg"]] - rest[joints["RightUpLeg"]]
    hips = (rest[joints["LeftUpLeg"]] + rest[joints["RightUpLeg"]]) / 2
    feet = (rest[joints["LeftFoot"]] + rest[joints["RightFoot"]]) / 2
    up, down = rest[joints["Head"]] - hips, feet - hips
    if np.linalg.norm(down) < 1e-6:
        raise UserError(f"{motion.name}: its legs have no length; export it again")
    axes = _axes(left, up)
    lengths = np.linalg.norm(up) * np.linalg.norm(down)
    if axes is not None and np.dot(up, down) < -0.5 * lengths:
        moved = motion.turned(axes)
        other = _motions_up(moved, joints, _CLEARLY_UPRIGHT)
        if other is not None and other[1] < 0.5 and _root_moves_above(moved, joints, other):
            return moved.turned(_to_y(other))
        return moved
    upright = _motions_up(motion, joints, _UPRIGHT) if np.dot(up, down) > 0.5 * lengths else None
    if upright is None:
        raise UserError(f"{motion.name}: the skeleton at rest does not stand along an axis; export it in a T-pose")
    return motion.turned(_to_y(upright))


def stands_at_rest(motion: Bvh, joints: dict[str, int]) -> bool:
    """Whether the skeleton at rest stands along +y and faces +z, as most do after `turned_upright`."""
    rest = motion.rest_positions()
    left = rest[joints["LeftUpLeg"]] - rest[joints["RightUpLeg"]]
    up = rest[joints["Head"]] - (rest[joints["LeftUpLeg"]] + rest[joints["RightUpLeg"]]) / 2
    return bool(left[0] > 0.5 * np.linalg.norm(left) and up[1] > 0.5 * np.linalg.norm(up))


# --- names -----------------------------------------------------------------------------------------------------


def _without_namespace(names: list[str]) -> list[str]:
    """Names without the prefix that tools add: up to a colon or bar, and what all names but the root's begin with."""
    names = [re.split(r"[:|]", name)[-1] for name in names]
    shared = os.path.commonprefix(names[1:]) if len(names) > 3 else ""
    return [name[len(shared) :] if name.startswith(shared) and name != shared else name for name in names]


def _part(name: str) -> tuple[str, str]:
    """Side ("" for the middle) and the rest of a name: `DEF-upper_arm.L` gives ("Left", "upperarm")."""
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]
    words = [re.sub(r"^mixamorig$", "", word) for word in words]
    sides = [_SIDE_WORDS[word] for word in words if word in _SIDE_WORDS]
    core = "".join(word for word in words if word not in _SIDE_WORDS and word not in _NOISE)
    if sides:
        return sides[0], core
    known = {known for names in _NAMES.values() for known in names}
    for mark in sorted(_SIDE_WORDS, key=len, reverse=True):  # such as lfemur, leftupleg
        if core.startswith(mark) and core.removeprefix(mark) in known:
            return _SIDE_WORDS[mark], core.removeprefix(mark)
    return "", core


def _first(parts: list[tuple[str, str]], side: str, names: tuple[str, ...]) -> int | None:
    """The joint with the most certain of `names`; None if there is none."""
    return next((parts.index((side, name)) for name in names if (side, name) in parts), None)


def _lacks(motion: Bvh, part: str) -> UserError:
    names = ", ".join(joint.name[:40] for joint in motion.joints[:40])
    return UserError(
        f"{motion.name}: no joint {part}, by this or another known name; its joints are {names}; rename them as "
        f"{RIGS} do, or leave the file out"
    )


# --- the hierarchy ---------------------------------------------------------------------------------------------


def _path(motion: Bvh, joint: int) -> list[int]:
    """A joint and its ancestors up to the root."""
    path = [joint]
    while motion.joints[path[-1]].parent >= 0:
        path.append(motion.joints[path[-1]].parent)
    return path


def _common(motion: Bvh, a: int, b: int) -> int:
    other = set(_path(motion, b))
    return next(joint for joint in _path(motion, a) if joint in other)


def _top_of_spine(motion: Bvh, parts: list[tuple[str, str]], chest: int) -> int | None:
    """The last joint above the chest with a spine's name, which is Rigify's head; None if there is none."""
    above = [
        j
        for j, (side, core) in enumerate(parts)
        if not side and re.match(r"spine\d+$", core) and j != chest and chest in _path(motion, j)
    ]
    return max(above, key=lambda j: len(_path(motion, j)), default=None)


def _offset(motion: Bvh, joint: int, ancestor: int) -> np.ndarray:
    """(3,) offset of a joint from one of its ancestors, at rest."""
    rest = motion.rest_positions()
    return rest[joint] - rest[ancestor]


# --- which way is up -------------------------------------------------------------------------------------------


def _axis(vector: np.ndarray) -> np.ndarray | None:
    """The signed world axis nearest to a vector; None for a zero vector."""
    length = np.linalg.norm(vector)
    if not length > 1e-9:
        return None
    result = np.zeros(3)
    place = np.abs(vector).argmax()
    result[place] = np.sign(vector[place])
    return result


def _axes(left: np.ndarray, up: np.ndarray) -> np.ndarray | None:
    """(3, 3) that turns a person's left to +x and up to +y; None if they do not lie along two different axes."""
    left_axis, up_axis = _axis(left), _axis(up)
    if left_axis is None or up_axis is None or abs(left_axis @ up_axis) > 0.5:
        return None
    return np.stack([left_axis, up_axis, np.cross(left_axis, up_axis)])


def _motions_up(motion: Bvh, joints: dict[str, int], least: float) -> np.ndarray | None:
    """The signed axis from feet to head, averaged over all frames; None if no axis stands out."""
    positions, _ = motion.forward_kinematics()
    feet = (positions[joints["LeftFoot"]] + positions[joints["RightFoot"]]) / 2
    up = positions[joints["Head"]] - feet  # (F, 3)
    length = np.linalg.norm(up, axis=-1, keepdims=True)
    mean = (up / np.maximum(length, 1e-9)).mean(0)
    return _axis(mean) if np.abs(mean).max() > least else None


def _root_moves_above(motion: Bvh, joints: dict[str, int], up: np.ndarray) -> bool:
    """Whether the root is a leg's length from the ground along `up`, and not along y."""
    rest = motion.rest_positions()
    leg = np.linalg.norm(rest[joints["LeftFoot"]] - rest[joints["LeftUpLeg"]])
    root = np.median(motion.root_positions(), axis=0)
    return bool(0.5 * leg < root @ up < 1.6 * leg and not 0.5 * leg < root[1] < 1.6 * leg)


def _to_y(up: np.ndarray) -> np.ndarray:
    """(3, 3) that turns a signed axis to +y."""
    if abs(up[1]) > 0.5:
        return np.diag([1.0, up[1], up[1]])
    side = np.eye(3)[0] if abs(up[0]) < 0.5 else np.eye(3)[2]
    return np.stack([side, up, np.cross(side, up)])
