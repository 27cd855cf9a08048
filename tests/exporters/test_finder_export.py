"""The finder's file: equal to Keras, with metadata, and used by PosePredictor if it is beside the pose model."""

import numpy as np
import pytest
from absl import flags

from exporters import exporter_of
from exporters import finder as command
from keras_pose.core.errors import UserError
from keras_pose.inference.finder import open_finder
from keras_pose.inference.predictor import PosePredictor
from keras_pose.io.finder_info import FinderInfo
from keras_pose.io.model_info import Tensor
from keras_pose.models.finder import build_finder
from keras_pose.models.model_folder import write_model


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    import keras

    keras.utils.set_random_seed(0)
    model = build_finder(96, "w8_tiny", 8)
    kernel, bias = model.get_layer("centers").weights  # scores that differ, around a half
    kernel.assign(np.random.default_rng(0).normal(0, 0.05, kernel.shape))
    bias.assign([0.0])
    kernel = model.get_layer("boxes").kernel  # boxes near the initial size
    kernel.assign(np.random.default_rng(1).normal(0, 0.003, kernel.shape))
    folder = tmp_path_factory.mktemp("finder")
    write_model(folder, model, FinderInfo(input_size=(96, 96), stride=8))
    return folder


def export(monkeypatch, *arguments):
    values = flags.FlagValues()
    command.define_flags(values)
    monkeypatch.setattr(command, "FLAGS", values)
    return command.main(values(["finder", *arguments])[1:])


@pytest.mark.parametrize(("name", "form"), [("f.tflite", "none"), ("f.tflite", "int8"), ("f.onnx", "none")])
def test_files_see_what_keras_sees(run, tmp_path, monkeypatch, name, form):
    path = tmp_path / name
    assert export(monkeypatch, f"--finder={run}", f"--output={path}", f"--quantize={form}") == 0
    info = FinderInfo.read_beside(path)
    assert info == FinderInfo.from_text(exporter_of(path).read_metadata(path), path, "export again")
    assert info.exported.quantization == form and info.exported.outputs["centers"] == Tensor((1, 12, 12, 1))
    with pytest.raises(UserError, match="kind finder, not a pose model"):
        PosePredictor(path)
    image = np.random.default_rng(1).integers(0, 256, (200, 50, 3)).astype(np.uint8)
    expected, found = open_finder(run)(image), open_finder(path)(image)
    if form == "none":
        assert len(found) == len(expected) > 0
        for a, b in zip(found, expected, strict=True):
            assert a.box_px == pytest.approx(b.box_px, abs=0.01) and a.score == pytest.approx(b.score, abs=1e-3)
    with pytest.raises(UserError, match="already exists"):
        export(monkeypatch, f"--finder={run}", f"--output={path}")


def test_mistakes_give_one_line_errors(run, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="must name a .tflite or .onnx file"):
        export(monkeypatch, f"--finder={run}", "--output=f.keras")
    with pytest.raises(UserError, match="int8 does not apply to .onnx"):
        export(monkeypatch, f"--finder={run}", "--output=f.onnx", "--quantize=int8")
    from exporters.contract import default_part

    with pytest.raises(UserError, match="with exporters.finder"):
        default_part("finder")
    monkeypatch.setattr(command, "FINDER", tmp_path / "none")
    with pytest.raises(UserError, match="the shipped finder is missing; add --finder=RUN"):
        export(monkeypatch, f"--output={tmp_path}/f.tflite")
    with pytest.raises(UserError, match="kind pose, not a finder"):
        export(monkeypatch, "--finder=keras_pose/weights/phone", f"--output={tmp_path}/f.tflite")
