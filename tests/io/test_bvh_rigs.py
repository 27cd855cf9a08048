"""The rigs of many tools: one figure under all their names, in all axes and units."""

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data.sources import mocap
from keras_pose.io import bvh_rigs
from keras_pose.io.bvh import parse_bvh
from keras_pose.synthetic.body import rotation
from keras_pose.synthetic.body.rig import PARENTS, bone
from keras_pose.synthetic.motion.retarget import retarget

# Part, parent, offset in centimeters of a person who stands along +y and faces +z; * is the side.
PARTS = [
    ("hips", None, (0, 0, 0)),
    ("spine", "hips", (0, 10, 0)),
    ("chest", "spine", (0, 15, 0)),
    ("neck", "chest", (0, 18, 0)),
    ("head", "neck", (0, 10, 0)),
    *(
        (part.replace("*", side), parent.replace("*", side), (sign * x, y, z))
        for side, sign in (("L", 1), ("R", -1))
        for part, parent, (x, y, z) in (
            ("*upleg", "hips", (9, -2, 0)),
            ("*leg", "*upleg", (0, -43, 0)),
            ("*foot", "*leg", (0, -43, 0)),
            ("*collar", "chest", (4, 12, 0)),
            ("*arm", "*collar", (12, 0, 0)),
            ("*forearm", "*arm", (28, 0, 0)),
            ("*hand", "*forearm", (25, 0, 0)),
        )
    ),
]
# Names of hips, spine, chest, neck, head; then upper leg, leg, foot, collar, arm, forearm, hand; and the sides.
MIXAMO = "Hips Spine Spine1 Neck Head | *UpLeg *Leg *Foot *Shoulder *Arm *ForeArm *Hand | Left Right"
RIGS = {
    "mixamo": MIXAMO,
    "rokoko": "Hips Spine Chest Neck Head | *Thigh *Shin *Foot *Shoulder *Arm *ForeArm *Hand | Left Right",
    "rokoko, unity": "hips spine chest neck head | "
    "*UpperLeg *LowerLeg *Foot *Shoulder *UpperArm *LowerArm *Hand | left right",
    "xsens bvh": "Hips Chest Chest2 Neck Head | *Hip *Knee *Ankle *Collar *Shoulder *Elbow *Wrist | Left Right",
    "xsens mvn": "Pelvis L5 T8 Neck Head | *UpperLeg *LowerLeg *Foot *Shoulder *UpperArm *ForeArm *Hand | Left Right",
    "motionbuilder": "Hips Spine Spine1 Neck Head | *UpLeg *Leg *Foot *Shoulder *Arm *ForeArm *Hand | Left Right",
    "rigify": "spine spine.001 spine.003 spine.004 spine.006 | "
    "thigh.* shin.* foot.* shoulder.* upper_arm.* forearm.* hand.* | L R",
    "rigify, deform": "DEF-spine DEF-spine.001 DEF-spine.003 DEF-spine.004 DEF-spine.006 | "
    "DEF-thigh.* DEF-shin.* DEF-foot.* "
    "DEF-shoulder.* DEF-upper_arm.* DEF-forearm.* DEF-hand.* | L R",
    "blender": "Hips Spine Chest Neck Head | UpLeg_* Leg_* Foot_* Shoulder_* Arm_* ForeArm_* Hand_* | L R",
    "3ds max": "Bip01 Bip01_Spine Bip01_Spine1 Bip01_Neck Bip01_Head | Bip01_*_Thigh Bip01_*_Calf Bip01_*_Foot "
    "Bip01_*_Clavicle Bip01_*_UpperArm Bip01_*_Forearm Bip01_*_Hand | L R",
    "unreal": "pelvis spine_01 spine_02 neck_01 head | "
    "thigh_* calf_* foot_* clavicle_* upperarm_* lowerarm_* hand_* | l r",
    "vrm": "J_Bip_C_Hips J_Bip_C_Spine J_Bip_C_Chest J_Bip_C_Neck J_Bip_C_Head | J_Bip_*_UpperLeg J_Bip_*_LowerLeg "
    "J_Bip_*_Foot J_Bip_*_Shoulder J_Bip_*_UpperArm J_Bip_*_LowerArm J_Bip_*_Hand | L R",
    "smpl": "Pelvis Spine1 Spine2 Neck Head | *_Hip *_Knee *_Ankle *_Collar *_Shoulder *_Elbow *_Wrist | L R",
    "acclaim": "root lowerback thorax upperneck head | *femur *tibia *foot *clavicle *humerus *radius *wrist | l r",
    "optitrack": "Hip Ab Chest Neck Head | *Thigh *Shin *Foot *Shoulder *UArm *FArm *Hand | L R",
    "daz": "hip abdomen chest neck head | *Thigh *Shin *Foot *Collar *Shldr *ForeArm *Hand | l r",
    "daz genesis": "hip abdomen chest neck head | *ThighBend *Shin *Foot *Collar *ShldrBend *ForearmBend *Hand | l r",
}  # fmt: skip
NAMESPACES = [
    "mixamorig:",
    "mixamorig",
    "mixamorig1:",
    "mixamorig_",
    "Character1_",
    "Robot_",
    "Armature|",
    "A:B:",
    "rp-",
]
MOTION = {"Larm": (70, 0, 0), "Rleg": (0, 60, 0), "hips": (0, 0, 30), "head": (0, 20, 0)}


