"""The clock affects no decision, it is only recorded: a run resumed in the past ends like any other."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from keras_pose.training.checkpoint import EpochClock
from keras_pose.training.stopping import Stopped
from tests.training.runs import assert_same_run, interrupt_at, read_metrics, run

DAY = 86400.0


def test_a_clock_set_back_changes_nothing(tmp_path, finished_lifter, monkeypatch):
    """It loses an hour at every look; files seem to be of tomorrow when the run goes on."""
    real, looks = time.time, iter(range(1, 1 << 30))
    monkeypatch.setattr(time, "time", lambda: real() - 3600 * next(looks))
    experiment = replace(finished_lifter, output=str(tmp_path / "run"))
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3, lambda: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(Stopped):
            run(experiment)
    tomorrow = real() + DAY
    for path in [*Path(experiment.output).rglob("*"), Path(experiment.data.dataset) / "manifest.json"]:
        os.utime(path, (tomorrow, tomorrow))
    run(experiment)
    assert next(looks) > 3  # it was asked
    assert_same_run(experiment, finished_lifter)


def test_a_resumed_epoch_counts_the_time_before_it_was_stopped(tmp_path, finished_lifter, monkeypatch):
    looks = iter(range(0, 10**6, 100))
    monkeypatch.setattr(EpochClock, "_now", lambda _: dict.fromkeys(("seconds", "processor_seconds"), next(looks)))
    experiment = replace(finished_lifter, output=str(tmp_path / "run"))
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5, lambda: signal.raise_signal(signal.SIGTERM))  # in the second epoch
        with pytest.raises(Stopped):
            run(experiment)
    run(experiment)
    epochs = [record for record in read_metrics(experiment.output, without=("time",)) if record["kind"] == "epoch"]
    assert [epoch["seconds"] for epoch in epochs] == [epoch["processor_seconds"] for epoch in epochs] == [100, 200]
    assert [epoch["images_per_second"] for epoch in epochs] == [0.32, 0.16]  # four steps of eight
