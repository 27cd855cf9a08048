"""BVH files, retargeting, and the library of poses."""

import zipfile

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.io.bvh import parse_bvh
from keras_pose.synthetic.body import rotation
from keras_pose.synthetic.body.rig import BONES, MIRROR, PARENTS, bone, t_pose_direction
from keras_pose.synthetic.motion.poses import SPLITS, PoseLibrary, load_pose_library, perturb, straighten_legs
from keras_pose.synthetic.motion.procedural_poses import KINDS, sample_kind
from keras_pose.synthetic.motion.retarget import LIMITS_DEG, mirror_pose, retarget
from tests.conftest import shared_data
from tests.synthetic.people import CMU_JOINTS, bvh_text, file_order, random_rotations

LIMBS = [side + limb for side in ("Left", "Right") for limb in ("Arm", "ForeArm", "UpLeg", "Leg")]
ENDS = {"Arm": "ForeArm", "ForeArm": "Hand", "UpLeg": "Leg", "Leg": "Foot"}


def motion_of(changes: dict[str, tuple[float, float, float]], frames: int = 1) -> np.ndarray:
    """(frames, 3 * joints) degrees (Z, X, Y), zero but for `changes`."""
    motion = np.zeros((frames, len(CMU_JOINTS), 3))
    for name, degrees in changes.items():
        motion[:, file_order().index(name)] = degrees
    return motion.reshape(frames, -1)


def standing_still(frames: int, **changes) -> np.ndarray:
    return retarget(parse_bvh(bvh_text(motion_of(changes, frames)), "still"))


def test_rotations_invert():
    rng = np.random.default_rng(0)
    vectors = rng.normal(0, 1, (200, 3))
    vectors *= rng.uniform(0, 3.14, (200, 1)) / np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[0] = 0
    np.testing.assert_allclose(rotation.to_vector(rotation.from_vector(vectors)), vectors, atol=1e-9)
    local = random_rotations(rng)
    np.testing.assert_allclose(rotation.to_local(rotation.to_global(local, PARENTS), PARENTS), local, atol=1e-12)


def test_twist_is_what_is_left_without_the_swing():
    rng = np.random.default_rng(1)
    axis = np.array([0, -1.0, 0])
    for angle in (-2.5, -0.4, 0.0, 1.1, 3.0):
        direction = rng.normal(size=3)
        turn = rotation.between(axis, direction) @ rotation.about(axis, angle)
        assert rotation.twist_angle(turn, axis) == pytest.approx(angle, abs=1e-9)


def test_bvh_channels_multiply_from_left_to_right():
    bvh = parse_bvh(bvh_text(motion_of({"LeftArm": (90, 0, 90)})), "a")
    turn = bvh.rotation(bvh.index("leftarm"))[0]  # names are found whatever their capitals
    # about y first takes z to x, then about z takes x to y
    np.testing.assert_allclose(turn @ [0, 0, 1], [0, 1, 0], atol=1e-9)


def test_t_pose_of_a_file_is_the_t_pose_of_the_rig():
    turns = rotation.to_global(standing_still(1)[0], PARENTS)
    for name in LIMBS:
        np.testing.assert_allclose(turns[bone(name)] @ t_pose_direction(name), t_pose_direction(name), atol=1e-6)


def test_raising_the_left_arm_raises_the_left_arm():
    turns = rotation.to_global(standing_still(1, LeftArm=(80, 0, 0))[0], PARENTS)
    assert turns[bone("LeftArm")][1, 0] > 0.98  # it points up
    assert turns[bone("RightArm")][1, 0] == pytest.approx(0, abs=1e-6)
    assert turns[bone("LeftShoulder")][1, 0] > 0.3  # and its collar follows


