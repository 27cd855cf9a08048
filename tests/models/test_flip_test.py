"""The flip test inside a model."""

import keras
import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.inference.predictor import PosePredictor
from keras_pose.io.model_info import ModelInfo
from keras_pose.models.decoders import flip_average
from keras_pose.models.flip_test import mirrored, mirrored_heatmaps, with_flip_test
from keras_pose.models.model_folder import write_model
from keras_pose.models.pose_model import PoseModelConfig, build_keypoint_model, build_lifter, build_pose_model

CONFIG = PoseModelConfig("w8_tiny", input_size=(64, 96), soft_argmax_beta=10, soft_argmax_relative=True, width=16)
MIRROR = list(HUMAN36M_17.flip_permutation)


@pytest.fixture(scope="module")
def model(statistics):
    keras.utils.set_random_seed(3)
    built, rng = build_pose_model(CONFIG, statistics), np.random.default_rng(3)
    for variable in built.trainable_variables:  # initial weights are so small that all images give the same
        variable.assign(variable + rng.normal(0, 0.05, variable.shape))
    return built


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 64, 96, 3)).astype(np.float32)


def test_mirroring_is_exact(images):
    assert np.array_equal(mirrored(images), images[:, :, ::-1])
    heatmaps = np.random.default_rng(1).normal(size=(2, 16, 24, 17)).astype(np.float32)
    assert np.array_equal(mirrored_heatmaps(heatmaps, HUMAN36M_17), heatmaps[:, :, ::-1][..., MIRROR])


def test_joints_and_poses_are_read_from_the_mean_of_both_views(model, images):
    both = with_flip_test(model, HUMAN36M_17)(images)
    heatmaps = [np.asarray(model(seen)["heatmaps"]) for seen in (images, images[:, :, ::-1])]
    np.testing.assert_allclose(both["heatmaps"], flip_average(*heatmaps, HUMAN36M_17), atol=1e-5)
    keypoints_2d = model.get_layer("soft_argmax")(np.asarray(both["heatmaps"]))
    np.testing.assert_allclose(both["keypoints_2d"], keypoints_2d, atol=1e-5)
    pose_3d = model.get_layer("encoder")(keypoints_2d)
    np.testing.assert_allclose(both["pose_3d"], pose_3d, atol=0.05)
    reprojected = model.get_layer("decoder")([pose_3d, keypoints_2d])
    np.testing.assert_allclose(both["reprojected_2d"], reprojected, atol=1e-4)
    assert both.keys() == model.output.keys()


def test_a_mirrored_image_gives_mirrored_joints(model, images):
    """Which the network alone does not."""
    tested = with_flip_test(model, HUMAN36M_17)

    def difference(network):
        seen, turned = (np.asarray(network(x)["keypoints_2d"]) for x in (images, images[:, :, ::-1]))
        return np.abs(turned[:, MIRROR] * [-1, 1] + [1, 0] - seen).max()

    assert difference(tested) < 1e-4 < 1e-3 < difference(model)


def test_every_kind_of_model(images, statistics):
    assert with_flip_test(build_keypoint_model(CONFIG), HUMAN36M_17)(images).keys() == {"heatmaps", "keypoints_2d"}
    with pytest.raises(UserError, match="lifter sees no image.*leave the flip test out"):
        with_flip_test(build_lifter(CONFIG, statistics), HUMAN36M_17)


def test_a_predictor_of_a_run_sees_both_views_by_default(model, statistics, images, tmp_path):
    info = ModelInfo("pose", HUMAN36M_17, (64, 96), statistics=statistics.to_dict(), model=CONFIG.to_dict())
    (tmp_path / "run").mkdir()
    write_model(tmp_path / "run", model, info)
    image = images[0].astype(np.uint8)

    def difference(**options):
        predict = PosePredictor(tmp_path / "run", finder=None, **options)
        seen, turned = (predict(x, (0, 0, 96, 64)).keypoints_px for x in (image, image[:, ::-1].copy()))
        return np.abs(turned[MIRROR] * [-1, 1] + [96, 0] - seen).max()

    assert difference() == difference(flip_test=True) < 0.01 < 0.1 < difference(flip_test=False)
    (tmp_path / "pose.tflite").write_bytes(b"")
    with pytest.raises(UserError, match="pose.tflite is no run.*export a run with --flip_test"):
        PosePredictor(tmp_path / "pose.tflite", flip_test=True)
    with pytest.raises(UserError, match="no model 'fone'"):
        PosePredictor("fone", flip_test=True)