def names_of(rig: str) -> dict[str, str]:
    middle, sided, sides = (part.split() for part in RIGS[rig].split(" | "))
    names = dict(zip(("hips", "spine", "chest", "neck", "head"), middle, strict=True))
    for side, word in zip("LR", sides, strict=True):
        parts = ("upleg", "leg", "foot", "collar", "arm", "forearm", "hand")
        names |= {side + part: name.replace("*", word) for part, name in zip(parts, sided, strict=True)}
    return names


def figure(names, motion=MOTION, turn=None, scale=1.0, root=None, offsets=None) -> str:
    """A BVH file of 3 frames; `turn` (3, 3) turns all offsets and rotations, `root` is the root's place."""
    turn = np.eye(3) if turn is None else turn
    lines, values = ["HIERARCHY"], []

    def joint(part: str, offset, depth: int) -> None:
        offset = scale * turn @ (offset if offsets is None else offsets.get(part, offset))
        lines.append(f"{'JOINT' if depth else 'ROOT'} {names[part]}")
        lines.append("{\nOFFSET " + " ".join(map(str, offset)))
        place = [] if depth or root is None else list(root)
        lines.append(f"CHANNELS {len(place) + 3} {'Xposition Yposition Zposition ' if place else ''}"
                     "Zrotation Xrotation Yrotation")  # fmt: skip
        local = np.eye(3)
        for axis, angle in zip((2, 0, 1), motion.get(part, (0, 0, 0)), strict=True):
            local = local @ rotation.about(np.eye(3)[axis], np.deg2rad(angle))
        values.extend([*place, *zxy_degrees(turn @ local @ turn.T)])
        children = [(p, o) for p, parent, o in PARTS if parent == part]
        for child in children:
            joint(*child, depth + 1)
        if not children:
            lines.append("End Site\n{\nOFFSET 0 0 0\n}")
        lines.append("}")

    joint("hips", (0, 0, 0), 0)
    lines.extend(["MOTION", "Frames: 3", "Frame Time: 0.03", *[" ".join(map(str, values))] * 3])
    return "\n".join(lines) + "\n"


def zxy_degrees(turn: np.ndarray) -> list[float]:
    """Angles about Z, X and Y, in this order, of a rotation."""
    x = np.arcsin(np.clip(turn[2, 1], -1, 1))
    z, y = np.arctan2(-turn[0, 1], turn[1, 1]), np.arctan2(-turn[2, 0], turn[2, 2])
    return list(np.rad2deg([z, x, y]))


EXPECTED = mocap.to_human36m(parse_bvh(figure(names_of("mixamo")), "a"))


@pytest.mark.parametrize("rig", RIGS)
def test_every_rigs_joints_are_found(rig):
    motion = parse_bvh(figure(names_of(rig)), "a")
    found = {part: motion.joints[j].name for part, j in bvh_rigs.find_joints(motion).items()}
    names = names_of(rig)
    expected = {"Hips": "hips", "Chest": "chest", "Neck": "neck", "Head": "head"}
    for side in bvh_rigs.SIDES:
        parts = ("UpLeg", "Leg", "Foot", "Arm", "ForeArm", "Hand")
        expected |= {side + part: side[0] + part.lower() for part in parts}
    assert found == {part: names[own] for part, own in expected.items()}
    np.testing.assert_allclose(mocap.to_human36m(motion), EXPECTED, atol=1e-3)
    turns = rotation.to_global(retarget(motion), PARENTS)
    np.testing.assert_allclose(turns[:, bone("LeftArm")][0, 1, 0], np.sin(np.deg2rad(70)), atol=0.02)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_namespaces_are_stripped(namespace):
    names = {part: namespace + name for part, name in names_of("mixamo").items()}
    np.testing.assert_allclose(mocap.to_human36m(parse_bvh(figure(names), "a")), EXPECTED, atol=1e-3)


