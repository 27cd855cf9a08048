"""Shipped weights: rounded, compressed, and found by name."""

import hashlib
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_pose import ship
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import COCO_17, HUMAN36M_17
from keras_pose.io.finder_info import FinderInfo
from keras_pose.io.model_info import ModelInfo
from keras_pose.models import model_folder
from keras_pose.models.pose_model import PoseModelConfig, build_keypoint_model
from keras_pose.training import run_folder
from keras_pose.weights import FINDER, SHIPPED_WEIGHTS
from tests.io.test_model_info import EXPORT


def write_run(folder, skeleton=HUMAN36M_17):
    """A run of a small backbone that was not trained, and its model."""
    config = PoseModelConfig(variant="w8_tiny", skeleton=skeleton.to_dict(), input_size=(64, 96), width=16)
    model = build_keypoint_model(config)
    folder.mkdir()
    info = ModelInfo("keypoints", skeleton, (64, 96), data={"dataset": "some/where:0.7,embedded:0.3"})
    model_folder.write_model(folder, model, info)
    (folder / run_folder.RESOLVED_FLAGS).write_text("--dataset=some/where\n--seed=3\n")
    return model


@pytest.mark.parametrize(("shape", "bits"), [((1, 1), 6), ((1,), 11)])
@settings(deadline=None)
@given(value=st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_rounding_keeps_six_bits_of_kernels_and_eleven_of_vectors(value, shape, bits):
    weights = np.full(shape, value, np.float32)
    rounded = ship.round_weights(weights)
    assert abs(rounded.item() - np.float64(value)) <= abs(np.float64(value)) * 2.0**-bits
    assert abs(value) > 3.3e38 or rounded.view(np.uint32).item() % (1 << (24 - bits)) == 0
    np.testing.assert_array_equal(ship.round_weights(rounded), rounded)


def test_what_ships_is_smaller_and_nearly_the_same(tmp_path):
    model = write_run(tmp_path / "run")
    ship.ship(tmp_path / "run", tmp_path / "small", "embedded")
    loaded, info = model_folder.load_run(tmp_path / "small")
    image = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3)).astype("float32")
    expected, found = (np.asarray(m(image)["heatmaps"]) for m in (model, loaded))
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())
    sizes = [(tmp_path / name / model_folder.MODEL).stat().st_size for name in ("run", "small")]
    assert sizes[1] < 0.4 * sizes[0]
    assert info.data["dataset"] == "embedded" and info.trained_on == {"dataset": "where:0.7,embedded:0.3"}
    assert (tmp_path / "small" / ship.RECIPE).read_text() == "--dataset=where\n--seed=3\n"
    with zipfile.ZipFile(tmp_path / "small" / model_folder.MODEL) as archive:
        assert archive.testzip() is None


def test_runs_are_averaged(tmp_path):
    models = [write_run(tmp_path / name) for name in ("first", "second")]
    ship.ship(tmp_path / "first", tmp_path / "small", "embedded", [tmp_path / "second"])
    loaded, info = model_folder.load_run(tmp_path / "small")
    assert info.trained_on["averaged"] == ["first", "second"] and info.metrics == {}
    for found, *both in zip(loaded.get_weights(), *(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(found, ship.round_weights(np.mean(both, axis=0)))
    write_run(tmp_path / "coco", COCO_17)
    with pytest.raises(UserError, match="coco is of another network or skeleton than --model; leave it out"):
        ship.ship(tmp_path / "first", tmp_path / "other", "embedded", [tmp_path / "coco"])
    assert not (tmp_path / "other").exists()


def test_an_export_of_earlier_weights_is_reported(tmp_path):
    write_run(tmp_path / "run")
    ship.ship(tmp_path / "run", tmp_path / "small", "embedded")
    weights = hashlib.sha256((tmp_path / "small" / model_folder.MODEL).read_bytes()).hexdigest()
    for name, source in (("new.tflite", weights), ("old.onnx", "0" * 64)):
        info = ModelInfo("keypoints", HUMAN36M_17, (64, 96), export=replace(EXPORT, model_sha256=source))
        info.write(tmp_path / "small" / f"{name}.json")
    assert ship.exports_of_others(tmp_path / "small") == ["old.onnx"]


@pytest.mark.parametrize("name", SHIPPED_WEIGHTS)
def test_exports_that_ship_are_of_the_weights_beside_them(name):
    assert ship.exports_of_others(SHIPPED_WEIGHTS[name]) == []


def test_data_of_other_joints_is_refused(tmp_path):
    write_run(tmp_path / "run", COCO_17)
    with pytest.raises(UserError, match="a different skeleton"):
        ship.ship(tmp_path / "run", tmp_path / "small", "embedded")
    assert not (tmp_path / "small" / model_folder.MODEL).exists()


def test_a_run_without_its_flags_is_refused(tmp_path):
    write_run(tmp_path / "run")
    (tmp_path / "run" / run_folder.RESOLVED_FLAGS).unlink()
    with pytest.raises(UserError, match=r"no resolved\.flags"):
        ship.ship(tmp_path / "run", tmp_path / "small", "embedded")


def test_all_shipped_weights_are_complete():
    for name, folder in SHIPPED_WEIGHTS.items():
        info = json.loads((folder / model_folder.MODEL_INFO).read_text())
        assert info["data"]["dataset"] == "embedded", name
        assert (folder / "README.md").is_file() and (folder / ship.RECIPE).is_file(), name
        model_folder.load_run(folder)


def test_a_finder_ships_too(tmp_path):
    import keras

    from keras_pose.inference.finder import open_finder
    from keras_pose.models.finder import build_finder

    keras.utils.set_random_seed(0)
    run = tmp_path / "run"
    run.mkdir()
    model_folder.write_model(run, build_finder(96, "w8_tiny", 8), FinderInfo(input_size=(96, 96), stride=8))
    with pytest.raises(UserError, match=r"no recipe\.flags"):
        ship.ship_finder(run, tmp_path / "finder")
    (run / ship.RECIPE).write_text("--steps=10\n")
    ship.ship_finder(run, tmp_path / "finder")
    assert open_finder(tmp_path / "finder").input_size == 96
    assert (tmp_path / "finder" / ship.RECIPE).read_text() == "--steps=10\n"
    model, _ = model_folder.load_finder(tmp_path / "finder")
    for weights in model.get_weights():
        assert np.array_equal(weights, ship.round_weights(weights))


def test_the_shipped_finder_and_its_export_are_complete():
    assert ship.exports_of_others(FINDER) == [] and list(FINDER.glob("*_int8.tflite"))
    assert (FINDER / "README.md").is_file() and (FINDER / ship.RECIPE).is_file()
    assert sum(path.stat().st_size for path in FINDER.iterdir()) < 8e6
