import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import COCO_17, HUMAN36M_17, LSP_14, SKELETONS, Skeleton, get_skeleton, map_joints


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda s: s.name)
def test_every_skeleton_is_valid(skeleton):
    mirror = np.array(skeleton.flip_permutation)
    assert (mirror[mirror] == np.arange(skeleton.num_joints)).all()
    left = sum(name.startswith("left_") for name in skeleton.joint_names)
    right = sum(name.startswith("right_") for name in skeleton.joint_names)
    assert len(skeleton.left_right_pairs) == left == right
    assert skeleton.num_joints == int(skeleton.name.rsplit("_", 1)[1])
    assert Skeleton.from_dict(skeleton.to_dict()) == skeleton
    for joint in range(skeleton.num_joints):  # every joint reaches the top of a tree
        steps = 0
        while skeleton.parents[joint] >= 0:
            joint, steps = skeleton.parents[joint], steps + 1
            assert steps < skeleton.num_joints


def test_human36m_has_the_published_pairs_and_bones():
    assert {frozenset(p) for p in HUMAN36M_17.left_right_pairs} == {
        frozenset(p) for p in [(1, 4), (2, 5), (3, 6), (11, 14), (12, 15), (13, 16)]
    }
    assert len(HUMAN36M_17.symmetric_bones) == 6
    assert ((4, 5), (1, 2)) in HUMAN36M_17.symmetric_bones


def test_mapping_goes_by_name_and_never_guesses():
    rng = np.random.default_rng(1)
    joints = rng.normal(size=(5, 17, 3))
    mapped, valid = map_joints(joints, np.ones((5, 17), bool), HUMAN36M_17, LSP_14)
    assert valid.all()
    for name in ("left_ankle", "right_wrist", "head_top"):
        np.testing.assert_array_equal(mapped[:, LSP_14.index(name)], joints[:, HUMAN36M_17.index(name)])
    mapped, valid = map_joints(joints, np.ones((5, 17), bool), COCO_17, HUMAN36M_17)
    lacking = {n for n, v in zip(HUMAN36M_17.joint_names, valid[0], strict=True) if not v}
    assert lacking == {"spine", "thorax", "neck_nose", "head_top"}
    hips = joints[:, [COCO_17.index("left_hip"), COCO_17.index("right_hip")]].mean(1)
    np.testing.assert_allclose(mapped[:, 0], hips)


def test_an_invalid_joint_stays_invalid():
    valid = np.ones((1, 17), bool)
    valid[0, COCO_17.index("left_hip")] = False
    _, mapped_valid = map_joints(np.ones((1, 17, 2)), valid, COCO_17, HUMAN36M_17)
    assert not mapped_valid[0, HUMAN36M_17.index("left_hip")]
    assert not mapped_valid[0, HUMAN36M_17.index("pelvis")]
    assert mapped_valid[0, HUMAN36M_17.index("right_hip")]


def test_errors_name_the_fix():
    with pytest.raises(UserError, match="human36m_17"):
        get_skeleton("human36m")
    with pytest.raises(UserError, match="left_wrist"):
        HUMAN36M_17.index("left_hand")
    with pytest.raises(UserError, match="17 joints"):
        map_joints(np.ones((14, 2)), np.ones(14), HUMAN36M_17, LSP_14)
    with pytest.raises(UserError, match="parents"):
        Skeleton("own", ("a", "b"), (-1, 7))
    with pytest.raises(UserError, match="parents form a cycle"):
        Skeleton("own", ("a", "b", "c"), (1, 0, 0))
    with pytest.raises(UserError, match="parents"):
        Skeleton.from_dict({"name": "own", "joint_names": ["a"]})
