"""Laws of the way from a labelled person to an example, and of reading videos."""

from dataclasses import replace

import numpy as np

from keras_pose.core import geometry
from keras_pose.core.skeleton import COCO_17, HUMAN36M_17, LSP_14, MPII_16
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


def test_unlabelled_joints_may_be_nan_and_stay_invalid():
    example = crop_person(None, labelled(slice(3, 9)), HUMAN36M_17, HUMAN36M_17, toy.SMALL).validate()
    assert list(np.flatnonzero(example.keypoint_valid)) == list(range(3, 9))


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


def test_pictures_that_shrink_are_smoothed_unless_told():
    picture = np.random.default_rng(0).integers(0, 256, (400, 400, 3)).astype(np.uint8)
    person = labelled(box_px=np.array([10.0, 10, 390, 390]))
    smooth, sharp = (
        crop_person(picture, person, HUMAN36M_17, HUMAN36M_17, replace(toy.SMALL, smooth=smooth)).decode_image()
        for smooth in (True, False)
    )
    inside = slice(40, 56), slice(24, 40)
    assert smooth[inside].std() < 0.6 * sharp[inside].std()


def test_no_label_at_all_is_a_bad_frame():
    bad = crop_person(None, labelled(slice(0, 0)), HUMAN36M_17, HUMAN36M_17, toy.SMALL)
    assert "no joint is labelled" in bad.why


def test_video_frames_are_counted_from_the_start(tmp_path):
    """Also frames that are not read; and past the end there are none."""
    values = [20, 60, 100, 140, 180]
    toy.write_video(tmp_path / "a.avi", [np.full((48, 64, 3), v, np.uint8) for v in values], codec="MJPG")
    read = dict(base.read_video(tmp_path / "a.avi", [1, 2, 4, 5, 9]))
    assert [abs(read[t].mean() - values[t]) < 3 for t in (1, 2, 4)] == [True] * 3
    assert read[5] is None and read[9] is None