def test_limbs_point_where_the_captured_limbs_point():
    with zipfile.ZipFile(shared_data("mocap_bvh.zip")) as archive:
        bvh = parse_bvh(archive.read("cmu_13_16.bvh").decode(), "cmu_13_16")
    turns = rotation.to_global(retarget(bvh), PARENTS)
    daz = {"Arm": "Shldr", "ForeArm": "ForeArm", "Hand": "Hand", "UpLeg": "Thigh", "Leg": "Shin", "Foot": "Foot"}
    positions = {}
    for j, joint in enumerate(bvh.joints):  # forward kinematics in the file's own skeleton
        local = bvh.rotation(j)
        turn, place = positions.get(joint.parent, (np.eye(3)[None], np.zeros((1, 3))))
        positions[j] = (turn @ local, place + turn @ joint.offset)
    for name in LIMBS:
        side, limb = ("Left", name[4:]) if name.startswith("Left") else ("Right", name[5:])
        start, end = (bvh.index(side[0].lower() + daz[part]) for part in (limb, ENDS[limb]))
        captured = positions[end][1] - positions[start][1]
        captured /= np.linalg.norm(captured, axis=1, keepdims=True)
        ours = turns[:, bone(name)] @ t_pose_direction(name)
        assert np.degrees(np.arccos(np.clip((ours * captured).sum(1), -1, 1))).max() < 0.5


@pytest.mark.parametrize("leave_out", ["LeftForeArm", "RightLeg", "Head"])
def test_a_missing_joint_is_named_with_its_file(leave_out):
    motion = np.zeros((2, 3 * len(CMU_JOINTS)))
    text = bvh_text(motion, leave_out=leave_out)
    columns = 3 * text.count("CHANNELS")
    text = text[: text.index("Frame Time")] + "Frame Time: 0.033\n" + "\n".join(["0 " * columns] * 2)
    with pytest.raises(UserError, match=f"walk.*{leave_out}"):
        retarget(parse_bvh(text, "walk"))


def test_a_skeleton_that_does_not_stand_at_rest_is_refused():
    joints = [(name, parent, (o[1], o[1], o[2])) for name, parent, o in CMU_JOINTS]
    with pytest.raises(UserError, match="does not stand"):
        retarget(parse_bvh(bvh_text(np.zeros((1, 3 * len(joints))), joints), "lying"))


def test_broken_motion_names_its_line():
    text = bvh_text(np.zeros((4, 3 * len(CMU_JOINTS))))
    lines = text.splitlines()
    lines[-2] = lines[-2].replace("0.0000", "zero", 1)
    with pytest.raises(UserError, match=f"walk: line {len(lines) - 1} "):
        parse_bvh("\n".join(lines), "walk")


def test_garbage_always_gives_a_user_error():
    rng = np.random.default_rng(2)
    good = bvh_text(np.zeros((3, 3 * len(CMU_JOINTS))))
    words = ["{", "}", "nan", "1e999", "-1", "JOINT", "End", "99999999999999999999", "\x00", "é", "CHANNELS", ""]
    for _ in range(400):
        text = good.split(" ")
        for _ in range(rng.integers(1, 4)):
            text[rng.integers(len(text))] = words[rng.integers(len(words))]
        text = " ".join(text)
        if rng.random() < 0.3:
            text = text[: rng.integers(len(text))]
        try:
            rotations = retarget(parse_bvh(text, "fuzz"))
        except UserError as error:
            assert "\n" not in str(error) and str(error).startswith("fuzz")
        else:
            assert np.isfinite(rotations).all()


def test_folders_and_archives_without_motion_are_refused(tmp_path):
    with pytest.raises(UserError, match="contains no .bvh"):
        load_pose_library(tmp_path)
    with pytest.raises(UserError, match="cannot read motion capture"):
        load_pose_library(tmp_path / "missing.zip")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(UserError, match="cannot read motion capture"):
        load_pose_library(tmp_path / "broken.zip")


def test_a_folder_and_a_zip_give_the_same_library(tmp_path):
    rng = np.random.default_rng(3)
    with zipfile.ZipFile(tmp_path / "motion.zip", "w") as archive:
        for i in range(4):
            text = bvh_text(rng.uniform(-20, 20, (5, 3 * len(CMU_JOINTS))))
            (tmp_path / f"m{i}.bvh").write_text(text)
            archive.writestr(f"m{i}.bvh", text)
    folder, zipped = load_pose_library(tmp_path), load_pose_library(tmp_path / "motion.zip")
    for split in SPLITS:
        assert folder.sequences(split) == zipped.sequences(split)
        pair = [library.sample(np.random.default_rng(4), split) for library in (folder, zipped)]
        np.testing.assert_array_equal(pair[0].rotations, pair[1].rotations)


