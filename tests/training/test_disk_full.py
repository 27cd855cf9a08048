"""A disk that fills while a run writes: a one-line error, earlier files stay, and the run resumes afterwards."""

import contextlib
import os
import resource
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import LSP_14
from keras_pose.io.model_info import ModelInfo
from keras_pose.models import model_folder
from keras_pose.training import checkpoint, run_folder
from keras_pose.training.checkpoint import Progress
from keras_pose.training.recorder import Recorder
from tests.training.runs import assert_same_run, interrupt_at, read_metrics, run

NO_SPACE = "cannot write .*{}: No space left on device; free space or choose another folder"


@contextlib.contextmanager
def no_file_longer_than(size: int):
    """The system refuses to write files beyond `size` bytes, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_checkpoint_that_does_not_fit_leaves_the_previous_one(tmp_path):
    path = tmp_path / "last.npz"
    weights = {"a": keras.Variable(np.arange(6.0))}
    checkpoint.save(path, Progress(step=1), weights)
    before = path.read_bytes()
    os.symlink("/dev/full", tmp_path / "last.npz.partial")  # the kernel's own full disk
    with pytest.raises(UserError, match=NO_SPACE.format("last.npz")):
        checkpoint.save(path, Progress(step=2), weights)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["last.npz"]


def test_a_model_that_does_not_fit_leaves_the_previous_one(tmp_path):
    entrance = keras.Input((4,))
    model = keras.Model(entrance, keras.layers.Dense(2)(entrance))
    model_folder.write_model(tmp_path, model, ModelInfo("keypoints", LSP_14, (32, 64), metrics={"epoch": 1}))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    os.symlink("/dev/full", tmp_path / "model.partial.keras")
    with pytest.raises(UserError, match=NO_SPACE.format("model.keras")):
        model_folder.write_model(tmp_path, model, ModelInfo("keypoints", LSP_14, (32, 64), metrics={"epoch": 2}))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_line_of_metrics_that_does_not_fit_is_reported(tmp_path):
    recorder = Recorder(tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    os.symlink("/dev/full", tmp_path / "metrics.jsonl")
    with pytest.raises(UserError, match=NO_SPACE.format("metrics.jsonl")):
        recorder.step("lifter", 1, 1, {"loss": 1.0})
    recorder.close()


def test_a_line_of_metrics_that_was_cut_is_dropped(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.step("lifter", 1, 1, {"loss": 1.0})
    recorder.close()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"kind": "step", "ste')
    Recorder(tmp_path, last_step=1).close()
    assert [record["step"] for record in read_metrics(tmp_path)] == [1]


def test_a_run_whose_disk_fills_resumes_when_there_is_space(tmp_path, finished_lifter, monkeypatch):
    train = replace(finished_lifter.train, checkpoint_steps=1)
    experiment = replace(finished_lifter, output=str(tmp_path / "run"), train=train)
    last = tmp_path / "run" / run_folder.LAST_CHECKPOINT
    with contextlib.ExitStack() as disk, monkeypatch.context() as patch:
        interrupt_at(patch, 6, lambda: disk.enter_context(no_file_longer_than(last.stat().st_size // 2)))
        with pytest.raises(UserError, match="cannot write .*last.npz: File too large; free space"):
            run(experiment)
    assert checkpoint.load_progress(last).step == 1 and checkpoint.load_progress(last).epoch == 1
    run(experiment)
    assert_same_run(experiment, finished_lifter)