def test_only_some_joints_may_have_a_namespace():
    names = names_of("mixamo") | {"head": "Hat:Head", "Lhand": "x:y:LeftHand"}
    np.testing.assert_allclose(mocap.to_human36m(parse_bvh(figure(names), "a")), EXPECTED, atol=1e-3)


AXES = {
    "y up, facing -z": np.diag([-1.0, 1, -1]),
    "z up, facing -y": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "z up, facing x": np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    "x up": np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]),
}


@pytest.mark.parametrize("axes", AXES)
def test_any_axis_may_be_up(axes):
    motion = parse_bvh(figure(names_of("mixamo"), turn=AXES[axes]), "a")
    np.testing.assert_allclose(mocap.to_human36m(motion), EXPECTED, atol=1e-3)
    straight = retarget(parse_bvh(figure(names_of("mixamo")), "a"))
    np.testing.assert_allclose(retarget(motion), straight, atol=1e-4)


def test_a_root_may_turn_a_figure_that_rests_along_y_into_a_world_with_z_up():
    """As where a tool turns the motion but not the skeleton at rest."""
    text = figure(names_of("mixamo"), motion={"hips": (0, 90, 0)}, root=(3, -250, 92))
    (pose, *_) = mocap.to_human36m(parse_bvh(text, "a"))
    assert pose[HUMAN36M_17.index("head_top"), 1] > 50 and pose[HUMAN36M_17.index("left_ankle"), 1] < -80
    lies = figure(names_of("mixamo"), motion={"hips": (0, 90, 0)}, root=(3, 10, 92))[:-1].replace(" 92 ", " 8 ")
    (pose, *_) = mocap.to_human36m(parse_bvh(lies, "a"))
    assert abs(pose[HUMAN36M_17.index("head_top"), 1]) < 1  # y is up, and this person lies


def test_bones_that_rest_along_their_own_axis_are_understood_by_their_motion():
    """As in LAFAN1: every bone lies along +x at rest, and rotations make a person of them."""
    lengths = {part: np.linalg.norm(offset) for part, parent, offset in PARTS if parent}
    offsets = {part: (length, 0, 0) for part, length in lengths.items()}
    offsets |= {"Lupleg": (0, 0, 10), "Rupleg": (0, 0, -10), "Lcollar": (12, 0, 4), "Rcollar": (12, 0, -4)}
    up = {"hips": (90, 0, 0), "Lupleg": (180, 0, 0), "Rupleg": (180, 0, 0)}
    motion = parse_bvh(figure(names_of("mixamo"), up, offsets=offsets), "lafan")
    (pose, *_) = mocap.to_human36m(motion)
    head, foot = pose[HUMAN36M_17.index("head_top")], pose[HUMAN36M_17.index("left_ankle")]
    assert head[1] > 50 and foot[1] < -80 and abs(head[0]) < 1
    with pytest.raises(UserError, match="T-pose"):
        retarget(motion)


@pytest.mark.parametrize(
    ("scale", "unit"),
    [(1, "centimetres"), (0.01, "metres"), (10, "millimetres"), (1 / 2.54, "inches"), (0.2, "units of its own")],
)
def test_the_unit_is_found_from_the_legs(tmp_path, capsys, scale, unit):
    text = figure(names_of("mixamo"), scale=scale)
    motion = parse_bvh(text, "a")
    assert bvh_rigs.unit_of(motion, bvh_rigs.find_joints(motion)) == unit
    (tmp_path / "walk_01.bvh").write_text(text)
    mocap.list_items(tmp_path, mocap.Options())
    assert f"1 files in {unit}" in capsys.readouterr().out


def test_unusable_files_are_left_out_and_named(tmp_path):
    (tmp_path / "walk_01.bvh").write_text(figure(names_of("xsens bvh")))
    (tmp_path / "hand_01.bvh").write_text(figure({part: f"finger{i}" for i, (part, *_) in enumerate(PARTS)}))
    (tmp_path / "half_01.bvh").write_text("HIERARCHY")
    *items, half, hand = mocap.list_items(tmp_path, mocap.Options())
    assert len(items) == mocap.CAMERAS and not hand.skipped
    assert "no joint LeftUpLeg, by this" in hand.why and "its joints are finger0, finger1" in hand.why
    assert half.where.endswith("half_01.bvh") and "not a BVH file" in half.why
