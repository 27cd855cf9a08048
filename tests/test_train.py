"""The train command as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from keras_pose.models.hrnet import get_variant
from tests.conftest import ROOT
from tests.training.runs import write_poses


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "keras_pose.train", *arguments]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, toy_dataset):
    """The recipe of e2e.flags, on toy data at toy size: its arguments, folder and output."""
    output = tmp_path_factory.mktemp("train") / "run"
    sizes = ("--variant=w8_tiny", "--width=16", "--batch_size=8", "--input_size=64x96", "--init_from=")
    sizes += tuple(f"--{phase}_epochs=1" for phase in ("hrnet", "lifter", "e2e"))
    arguments = ("--flagfile=e2e.flags", f"--dataset={toy_dataset}", *sizes, f"--output={output}")
    done = subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return arguments, output, done.stdout


def test_it_trains_evaluates_and_reports_where_files_are(trained):
    _, output, text = trained
    evaluation = json.loads((output / "evaluation.json").read_text())
    assert evaluation["split"] == "test" and evaluation["count"] == 6
    assert {"mpjpe_mm", "pa_mpjpe_mm", "mean_pose_mpjpe_mm"} <= set(evaluation)
    assert "hrnet epoch 1/1" in text and "e2e epoch 1/1" in text and "MPJPE" in text and str(output) in text
    assert "note: HRNet w8_tiny mixes 17 heatmaps from 8 channels" in text
    assert get_variant("w20_small").channels >= 17  # what the note recommends


def test_a_finished_run_is_not_overwritten(trained):
    arguments, output, _ = trained
    before = (output / "model.keras").stat().st_mtime_ns
    done = subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "holds a finished run" in errors[0] and "Traceback" not in done.stderr
    assert (output / "model.keras").stat().st_mtime_ns == before


def test_sigterm_writes_a_checkpoint_and_explains_how_to_resume(tmp_path):
    poses = write_poses(tmp_path / "poses", {"train": 64, "validation": 8})
    arguments = (f"--dataset={poses}", "--phases=lifter", "--lifter_epochs=500", "--batch_size=8", "--width=16")
    process = subprocess.Popen(
        command(*arguments, f"--output={tmp_path / 'run'}", "--log_steps=1"), stderr=subprocess.PIPE, text=True
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (metrics.is_file() and metrics.stat().st_size):
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert "stopped by SIGTERM at step" in errors and "run the same command to resume" in errors
    assert (tmp_path / "run" / "checkpoints" / "last.npz").is_file()