def test_splits_share_no_sequence_and_do_not_depend_on_order():
    names = [f"s{i}" for i in range(30)]
    still = standing_still(2)
    library = PoseLibrary({name: still for name in names}, procedural_share=0)
    again = PoseLibrary({name: still for name in reversed(names)}, procedural_share=0)
    parts = [set(library.sequences(split)) for split in SPLITS]
    assert set.union(*parts) == set(names) and sum(map(len, parts)) == len(names)
    assert all(parts) and [set(again.sequences(split)) for split in SPLITS] == parts
    rng = np.random.default_rng(5)
    for split, part in zip(SPLITS, parts, strict=True):
        assert {library.sample(rng, split).sequence for _ in range(40)} <= part


def test_two_sequences_are_too_few_to_hold_any_out():
    library = PoseLibrary({"a": standing_still(2), "b": standing_still(2)}, procedural_share=0)
    assert library.sequences("train") == ("a", "b")
    with pytest.raises(UserError, match="at least three"):
        library.sample(np.random.default_rng(0), "test")


def test_yaw_is_uniform_and_half_of_the_poses_are_mirrored():
    rng = np.random.default_rng(6)
    library = PoseLibrary({}, procedural_share=1)
    samples = [library.sample(rng) for _ in range(600)]
    left = np.array([sample.rotations[bone("Hips")][:, 0] for sample in samples])
    heading = np.arctan2(-left[:, 2], left[:, 0])
    for harmonic in (1, 2, 3):  # of uniform angles these means are within 3 / sqrt(n)
        assert abs(np.exp(1j * harmonic * heading).mean()) < 3 / np.sqrt(len(samples))
    assert 0.4 < np.mean([sample.mirrored for sample in samples]) < 0.6


def test_standing_still_does_not_dominate():
    rng = np.random.default_rng(7)
    moving = retarget(parse_bvh(bvh_text(rng.uniform(-60, 60, (100, 3 * len(CMU_JOINTS)))), "moving"))
    library = PoseLibrary({"still": standing_still(2000), "moving": moving}, procedural_share=0)
    share = np.mean([library.sample(rng).sequence == "moving" for _ in range(300)])
    assert share > 0.7  # by frame it would be 0.05


def test_a_mirrored_pose_swaps_the_sides():
    local = random_rotations(np.random.default_rng(8))
    turns, mirrored = (rotation.to_global(pose, PARENTS) for pose in (local, mirror_pose(local)))
    flip = np.diag([-1, 1, 1])
    np.testing.assert_allclose(mirrored, flip @ turns[list(MIRROR)] @ flip, atol=1e-12)
    np.testing.assert_allclose(mirror_pose(mirror_pose(local)), local, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_poses_are_rotations_within_the_limits(kind):
    rng = np.random.default_rng(9)
    for _ in range(20):
        local = sample_kind(kind, rng)
        np.testing.assert_allclose(local @ np.swapaxes(local, 1, 2), np.tile(np.eye(3), (len(BONES), 1, 1)), atol=1e-9)
        for name, limit in LIMITS_DEG.items():
            for b in (b for b, full in enumerate(BONES) if full.endswith(name) and full != "LeftForeArm"):
                if BONES[b] in (name, f"Left{name}", f"Right{name}"):
                    assert np.degrees(np.linalg.norm(rotation.to_vector(local[b]))) < limit + 1e-6


def test_elbows_and_knees_do_not_bend_backward():
    rng = np.random.default_rng(10)
    hinges = {"LeftLeg": [1, 0, 0], "RightLeg": [1, 0, 0], "LeftForeArm": [0, -1, 0], "RightForeArm": [0, 1, 0]}
    for _ in range(50):
        local = perturb(sample_kind("standing", rng), rng)
        for name, axis in hinges.items():
            assert rotation.to_vector(local[bone(name)]) @ np.array(axis) > -1e-9


def test_straightened_legs_keep_the_foot_below_the_hip():
    local = np.tile(np.eye(3), (len(BONES), 1, 1))
    for side in ("Left", "Right"):
        local[bone(f"{side}UpLeg")] = rotation.about(np.array([1, 0, 0]), -0.3)
        local[bone(f"{side}Leg")] = rotation.about(np.array([1, 0, 0]), 0.6)
        local[bone(f"{side}Foot")] = rotation.about(np.array([1, 0, 0]), -0.3)
    straighten_legs(local, 1.0)
    turns = rotation.to_global(local, PARENTS)
    for name in ("LeftUpLeg", "LeftLeg", "LeftFoot", "RightUpLeg", "RightLeg", "RightFoot"):
        np.testing.assert_allclose(turns[bone(name)], np.eye(3), atol=1e-9)
