"""Laws for turning a labeled person into an example, and for reading videos."""

from dataclasses import replace

import numpy as np
import pytest

from keras_pose.core import geometry
from keras_pose.core.skeleton import BLAZEPOSE_18, COCO_17, HUMAN36M_17, LSP_14, MPII_16
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.data.sources import base
from keras_pose.data.sources.crop import Person, crop_person
from tests.data.sources import toy

TAGS = {"source": "toy", "subject": "", "action": "", "frame": 0}


def labelled(valid=slice(None), **more):
    keypoints = np.random.default_rng(1).uniform(20, 80, (17, 2))
    mask = np.zeros(17, bool)
    mask[valid] = True
    return Person(np.where(mask[:, None], keypoints, np.nan), mask, tags=TAGS, **more)


def test_joints_that_a_format_lacks_are_invalid_and_zero():
    example = crop_person(None, labelled(), COCO_17, MPII_16, toy.SMALL)
    lacking = [MPII_16.index(name) for name in ("thorax", "upper_neck", "head_top")]
    assert not example.keypoint_valid[lacking].any() and not example.keypoints_2d_px[lacking].any()
    assert example.keypoint_valid.sum() == 13 and not example.has_pose_3d


def test_unlabeled_joints_may_be_nan_and_stay_invalid():
    example = crop_person(None, labelled(slice(3, 9)), HUMAN36M_17, HUMAN36M_17, toy.SMALL).validate()
    assert list(np.flatnonzero(example.keypoint_valid)) == list(range(3, 9))


# --- 3D joint by joint -----------------------------------------------------------------------------------------

INTRINSICS = np.array([[300.0, 0, 50], [0, 310, 60], [0, 0, 1]])


def seen(skeleton, unlabelled=(), **more):
    """A person with all of the skeleton's joints before a camera; joints without a 3D label are NaN."""
    camera_mm = np.random.default_rng(2).uniform([-400, -800, 3000], [400, 800, 3600], (skeleton.num_joints, 3))
    pixels = geometry.project_points(camera_mm, INTRINSICS)
    valid = ~np.isin(skeleton.joint_names, unlabelled)
    camera_mm[~valid] = np.nan
    person = Person(pixels, np.ones(len(pixels), bool), camera_mm=camera_mm, camera_valid=valid, tags=TAGS)
    person.intrinsics = INTRINSICS
    return replace(person, **more)


def test_joints_that_both_label_in_3d_keep_it():
    """BlazePose has 13 of Human3.6M's 17 joints; they project onto their 2D labels."""
    person = seen(BLAZEPOSE_18)
    example = crop_person(None, person, BLAZEPOSE_18, HUMAN36M_17, toy.SMALL).validate()
    lacking = [HUMAN36M_17.index(name) for name in ("spine", "thorax", "neck_nose", "head_top")]
    np.testing.assert_array_equal(np.flatnonzero(~example.pose_3d_valid), lacking)
    assert not example.pose_3d_mm[lacking].any()
    wrist = HUMAN36M_17.index("left_wrist")
    expected = person.camera_mm[BLAZEPOSE_18.index("left_wrist")] - person.camera_mm[BLAZEPOSE_18.root]
    np.testing.assert_allclose(example.pose_3d_mm[wrist], expected, atol=1e-3)
    projected = geometry.project_points(example.pose_3d_mm + example.root_position_mm, example.intrinsics)
    off = np.abs(projected - example.keypoints_2d_px).max(-1)
    assert off[example.pose_3d_valid].max() < 1e-3 < off[lacking].min()


