"""The clock is no part of any decision: a run that is resumed in the past ends as one that is not."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from keras_pose.training.run_state import Stopped
from tests.training.runs import assert_same_run, interrupt_at, run

DAY = 86400.0


def test_a_clock_that_goes_back_changes_nothing(tmp_path, finished_lifter, monkeypatch):
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
