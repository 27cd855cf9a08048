"""Models, layers, losses, metrics and augmentation give the same numbers with JAX, in a separate process."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_pose.models.pose_model import PoseModelConfig, PoseStatistics, build_pose_model
from tests import backend_probe

pytest.importorskip("jax")
ROOT = Path(__file__).parent.parent
SIZE = (64, 96)


def save_model(path: Path, rng: np.random.Generator) -> None:
    """A tiny model whose weights and running statistics are of ordinary size, so that every joint moves."""
    means, stds = rng.normal(0, 300, (17, 3)), rng.uniform(50, 200, (17, 3))
    statistics = PoseStatistics(np.full((17, 2), 0.5), np.full((17, 2), 0.2), means, stds)
    config = PoseModelConfig("w8_tiny", input_size=SIZE, width=32, soft_argmax_beta=5)
    model = build_pose_model(config, statistics)
    for weight in model.weights:
        if weight.dtype == "float32" and len(weight.shape) > 1:
            weight.assign(rng.normal(0, 1 / np.sqrt(np.prod(weight.shape[:-1])), weight.shape))
        elif weight.name == "moving_variance":
            weight.assign(rng.uniform(0.5, 2, weight.shape))
    model.save(path)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What TensorFlow and JAX made of the same files."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("backends")
    save_model(folder / "model.keras", rng)
    np.savez(
        folder / "inputs.npz",
        image=rng.integers(0, 256, (3, *SIZE, 3)).astype("uint8"),
        spikes=rng.uniform(size=(3, 24, 16, 5)).astype("float32") ** 8,
        keypoints_2d=rng.uniform(0, 1, (3, 17, 2)).astype("float32"),
        keypoint_valid=(rng.uniform(size=(3, 17)) < 0.8).astype("float32"),
        pose_3d=rng.normal(0, 300, (3, 17, 3)).astype("float32"),
        pose_3d_valid=np.stack([np.ones(17), np.arange(17) % 3 > 0, np.ones(17)]).astype("float32"),
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # halves the time, which goes to compiling small operations
    command = [sys.executable, "-m", "tests.backend_probe", str(folder)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(folder / "outputs.npz") as file:
        jax = dict(file)
    return backend_probe.compute(folder), jax


def test_jax_agrees_with_tensorflow(results):
    tensorflow, jax = results
    assert jax.pop("backend") == "jax" and set(jax) == set(tensorflow)
    for name, value in tensorflow.items():
        np.testing.assert_allclose(jax[name], value, atol=1e-4, rtol=1e-4, err_msg=name)


def test_the_probe_looks_at_something(results):
    """Values differ between joints and are not zero; otherwise agreement would mean nothing."""
    for name, value in results[0].items():
        assert np.isfinite(value).all() and np.abs(value).max() > 1e-3, name
    for name in ("model/keypoints_2d", "model/pose_3d", "model/heatmaps", "training/norm", "augment/image"):
        assert np.std(results[0][name]) > 0.01, name
