"""--nospeed_tricks trains with stock Keras layers and optimizers, and gives the same results up to rounding."""

import signal
from dataclasses import replace

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.models import model_folder
from keras_pose.models.batch_norm import FusedBatchNormalization
from keras_pose.models.tensorflow_speed import tricks_are_on
from keras_pose.training.experiment import OptimizerConfig, PhaseConfig
from keras_pose.training.optimizer import StockAdam
from keras_pose.training.stopping import Stopped
from tests.training.runs import interrupt_at, read_metrics, run, tiny_experiment


def without_tricks(experiment, output):
    return replace(experiment, output=str(output), train=replace(experiment.train, speed_tricks=False))


def assert_close(ours: str, theirs: str, rel: float, gradient: float) -> None:
    """The same figures: losses and metrics within `rel`, the norm of gradients within `gradient`."""
    for a, b in zip(read_metrics(ours), read_metrics(theirs), strict=True):
        assert set(a) == set(b) and (a["kind"], a["phase"], a["step"]) == (b["kind"], b["phase"], b["step"])
        for name in set(a) - {"kind", "phase"}:
            tolerance = gradient if name == "gradient_norm" else rel
            assert a[name] == pytest.approx(b[name], rel=tolerance, abs=1e-6), (a["phase"], a["step"], name)


def test_a_whole_run_gives_the_same(tmp_path, toy_dataset, monkeypatch):
    """Batch norm that is untrained and live makes rounding visible, in gradients most (as `replicas` says): the first
    losses agree to 1e-6, the first gradient's norm to 0.2 %, the third to a tenth. So the run takes small steps.
    """
    phases = (PhaseConfig("e2e", 1, learning_rate=1e-5),)
    optimizer = OptimizerConfig(clip_norm=1.0, ema=0.5)
    tricks = tiny_experiment(tmp_path / "with", toy_dataset, phases, optimizer=optimizer)
    run(tricks)
    stock, used = without_tricks(tricks, tmp_path / "without"), set()
    by_keras, update = FusedBatchNormalization._by_keras, StockAdam._update
    monkeypatch.setattr(FusedBatchNormalization, "_by_keras", lambda *a: used.add("layer") or by_keras(*a))
    monkeypatch.setattr(StockAdam, "_update", lambda *a: used.add("optimizer") or update(*a))
    run(stock)
    assert used == {"layer", "optimizer"} and tricks_are_on()
    assert_close(stock.output, tricks.output, rel=2e-2, gradient=0.3)
    image = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3)).astype("float32")
    poses = [np.asarray(model_folder.load_run(e.output)[0](image)["pose_3d"]) for e in (tricks, stock)]
    np.testing.assert_allclose(*poses, rtol=0.02, atol=2.0)  # mm


def test_a_stopped_run_resumes_with_keras_own_adam(tmp_path, finished_lifter, monkeypatch):
    """Were Adam's moments lost, the figures after the stop would differ by far more."""
    stock = without_tricks(finished_lifter, tmp_path / "run")
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5, lambda: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(Stopped):
            run(stock)
    run(stock)
    assert_close(stock.output, finished_lifter.output, rel=1e-3, gradient=1e-3)


def test_float16_needs_loss_scaling_and_so_the_tricks(tmp_path, poses):
    train = {"speed_tricks": False, "precision": "mixed_float16"}
    with pytest.raises(UserError, match="--nospeed_tricks lacks the loss scaling.*mixed_float16 needs; leave one out"):
        run(tiny_experiment(tmp_path, poses, (PhaseConfig("lifter", 1),), train=train))