@pytest.mark.parametrize(
    ("source", "target", "unlabelled", "count"),
    [
        (HUMAN36M_17, HUMAN36M_17, (), 17),
        (HUMAN36M_17, HUMAN36M_17, ("left_wrist", "head_top"), 15),
        (HUMAN36M_17, HUMAN36M_17, ("pelvis",), 0),  # the root
        (HUMAN36M_17, HUMAN36M_17, HUMAN36M_17.joint_names[1:], 0),  # all but the root
        (COCO_17, HUMAN36M_17, ("left_ankle",), 12),  # the hips' middle is the root
        (COCO_17, HUMAN36M_17, ("left_hip",), 0),
        (HUMAN36M_17, MPII_16, (), 15),
        (HUMAN36M_17, LSP_14, (), 0),  # no root at all
    ],
)
def test_joints_without_a_counterpart_have_no_3d(source, target, unlabelled, count):
    example = crop_person(None, seen(source, unlabelled), source, target, toy.SMALL).validate()
    assert example.pose_3d_valid.sum() == count and example.has_pose_3d == (count > 0)
    assert not example.pose_3d_mm[~example.pose_3d_valid].any()
    if not count:
        assert not example.root_position_mm.any() and np.array_equal(example.intrinsics, np.eye(3))


@pytest.mark.parametrize(("place", "why"), [([0, 0, -1], "behind the camera"), ([0, np.nan, 3000], "NaN")])
def test_bad_numbers_count_where_they_are_labels(place, why):
    person = seen(HUMAN36M_17, ("left_wrist",))
    for joint, is_bad in (("left_wrist", False), ("left_elbow", True)):
        camera_mm = person.camera_mm.copy()
        camera_mm[HUMAN36M_17.index(joint)] = place
        found = crop_person(None, replace(person, camera_mm=camera_mm), HUMAN36M_17, HUMAN36M_17, toy.SMALL)
        assert isinstance(found, BadFrame) == is_bad
    assert why in found.why


# --- crops -----------------------------------------------------------------------------------------------------


def test_hidden_joints_follow_their_names():
    hidden = np.arange(17) == HUMAN36M_17.index("left_knee")
    example = crop_person(None, labelled(hidden=hidden), HUMAN36M_17, LSP_14, toy.SMALL)
    assert list(np.flatnonzero(example.keypoint_hidden)) == [LSP_14.index("left_knee")]


def test_the_box_decides_the_crop():
    box = np.array([10.0, 10, 90, 50])
    example = crop_person(None, labelled(box_px=box), HUMAN36M_17, HUMAN36M_17, toy.SMALL)
    center, size = geometry.box_crop(box, (96, 64), 1.25)
    expected = (labelled().keypoints_px - center) * 96 / size[0] + [32, 48]
    np.testing.assert_allclose(example.keypoints_2d_px, expected, atol=1e-4)


def test_images_that_shrink_are_smoothed_unless_disabled():
    picture = np.random.default_rng(0).integers(0, 256, (400, 400, 3)).astype(np.uint8)
    person = labelled(box_px=np.array([10.0, 10, 390, 390]))
    smooth, sharp = (
        crop_person(picture, person, HUMAN36M_17, HUMAN36M_17, replace(toy.SMALL, smooth=smooth)).decode_image()
        for smooth in (True, False)
    )
    inside = slice(40, 56), slice(24, 40)
    assert smooth[inside].std() < 0.6 * sharp[inside].std()


def test_a_frame_without_labels_is_bad():
    bad = crop_person(None, labelled(slice(0, 0)), HUMAN36M_17, HUMAN36M_17, toy.SMALL)
    assert "no joint is labeled" in bad.why


def test_video_frames_are_counted_from_the_start(tmp_path):
    """Including frames that are not read; after the last one there are none."""
    values = [20, 60, 100, 140, 180]
    toy.write_video(tmp_path / "a.avi", [np.full((48, 64, 3), v, np.uint8) for v in values], codec="MJPG")
    read = dict(base.read_video(tmp_path / "a.avi", [1, 2, 4, 5, 9]))
    assert [abs(read[t].mean() - values[t]) < 3 for t in (1, 2, 4)] == [True] * 3
    assert read[5] is None and read[9] is None
