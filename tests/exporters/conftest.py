"""Runs of the tiny model on 64 x 96 images, and their exports; made once a session."""

import copy
from pathlib import Path

import keras
import numpy as np
import pytest

from exporters import onnx, tflite
from exporters.compare import keras_outputs
from exporters.contract import Form
from exporters.export import export
from exporters.inference_graph import Source, load_source
from exporters.samples import load_samples
from keras_pose.data.dataset import open_dataset
from keras_pose.data.pipeline import make_batches
from keras_pose.io.model_info import ModelInfo
from keras_pose.models.model_folder import write_model
from keras_pose.models.pose_model import (
    PoseModelConfig,
    PoseStatistics,
    build_keypoint_model,
    build_lifter,
    build_pose_model,
)

SIZE = (64, 96)
CONFIG = PoseModelConfig(
    "w8_tiny", input_size=SIZE, soft_argmax_relative=True, soft_argmax_beta=3.5, width=64, left_right_inhibition=0.2
)
HEATMAP_STD = 0.01  # of each map; beta makes it about the softmax's 1, so that joints spread but do not jump
HEATMAP_PEAK = 0.3  # of targets; neither the paper's nor HRNet's, so that the run's own must be read
FORMS = {
    "pose.tflite": Form("pose"),
    "pose_float16.tflite": Form("pose", "float16"),
    "pose_dynamic.tflite": Form("pose", "dynamic"),
    "pose_int8.tflite": Form("pose", "int8"),
    "pose_flip_test_int8.tflite": Form("pose", "int8", flip_test=True),
    "keypoints.tflite": Form("keypoints", input_dtype="float32", heatmaps=True),
    "lifter.tflite": Form("lifter"),
    "pose.onnx": Form("pose"),
    "pose_float16.onnx": Form("pose", "float16"),
    "pose_float16_arithmetic.onnx": Form("pose", "float16_arithmetic"),
    "pose_nchw.onnx": Form("pose", layout="nchw"),
    "pose_flip_test.onnx": Form("pose", flip_test=True),
    "lifter.onnx": Form("lifter"),
    "lifter_float16.onnx": Form("lifter", "float16"),
}


def settle(model: keras.Model, images: np.ndarray, seed: int = 0) -> None:
    """Gives a new model weights that act like trained ones: biases, sane activations, heatmaps with peaks."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.path.endswith(("bias", "beta")):
            variable.assign(rng.normal(0, 0.05, variable.shape))
        elif "linear_out/kernel" in variable.path:
            variable.assign(rng.normal(0, 0.02, variable.shape))
        elif len(variable.shape) == 4:
            variable.assign(rng.normal(0, np.sqrt(2 / np.prod(variable.shape[:3])), variable.shape))
    if "hrnet" in [layer.name for layer in model.layers]:
        hrnet = model.get_layer("hrnet")
        for _ in range(20):
            heatmaps = hrnet(images, training=True)  # the running statistics follow
        kernel = hrnet.get_layer("final_layer").kernel
        kernel.assign(kernel * (HEATMAP_STD / np.std(heatmaps, axis=(1, 2)).mean()))


def write_run(folder: Path, kind: str, dataset: Path) -> Path:
    """A run folder of that kind, with weights that were not trained but act so."""
    info = open_dataset(str(dataset))
    statistics = PoseStatistics.from_dict(info.statistics)
    builders = {"keypoints": lambda: build_keypoint_model(CONFIG), "lifter": lambda: build_lifter(CONFIG, statistics)}
    model = builders.get(kind, lambda: build_pose_model(CONFIG, statistics))()
    (batch,) = make_batches(info, "train", 16, training=False).take(1)
    settle(model, batch["image"])
    folder.mkdir()
    description = ModelInfo(
        kind=kind,
        skeleton=info.skeleton,
        input_size=SIZE,
        heatmap_peak=HEATMAP_PEAK,
        statistics=None if kind == "keypoints" else info.statistics,
        model=CONFIG.to_dict(),
        data={"dataset": str(dataset)},
    )
    write_model(folder, model, description)
    return folder


@pytest.fixture(scope="session")
def runs(tmp_path_factory, toy_dataset) -> dict[str, Path]:
    """A run folder of each kind."""
    folder = tmp_path_factory.mktemp("runs")
    return {kind: write_run(folder / kind, kind, toy_dataset) for kind in ("pose", "keypoints", "lifter")}


@pytest.fixture(scope="session")
def source(runs) -> Source:
    return load_source(runs["pose"])


@pytest.fixture(scope="session")
def samples(source, toy_dataset):
    return load_samples(str(toy_dataset), ("test",), 0, source.info, pictures=True)


@pytest.fixture(scope="session")
def expected(source, samples):
    """The Keras model's outputs by part and whether with the flip test."""
    pose, lifter = (keras_outputs(source, part, samples) for part in ("pose", "lifter"))
    tested = keras_outputs(source, "pose", samples, flip_test=True)
    return {
        ("pose", False): pose, ("keypoints", False): pose, ("lifter", False): lifter, ("pose", True): tested
    }  # fmt: skip


@pytest.fixture(scope="session")
def exported(source, toy_dataset, tmp_path_factory) -> dict[str, Path]:
    """A file of each form, not held against the Keras model yet."""
    folder = tmp_path_factory.mktemp("exported")
    calibration = load_samples(str(toy_dataset), ("train",), 0, source.info, pictures=True).image
    converted = {}  # the float form of each graph: all quantisations begin with it

    def once(convert_float, *arguments, info):
        key = f"{convert_float.__module__} {info.export.inputs} {info.export.outputs} {info.export.flip_test}"
        if key not in converted:
            converted[key] = convert_float(*arguments)
        return copy.deepcopy(converted[key])

    def to_tflite(graph, info):
        return tflite.quantize(once(tflite.convert_float, graph, info, info=info), info, calibration)

    def to_onnx(graph, info):
        return onnx.finish(once(onnx.convert_float, graph, info=info), info)

    for name, form in FORMS.items():
        export(source, form, folder / name, to_onnx if name.endswith(".onnx") else to_tflite, check=None)
    return {name: folder / name for name in FORMS}
