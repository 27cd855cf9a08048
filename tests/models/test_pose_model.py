import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import COCO_17, HUMAN36M_17, MPII_16
from keras_pose.models.pose_model import (
    PoseModelConfig,
    PoseStatistics,
    build_keypoint_model,
    build_lifter,
    build_pose_model,
)

CONFIG = PoseModelConfig("w8_tiny", input_size=(64, 96), width=32, soft_argmax_beta=50, dropout=0.25)


@pytest.fixture(scope="module")
def model(statistics):
    return build_pose_model(CONFIG, statistics)


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (2, 64, 96, 3)).astype(np.uint8)


def test_outputs(model, image):
    outputs = model(image)
    shapes = {"heatmaps": (2, 16, 24, 17), "keypoints_2d": (2, 17, 2), "pose_3d": (2, 17, 3)}
    shapes["reprojected_2d"] = (2, 17, 2)
    assert {name: tuple(value.shape) for name, value in outputs.items()} == shapes


def test_parts_are_separate_models(model, image):
    outputs = model(image)
    np.testing.assert_array_equal(model.get_layer("hrnet")(image), outputs["heatmaps"])
    np.testing.assert_array_equal(model.get_layer("encoder")(outputs["keypoints_2d"]), outputs["pose_3d"])
    reprojected = model.get_layer("decoder")([outputs["pose_3d"], outputs["keypoints_2d"]])
    np.testing.assert_array_equal(reprojected, outputs["reprojected_2d"])


def test_parts_built_alone_have_the_same_weights(model, statistics, image):
    keypoint_model, lifter = build_keypoint_model(CONFIG), build_lifter(CONFIG, statistics)
    for part in (keypoint_model.get_layer("hrnet"), lifter.get_layer("encoder"), lifter.get_layer("decoder")):
        part.set_weights(model.get_layer(part.name).get_weights())
    outputs, keypoints = model(image), keypoint_model(image)
    for name, value in {**keypoints, **lifter(keypoints["keypoints_2d"])}.items():
        np.testing.assert_array_equal(value, outputs[name])


def test_gradient_reaches_hrnet_from_every_output(model, image):
    kernel = model.get_layer("hrnet").get_layer("conv1").kernel
    with tf.GradientTape(persistent=True) as tape:
        totals = {name: tf.reduce_sum(value**2) for name, value in model(image, training=True).items()}
    for name, total in totals.items():
        gradient = tape.gradient(total, kernel.value).numpy()
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, name


def test_without_skip_connection(statistics, image):
    config = PoseModelConfig("w8_tiny", input_size=(64, 96), width=32, skip_connection=False)
    model = build_pose_model(config, statistics)
    outputs = model(image)
    np.testing.assert_array_equal(model.get_layer("decoder")(outputs["pose_3d"]), outputs["reprojected_2d"])


def test_mixed_precision_gives_float32(precision, statistics, image):
    model = build_pose_model(CONFIG, statistics)
    assert {value.dtype for value in model(image, training=True).values()} == {tf.float32}
    assert model.get_layer("hrnet").get_layer("conv2").compute_dtype == keras.config.dtype_policy().compute_dtype


def test_save_and_load(model, image, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for name, value in loaded(image).items():
        np.testing.assert_array_equal(value, model(image)[name])


def test_fixed_batch(statistics):
    assert build_pose_model(CONFIG, statistics, batch_size=1).output["pose_3d"].shape == (1, 17, 3)


@pytest.mark.parametrize("skeleton", ["mpii_16", HUMAN36M_17.to_dict()])
def test_configuration_through_json(skeleton):
    config = PoseModelConfig("w48", skeleton, (256, 192), 20.0, "flat", True, 512, 0.1, False, 0.2)
    again = PoseModelConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config and again.get_skeleton() == (MPII_16 if skeleton == "mpii_16" else HUMAN36M_17)


def test_statistics_through_json(statistics):
    again = PoseStatistics.from_dict(json.loads(json.dumps(statistics.to_dict())))
    for name, value in again.to_dict().items():
        assert value == statistics.to_dict()[name]


def test_bad_configurations(statistics):
    with pytest.raises(UserError, match="unknown HRNet variant"):
        PoseModelConfig("w99")
    with pytest.raises(UserError, match="multiples of 32"):
        PoseModelConfig(input_size=(100, 100))
    with pytest.raises(UserError, match="left/right inhibition is 1.5"):
        build_keypoint_model(PoseModelConfig("w8_tiny", input_size=(64, 64), left_right_inhibition=1.5))
    with pytest.raises(UserError, match="dropout"):
        PoseModelConfig(dropout=1.0)
    with pytest.raises(UserError, match="width"):
        PoseModelConfig(width=0)
    with pytest.raises(UserError, match="unknown color"):
        PoseModelConfig.from_dict({"color": 1})
    with pytest.raises(UserError, match="no root joint"):
        build_lifter(PoseModelConfig("w8_tiny", COCO_17.name), statistics)
    with pytest.raises(UserError, match="statistics have 17 joints, mpii_16 has 16"):
        build_pose_model(PoseModelConfig("w8_tiny", "mpii_16"), statistics)


def test_bad_statistics(statistics):
    values = statistics.to_dict()
    with pytest.raises(UserError, match="lack pose_3d_std"):
        PoseStatistics.from_dict({k: v for k, v in values.items() if k != "pose_3d_std"})
    with pytest.raises(UserError, match="pose_3d_mean must be finite"):
        PoseStatistics.from_dict({**values, "pose_3d_mean": np.full((17, 3), np.nan).tolist()})
