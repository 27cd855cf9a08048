"""Two processes train as one: the code path of several machines, including failures."""

import json
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from keras_pose.flags import AUGMENTATIONS, build_experiment
from keras_pose.models import model_folder
from keras_pose.training import checkpoint, run_folder
from tests.conftest import ROOT
from tests.flags.test_flags import parse
from tests.training.runs import read_metrics, run, write_poses

STEPS_PER_EPOCH = 4
# Nothing that each worker draws for itself, and batch norm of the whole batch: then two workers do what one does.
SAME_ON_MANY = ("--dropout=0", "--sync_batch_norm", *(f"--augment_{name}=0" for name in AUGMENTATIONS))


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@dataclass
class Ended:
    status: int
    output: str
    errors: str
    when: float


@pytest.fixture
def train_on_two(tmp_path):
    """A function of flags and of what interrupts the second worker; it returns how both ended."""
    folder = tmp_path / "workers"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.training.worker", folder],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield lambda flags, interrupt="": start_two(process, folder, flags, interrupt)
        process.stdin.close()


def start_two(process: subprocess.Popen, folder: Path, flags: list[str], interrupt: str) -> list[Ended]:
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    configs = [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}}) for i in range(2)]
    process.stdin.write(json.dumps({"flags": flags, "configs": configs, "interrupts": ["", interrupt]}) + "\n")
    process.stdin.flush()
    return [
        Ended(**ended, output=(folder / f"{i}.out").read_text(), errors=(folder / f"{i}.err").read_text())
        for i, ended in enumerate(json.loads(process.stdout.readline()))
    ]


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """The flags of a run without --output, and the folder of that run made by one process."""
    poses = write_poses(tmp_path_factory.mktemp("poses"), {"train": 35, "validation": 9})
    flags = [f"--dataset={poses}", "--phases=lifter", "--lifter_epochs=3", "--batch_size=8", "--width=16"]
    flags += ["--variant=w8_tiny", "--input_size=64x96", "--log_steps=1", "--checkpoint_steps=2", *SAME_ON_MANY]
    flags += ["--adversarial_weight=0.1"]
    alone = tmp_path_factory.mktemp("alone") / "run"
    run(build_experiment(parse(*flags, f"--output={alone}", "--strategy=one_device")))
    return flags, alone


def test_two_workers_stopped_and_killed_and_restarted_equal_one_process(tmp_path, training, train_on_two):
    flags, alone = training
    flags = [*flags, f"--output={tmp_path / 'run'}"]

    # A signal to one stops both after the same step, with a checkpoint.
    for worker in train_on_two(flags, "SIGTERM@3"):
        assert worker.status == 143, worker.errors
        assert "stopped by SIGTERM at step 5; run the same command to resume" in worker.errors
    progress = checkpoint.load_progress(tmp_path / "run" / run_folder.LAST_CHECKPOINT)
    assert (progress.epoch, progress.step) == divmod(5, STEPS_PER_EPOCH)

    # When one is killed, the other ends within a minute and reports why.
    chief, killed = train_on_two(flags, "SIGKILL@7")
    assert killed.status == -9 and chief.status == 2, chief.errors
    assert "at step 5" in chief.output and chief.when - killed.when < 60
    last_line = chief.errors.strip().splitlines()[-1]
    assert last_line.startswith("error: worker localhost:") and "no longer answers" in last_line
    assert "start all workers again with the same command" in last_line

    # Restarted, they finish; only the chief writes.
    finished = train_on_two(flags)
    assert [worker.status for worker in finished] == [0, 0], finished
    assert "evaluation.json to" in finished[0].output and "evaluation.json" not in finished[1].output
    told = [json.loads([line for line in w.output.splitlines() if line.startswith("{")][-1]) for w in finished]
    assert told[0] == told[1] and any(told[0]["weights"])

    # A worker that cannot start reports why, and lets the other end.
    chief, other = train_on_two(flags)
    assert chief.status == other.status == 2, (chief.errors, other.errors)
    assert "holds a finished run; choose another --output" in chief.errors.strip().splitlines()[-1]
    assert "error: another worker cannot start, so this one ends too" in other.errors

    # The curve, including validation by both workers, and the weights equal those of one process.
    ours, theirs = read_metrics(tmp_path / "run"), read_metrics(alone)
    assert [record["step"] for record in ours] == [record["step"] for record in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert a.keys() == b.keys()
        for name, value in b.items():
            same = a[name] == value if isinstance(value, str) else a[name] == pytest.approx(value, rel=2e-3)
            assert same, (name, a[name], value, b["step"])
    model, info = model_folder.load_run(tmp_path / "run")
    reference, _ = model_folder.load_run(alone)
    for a, b in zip(model.weights, reference.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3, err_msg=a.path)
    assert info.metrics["mpjpe_mm"] == told[0]["best"]
