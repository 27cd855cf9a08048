"""The command, in separate processes."""

import json
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import torch

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import COCO_17, MPII_16
from keras_pose.inference.predictor import PosePredictor
from keras_pose.inference.runtimes import open_model
from keras_pose.io.model_info import TARGET_PEAK
from keras_pose.models import pretrained
from keras_pose.models.hrnet import VARIANTS
from keras_pose.models.hrnet_checkpoint import convert
from keras_pose.studies.benchmark import torch_hrnet
from tests.conftest import ROOT


def run(folder, **values) -> subprocess.CompletedProcess:
    flags = [f"--{name}={value}" for name, value in values.items()]
    command = [sys.executable, "-m", "keras_pose.models.pretrained", *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env={"PYTHONPATH": str(ROOT)})


def test_a_checkpoint_becomes_a_model_and_its_description(tmp_path):
    network = torch_hrnet.build(VARIANTS["w8_tiny"], 16)
    torch.save(network.state_dict(), tmp_path / "pose_hrnet_tiny_64x96.pth")
    result = run(tmp_path, checkpoint="pose_hrnet_tiny_64x96.pth", output="new/hrnet.keras")
    assert result.returncode == 0, result.stderr
    weights = network.state_dict()
    counters = sum(name.endswith("num_batches_tracked") for name in weights)
    assert f"used: {len(weights) - counters} weights" in result.stdout
    assert f"not used: {counters} weights (counts training batches" in result.stdout
    assert "64x96 pixels, mpii_16" in result.stdout
    info = json.loads((tmp_path / "new/hrnet.keras.json").read_text())
    assert info["kind"] == "keypoints" and info["input_size"] == [64, 96] and info["cell_center"] == 0.125
    assert info["skeleton"] == MPII_16.to_dict() and info["weights"]["used"] == len(weights) - counters
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["hrnet.keras", "hrnet.keras.json"]
    model = keras.saving.load_model(tmp_path / "new/hrnet.keras")
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3)).astype(np.uint8)
    with torch.no_grad():
        theirs = network(torch.tensor(image).float().permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    found = np.asarray(model(image, training=False)["heatmaps"]) / TARGET_PEAK
    np.testing.assert_allclose(found, theirs, atol=1e-4 * np.abs(theirs).max())


def test_the_file_predicts_and_scores_at_once(tmp_path):
    weights = {k: v.numpy() for k, v in torch_hrnet.build(VARIANTS["w8_tiny"], 17).state_dict().items()}
    model, config, accounting = convert(weights, input_size=(64, 96), peak=TARGET_PEAK)
    (tmp_path / "a.pth").touch()
    pretrained.save(tmp_path / "hrnet.keras", model, config, accounting, tmp_path / "a.pth")
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    outputs = model(image[None], training=False)
    loaded = open_model(tmp_path / "hrnet.keras")
    assert loaded.skeleton == COCO_17 and loaded.input_size == (64, 96)
    found = loaded.run(image[None])
    np.testing.assert_allclose(found["keypoints_2d"], outputs["keypoints_2d"], atol=1e-4)
    peaks = np.asarray(outputs["heatmaps"]).max((1, 2)) / TARGET_PEAK
    np.testing.assert_allclose(found["scores"], np.clip(peaks, 0, 1), atol=1e-3)
    result = PosePredictor(tmp_path / "hrnet.keras")(image)
    assert result.pose_3d_mm is None and result.keypoints_px.shape == (17, 2)
    (tmp_path / "hrnet.keras.json").unlink()
    with pytest.raises(UserError, match="lacks its metadata hrnet.keras.json"):
        open_model(tmp_path / "hrnet.keras")


def test_another_network_gives_a_one_line_error_and_leaves_nothing(tmp_path):
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "linear.pth")
    result = run(tmp_path, checkpoint="linear.pth", output="hrnet.keras")
    assert result.returncode == 2 and not (tmp_path / "hrnet.keras").exists()
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert "linear.pth" in line and "not an HRNet" in line and "Traceback" not in result.stderr
    (tmp_path / "kept.keras").write_text("mine")
    result = run(tmp_path, checkpoint="linear.pth", output="kept.keras")
    assert result.returncode == 2 and "kept.keras already exists; choose another name" in result.stderr
    assert (tmp_path / "kept.keras").read_text() == "mine"


@pytest.mark.parametrize(
    "text,file,size",
    [
        (None, "pose_hrnet_w32_256x192.pth", (256, 192)),
        (None, "pose_hrnet_w48_384x288-abc.pth", (384, 288)),
        (None, "hrnet_w32.safetensors", (256, 256)),
        ("128x96", "pose_hrnet_w32_256x192.pth", (128, 96)),
    ],
)
def test_the_input_size_is_given_or_in_the_file_name(text, file, size):
    assert pretrained.parse_input_size(text, file) == size


@pytest.mark.parametrize("text", ["256", "axb", "256x", "1x2x3"])
def test_a_bad_input_size_is_refused(text):
    with pytest.raises(UserError, match="HEIGHTxWIDTH"):
        pretrained.parse_input_size(text, "a.pth")


def test_the_output_must_be_a_keras_file(tmp_path, monkeypatch):
    """It is checked before the checkpoint is read."""
    monkeypatch.setattr(pretrained, "FLAGS", SimpleNamespace(checkpoint="none.pth", output=str(tmp_path / "hrnet.h5")))
    with pytest.raises(UserError, match="must end in .keras"):
        pretrained.main([])
