"""Every model format gives the same joints; anything else gives a one-line error."""

import json
import sys
import types

import numpy as np
import pytest

from keras_pose import PosePredictor
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton
from keras_pose.inference import runtimes
from keras_pose.io.model_info import TARGET_PEAK

CHAIN = Skeleton("chain", ("left_end", "middle", "right_end"), (1, -1, 1), root=1)
SIZE = (16, 24)


@pytest.fixture(scope="module")
def small_model():
    """A stand-in with the outputs of a pose model: heatmaps are the color channels at a quarter of the size."""
    import keras

    from keras_pose.models.soft_argmax import SoftArgmax

    image = keras.Input((*SIZE, 3), name="image")
    heatmaps = keras.layers.Rescaling(TARGET_PEAK / 255)(keras.layers.AveragePooling2D(4)(image))
    keypoints = SoftArgmax(beta=100.0)(heatmaps)
    pose = keras.ops.concatenate([keypoints, keypoints[..., :1] * 2], axis=-1) * 1000.0
    return keras.Model(image, {"heatmaps": heatmaps, "keypoints_2d": keypoints, "pose_3d": pose})


@pytest.fixture(scope="module")
def loaded(small_model):
    return runtimes.from_keras(small_model, CHAIN, SIZE)


@pytest.fixture
def pictures():
    """Three images, each with one bright block in another place per channel."""
    images = np.zeros((3, *SIZE, 3), np.uint8)
    for i in range(3):
        for channel in range(3):
            images[i, 4 * i : 4 * i + 4, 8 * channel : 8 * channel + 4, channel] = 255
    return images


def test_keras_model_reads_the_blocks(loaded, pictures):
    outputs = loaded.run(pictures)
    assert np.allclose(outputs["scores"], 1)
    expected = [[((2 * j + 0.5) / 6, (i + 0.5) / 4) for j in range(3)] for i in range(3)]
    assert np.abs(outputs["keypoints_2d"] - expected).max() < 1e-3
    assert loaded.run(np.zeros_like(pictures))["scores"].max() == 0


def test_one_trace_for_any_number_of_crops(small_model, pictures):
    traces = []

    def counted(images, training):
        traces.append(images.shape)
        return small_model(images, training=training)

    loaded = runtimes.from_keras(counted, CHAIN, SIZE)
    for count in (1, 3, 2, 1):
        assert loaded.run(pictures[:count])["pose_3d"].shape == (count, 3, 3)
    assert len(traces) == 1


def test_one_crop_is_fed_twice_and_comes_out_once(small_model, pictures):
    """TensorFlow takes ten times as long for a single image as for two."""
    import tensorflow as tf

    fed = []

    def watched(images, training):
        tf.py_function(lambda count: fed.append(int(count)), [tf.shape(images)[0]], [])
        return small_model(images, training=training)

    loaded = runtimes.from_keras(watched, CHAIN, SIZE)
    together = loaded.run_with_heatmaps(pictures)
    for i in range(3):
        alone = loaded.run_with_heatmaps(pictures[i : i + 1])
        assert {key: value.shape for key, value in alone.items()} == {k: (1, *v.shape[1:]) for k, v in together.items()}
        for key, value in alone.items():
            assert np.allclose(value[0], together[key][i], atol=1e-4), key
    assert fed == [3, 2, 2, 2]


def _write_sidecar(path):
    path.with_name(path.name + ".json").write_text(json.dumps({"skeleton": CHAIN.to_dict(), "input_size": SIZE}))


@pytest.fixture(scope="module")
def tflite_file(small_model, tmp_path_factory):
    """The stand-in by the contract of an exported file: one image in, no batch axis on what comes out."""
    import tensorflow as tf

    class Contract(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, *SIZE, 3), tf.float32, name="image")])
        def infer(self, image):
            outputs = small_model(image)
            scores = tf.reduce_max(outputs["heatmaps"], (1, 2)) / TARGET_PEAK
            return {"keypoints_2d": outputs["keypoints_2d"][0], "pose_3d": outputs["pose_3d"][0], "scores": scores[0]}

    folder = tmp_path_factory.mktemp("tflite")
    contract = Contract()
    tf.saved_model.save(contract, str(folder / "saved"), signatures=contract.infer)
    path = folder / "pose.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved")).convert())
    _write_sidecar(path)
    return path


def _assert_same(outputs, expected):
    for name in ("keypoints_2d", "scores", "pose_3d"):
        assert np.allclose(outputs[name], expected[name], atol=1e-4), name


def test_tflite_equals_keras(tflite_file, loaded, pictures):
    model = runtimes.open_model(tflite_file)
    assert model.skeleton == CHAIN and model.input_size == SIZE
    _assert_same(model.run(pictures), loaded.run(pictures))


def test_onnx_equals_keras(loaded, pictures, tmp_path, monkeypatch):
    """With a stand-in for ONNX Runtime: the adapter must cast the image and name what comes out."""

    class Session:
        def __init__(self, path, options, providers):
            assert path.endswith("pose.onnx")

        def get_inputs(self):
            return [types.SimpleNamespace(name="image", shape=[1, *SIZE, 3], type="tensor(uint8)")]

        def get_outputs(self):
            return [types.SimpleNamespace(name=name) for name in ("pose_3d", "scores", "keypoints_2d")]

        def run(self, names, feeds):
            assert feeds["image"].dtype == np.uint8 and feeds["image"].shape == (1, *SIZE, 3)
            outputs = loaded.run(feeds["image"])
            return [outputs[name] for name in names]

    monkeypatch.setitem(
        sys.modules,
        "onnxruntime",
        types.SimpleNamespace(InferenceSession=Session, SessionOptions=types.SimpleNamespace),
    )
    (tmp_path / "pose.onnx").write_bytes(b"")
    _write_sidecar(tmp_path / "pose.onnx")
    _assert_same(runtimes.open_model(tmp_path / "pose.onnx").run(pictures), loaded.run(pictures))


def test_missing_onnx_runtime_names_the_pip_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "pose.onnx").write_bytes(b"")
    _write_sidecar(tmp_path / "pose.onnx")
    with pytest.raises(UserError, match="pip install onnxruntime"):
        runtimes.open_model(tmp_path / "pose.onnx")


def test_unknown_names_list_the_known_ones(monkeypatch, tmp_path):
    monkeypatch.setitem(runtimes.SHIPPED_WEIGHTS, "phone", tmp_path)
    with pytest.raises(UserError, match=r"no model 'fone'.*\.onnx, \.tflite.*known: .*phone"):
        PosePredictor("fone")


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "pose.tflite"
    path.write_bytes(b"no flatbuffer")
    with pytest.raises(UserError, match=r"lacks its metadata pose\.tflite\.json"):
        runtimes.open_model(path)
    path.with_name("pose.tflite.json").write_text("{}")
    with pytest.raises(UserError, match=r"pose\.tflite\.json is damaged"):
        runtimes.open_model(path)
    _write_sidecar(path)
    with pytest.raises(UserError, match="not a TFLite file"):
        runtimes.open_model(path)
