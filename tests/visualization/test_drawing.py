"""Laws of the drawings, on non-square images."""

import cv2
import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17, LSP_14
from keras_pose.visualization import drawing
from tests.poses import STANDING_MM


def _changed(before, after):
    return np.argwhere((before != after).any(-1))


@pytest.fixture
def black():
    return np.zeros((120, 200, 3), np.uint8)


def _one_joint(x, y):
    """Only joint 0 is valid, at (x, y)."""
    keypoints = np.zeros((14, 2))
    keypoints[0] = (x, y)
    return keypoints, np.arange(14) == 0


def test_a_joint_is_drawn_around_its_pixel_center(black):
    keypoints, valid = _one_joint(150.5, 30.5)
    rows, columns = _changed(black, drawing.draw_keypoints(black, keypoints, LSP_14, valid)).T
    assert rows.mean() == pytest.approx(30, abs=0.25) and columns.mean() == pytest.approx(150, abs=0.25)


def test_input_is_left_as_it_was_and_invalid_joints_are_not_drawn(black):
    keypoints, _ = _one_joint(50, 50)
    drawn = drawing.draw_keypoints(black, keypoints, LSP_14, np.zeros(14, bool))
    assert not drawn.any() and not black.any()
    keypoints[:] = np.nan
    assert not drawing.draw_keypoints(black, keypoints, LSP_14).any()


def test_far_points_do_not_break_the_drawing(black):
    assert drawing.draw_keypoints(black, np.full((14, 2), 1e9), LSP_14).shape == black.shape


def test_of_the_truth_only_valid_joints_are_drawn(black):
    keypoints = np.full((17, 2), np.nan)

    def draw(true_pose, valid):
        truth = {"true_pose_3d_mm": true_pose, "true_pose_valid": valid}
        return drawing.draw_result(black, keypoints, STANDING_MM, HUMAN36M_17, 120, **truth)

    arms = np.array([name.endswith(("elbow", "wrist")) for name in HUMAN36M_17.joint_names])
    raised = STANDING_MM + np.where(arms[:, None], [0, -700, 0], 0)
    assert np.array_equal(draw(raised, ~arms), draw(np.where(arms[:, None], 9e5, STANDING_MM), ~arms))
    assert not np.array_equal(draw(raised, arms), draw(raised, ~arms))
    assert np.array_equal(draw(raised, np.zeros(17, bool)), draw(None, None))


def test_min_height_enlarges_only_small_images(black):
    keypoints, valid = _one_joint(150, 30)
    drawn = drawing.draw_keypoints(black, keypoints, LSP_14, valid, min_height=240)
    assert drawn.shape == (240, 400, 3)
    rows, columns = np.argwhere(drawn.any(-1)).T
    assert rows.mean() == pytest.approx(59.5, abs=0.6) and columns.mean() == pytest.approx(299.5, abs=0.6)
    assert drawing.draw_keypoints(black, keypoints, LSP_14, valid, min_height=50).shape == black.shape


def test_left_is_blue_and_right_is_orange():
    keypoints = np.full((14, 2), 10.0)
    for name, dominant in (("left_knee", 2), ("right_knee", 0)):
        canvas = np.zeros((40, 60, 3), np.uint8)
        drawn = drawing.draw_keypoints(canvas, keypoints, LSP_14, np.arange(14) == LSP_14.index(name))
        assert drawn.reshape(-1, 3).max(0).argmax() == dominant


def test_low_scores_draw_fewer_pixels(black):
    keypoints = np.stack([np.linspace(20, 180, 14), np.linspace(10, 110, 14)], -1)
    big = cv2.resize(black, (2000, 1200))
    sure = drawing.draw_keypoints(big, keypoints * 10, LSP_14, scores=np.ones(14))
    unsure = drawing.draw_keypoints(big, keypoints * 10, LSP_14, scores=np.zeros(14))
    assert unsure.any(-1).sum() < sure.any(-1).sum()


def test_wrong_joint_count_names_the_skeleton(black):
    with pytest.raises(UserError, match="lsp_14"):
        drawing.draw_keypoints(black, np.zeros((17, 2)), LSP_14)


def _side_pixels(image, side):
    distance = np.abs(image.astype(int) - np.array(drawing.LIMBS[side])).sum(-1)
    return np.argwhere(distance < 40)


def test_the_right_limbs_of_a_person_facing_the_camera_are_on_the_images_left():
    front = drawing.draw_pose_3d(STANDING_MM, HUMAN36M_17, (300, 200))
    assert front.shape == (300, 200, 3)
    assert _side_pixels(front, "right")[:, 1].mean() < 90 < 110 < _side_pixels(front, "left")[:, 1].mean()
    behind = drawing.draw_pose_3d(STANDING_MM, HUMAN36M_17, (300, 200), yaw_deg=180)
    assert _side_pixels(behind, "left")[:, 1].mean() < _side_pixels(behind, "right")[:, 1].mean()


def test_from_the_side_depth_runs_to_the_right():
    """A right hand stretched away from the camera is on the right of the side view, unseen in the front view."""
    pose = STANDING_MM.copy()
    pose[HUMAN36M_17.index("right_wrist")] += [0, 0, 700]
    side = drawing.draw_pose_3d(pose, HUMAN36M_17, (300, 300), yaw_deg=90)
    assert _side_pixels(side, "right")[:, 1].max() - _side_pixels(side, "left")[:, 1].max() > 50


def test_unknown_joints_are_left_out_in_3d():
    pose = STANDING_MM.copy()
    pose[[name.startswith("right") for name in HUMAN36M_17.joint_names]] = np.nan
    drawn = drawing.draw_pose_3d(pose, HUMAN36M_17, (200, 150))
    assert len(_side_pixels(drawn, "left")) > 20 and len(_side_pixels(drawn, "right")) == 0


def test_an_unknown_pose_is_an_empty_floor():
    drawn = drawing.draw_pose_3d(np.full((17, 3), np.nan), HUMAN36M_17, (200, 150))
    assert drawn.shape == (200, 150, 3) and not len(_side_pixels(drawn, "left")) + len(_side_pixels(drawn, "right"))


def test_the_truth_is_drawn_in_gray_behind():
    alone = drawing.draw_pose_3d(STANDING_MM, HUMAN36M_17, (200, 200))
    with_truth = drawing.draw_pose_3d(STANDING_MM, HUMAN36M_17, (200, 200), reference_mm=STANDING_MM * [0.5, 1, 1])
    grey = np.array(drawing.GHOST["left"])
    assert (with_truth == grey).all(-1).sum() > 5 * (alone == grey).all(-1).sum() + 20


def test_contact_sheet_keeps_every_image_complete():
    pictures = [np.full((10 + 5 * i, 40 - 3 * i, 3), 10 * i, np.uint8) for i in range(1, 6)]
    sheet = drawing.contact_sheet(pictures, columns=2, titles=["a"] * 5)
    for picture in pictures:
        assert (sheet == picture[0, 0]).all(-1).sum() >= picture.shape[0] * picture.shape[1]
    assert drawing.contact_sheet(pictures[:1], columns=4).shape[1] == 37 + 8
    with pytest.raises(UserError, match="at least one"):
        drawing.contact_sheet([], 3)


def test_png_reads_back_equal(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (7, 9, 3), np.uint8)
    drawing.save_png(tmp_path / "new" / "a.png", image)
    assert (cv2.imread(str(tmp_path / "new" / "a.png"))[..., ::-1] == image).all()
    assert drawing.fit_height(image, 14).shape == (14, 18, 3)
