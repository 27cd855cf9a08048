"""The embedded data's people, and a small int8 model that looks at them until trained weights ship."""

from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from exporters import tflite
from exporters.contract import Form
from exporters.export import export
from exporters.inference_graph import load_source
from exporters.samples import load_samples
from keras_pose.data.dataset import open_dataset
from keras_pose.data.pipeline import read_examples
from keras_pose.io.model_info import ModelInfo
from keras_pose.models.model_folder import write_model
from keras_pose.models.pose_model import PoseModelConfig, PoseStatistics, build_pose_model
from tests.exporters.conftest import settle


def frames(count: int, size: tuple[int, int]) -> np.ndarray:
    """(count, *size, 3) uint8 RGB of the test split: rendered people, each in the middle."""
    examples = islice(read_examples(open_dataset("embedded"), "test"), count)
    return np.stack([cv2.resize(example.decode_image(), size[::-1]) for example in examples])


def write_int8(folder: Path) -> Path:
    """Exports the smallest network as the shipped weights are exported; it was not trained, but acts so."""
    data = open_dataset("embedded")
    config = PoseModelConfig(variant="w8_tiny", input_size=data.image_size, width=64)
    model = build_pose_model(config, PoseStatistics.from_dict(data.statistics))
    info = ModelInfo(
        kind="pose",
        skeleton=data.skeleton,
        input_size=data.image_size,
        heatmap_peak=0.02,  # of heatmaps that `settle` made: scores come near 1
        statistics=data.statistics,
        model=config.to_dict(),
        data={"dataset": "embedded"},
    )
    samples = load_samples("embedded", ("test",), 16, info, pictures=True).image
    settle(model, samples)
    folder.mkdir(parents=True)
    write_model(folder, model, info)
    source, output = load_source(folder), folder / "pose_int8.tflite"
    convert = lambda graph, info: tflite.convert(graph, info, samples)  # noqa: E731
    export(source, Form("pose", "int8"), output, convert, check=None)
    return output
