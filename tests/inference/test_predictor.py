"""The predictor's crops, on images of colored dots from which a model reads the joints."""

import json
import subprocess
import sys

import numpy as np
import pytest

import keras_pose
from keras_pose import PosePredictor, PoseTracker
from keras_pose.core.errors import UserError
from keras_pose.core.geometry import invert_affine
from tests.oracles import dot_model, dot_picture, standing_px

SIZE = (480, 640)


def crop_height_px(result):
    """Height in the image of the crop that the model saw, 256 pixels tall."""
    return 256 * invert_affine(result.crop_affine)[1, 1]


def test_importing_the_package_does_not_load_tensorflow():
    code = "import sys, keras_pose; keras_pose.PosePredictor; print('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        keras_pose.Nothing  # noqa: B018


@pytest.mark.parametrize("centre", [(320, 220), (90, 330), (560, 120)])
def test_second_pass_follows_the_joints(centre):
    """A small person anywhere: found to a fraction of a pixel, from a crop of the person's own size."""
    truth = standing_px(centre, 200)
    predictor = PosePredictor(dot_model())
    result = predictor(dot_picture(truth, SIZE))
    assert np.abs(result.keypoints_px - truth).max() < 0.6
    assert len(predictor.model.run.crops) == 2
    height = np.ptp(truth[:, 1])
    assert crop_height_px(result) == pytest.approx(1.25 * height, rel=0.02)


def test_first_pass_shows_the_whole_image_unstretched():
    predictor = PosePredictor(dot_model())
    predictor(dot_picture(standing_px((5, 220), 300), SIZE) | np.uint8(1))
    first = predictor.model.run.crops[0][0]
    rows, columns = np.nonzero(first.any(-1))
    assert np.ptp(columns) == 191 and np.ptp(rows) + 1 == pytest.approx(192 * SIZE[0] / SIZE[1], abs=2)


def test_a_box_means_one_pass():
    truth = standing_px((320, 240), 300)
    predictor = PosePredictor(dot_model())
    box = (*truth.min(0), *truth.max(0))
    result = predictor(dot_picture(truth, SIZE), box=box)
    assert len(predictor.model.run.crops) == 1
    assert np.abs(result.keypoints_px - truth).max() < 0.6


def test_joints_on_one_spot_do_not_zoom_without_end():
    """Black images: all joints in the middle. The second crop is an eighth of the first, with its margin."""
    predictor = PosePredictor(dot_model())
    result = predictor(np.zeros((*SIZE, 3), np.uint8))
    first_height = 256 * SIZE[1] / 192
    assert crop_height_px(result) == pytest.approx(1.25 * first_height / 8 * 256 / 192, rel=0.01)


def test_several_images_equal_one_by_one():
    truths = [standing_px((200, 240), 250), standing_px((400, 200), 180), standing_px((300, 250), 300)]
    pictures = [dot_picture(truth, (480 + 10 * i, 640)) for i, truth in enumerate(truths)]
    boxes = [None, (300, 50, 500, 350), None]
    predictor = PosePredictor(dot_model())
    together = predictor.predict(pictures, boxes)
    assert [len(crops) for crops in predictor.model.run.crops] == [3, 2]
    for result, picture, box in zip(together, pictures, boxes, strict=True):
        alone = predictor(picture, box)
        assert np.array_equal(result.keypoints_px, alone.keypoints_px)
        assert np.array_equal(result.crop_affine, alone.crop_affine)
    assert predictor.predict([]) == []
    stacked = np.stack([pictures[0]] * 2)
    assert np.array_equal(predictor.predict(stacked)[1].keypoints_px, predictor(pictures[0]).keypoints_px)


def test_result_as_json_has_units():
    result = PosePredictor(dot_model())(dot_picture(standing_px((320, 240), 300), SIZE))
    values = json.loads(json.dumps(result.to_dict()))
    assert {"keypoints_px", "scores", "pose_3d_mm"} == set(values["units"])
    assert np.shape(values["keypoints_px"]) == (17, 2) and np.shape(values["pose_3d_mm"]) == (17, 3)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 4), "u1")]
)
def test_anything_but_an_image_is_refused(image):
    with pytest.raises(UserError, match="uint8 RGB"):
        PosePredictor(dot_model())(image)


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (5, 0, 1, 9), (0, 0, np.nan, 1), (1, 2, 3)])
def test_an_invalid_box_is_refused(box):
    with pytest.raises(UserError, match="x0 < x1"):
        PosePredictor(dot_model())(np.zeros((9, 9, 3), np.uint8), box)


def test_tracker_follows_loses_and_finds_again():
    tracker = PoseTracker(PosePredictor(dot_model()))
    crops = tracker.predictor.model.run.crops
    truths = [standing_px((200 + 12 * t, 240), 250) for t in range(6)]
    for t, truth in enumerate(truths):
        result = tracker(dot_picture(truth, SIZE), t / 30)
        assert crop_height_px(result) < 340
        assert np.abs(result.keypoints_px - truth).max() < 25  # the filter lags
    assert len(crops) == 2 + 5
    lost = tracker(np.zeros((*SIZE, 3), np.uint8), 6 / 30)
    assert lost.scores.max() == 0
    truth = standing_px((450, 200), 200)
    found = tracker(dot_picture(truth, SIZE), 7 / 30)
    assert len(crops) == 2 + 5 + 1 + 2
    assert np.abs(found.keypoints_px - truth).max() < 0.6  # the filters forgot the time before


def test_tracker_smooths_but_does_not_shift():
    rng = np.random.default_rng(0)
    tracker = PoseTracker(PosePredictor(dot_model()))
    truth = standing_px((320, 240), 300)
    shown = truth + rng.normal(0, 3, (40, 17, 2))
    followed = np.array([tracker(dot_picture(s, SIZE), t / 30).keypoints_px for t, s in enumerate(shown)])
    assert followed[10:].std(0).mean() < 0.6 * shown[10:].std(0).mean()
    assert np.abs(followed[10:].mean(0) - truth).max() < 3
