"""Kills training with SIGKILL repeatedly; the resumed run must end like an undisturbed one.

    python -m tests.training.kill --times=20

One process imports TensorFlow and forks the trainings, two at a time, each in a folder of its own: a start takes the
time that its own model takes. Most are killed a random time after a random one of their next checkpoints, so within
steps, checkpoints, validation, curves and the writing of the model; a fifth at a random moment of their start. A run
that ends before its kill is compared, and the next one begins. `--json` writes the figures.
"""

import argparse
import ctypes
import gc
import io
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import h5py
import numpy as np

from keras_pose.models import model_folder
from keras_pose.training import run_folder
from keras_pose.training.checkpoint import Progress
from keras_pose.training.experiment import Experiment, PhaseConfig
from keras_pose.visualization import figures
from tests.training.runs import read_metrics, run, tiny_experiment, write_poses

EPOCHS, STEPS_PER_EPOCH = 3, 6
AT_A_TIME = 2
IN_START = 0.2  # share of the kills that come before the first checkpoint of their process
MOST_STEPS = 6  # that a process does before it is killed
POLL = 0.004  # seconds
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


class Training:
    """A forked process that trains."""

    def __init__(self, experiment: Experiment):
        self.folder = Path(experiment.output)
        self.checkpoint = self.folder / run_folder.LAST_CHECKPOINT
        self._before = self._stamp()
        self._log = self.folder.with_suffix(".log")
        self.pid = os.fork()
        if not self.pid:
            _train(experiment, self._log)

    def wait(self, seconds: float = np.inf, checkpoints: float = np.inf) -> Generator[None, None, bool]:
        """Waits for the end, or so long, or for so many checkpoints; returns whether the training ended well.

        It yields instead of sleeping, so that one process can wait for several.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            stamp = self._stamp()
            checkpoints -= stamp != self._before
            self._before = stamp
            if checkpoints <= 0:
                return False
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                if status:
                    raise RuntimeError(f"training ended with status {status}:\n{self._log.read_text()[-4000:]}")
                return True
            yield
        return False

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def _stamp(self) -> int:
        return self.checkpoint.stat().st_mtime_ns if self.checkpoint.exists() else 0


def _train(experiment: Experiment, log: Path) -> None:
    """What the forked process does; it never returns."""
    status = 1
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    try:
        with open(log, "w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        run(experiment)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def kill_and_resume(folder: Path, times: int, seed: int) -> dict:
    """Kills `times` trainings; raises AssertionError if a run ends differently from the undisturbed one."""
    figures.plot_curves([{"loss": 0.0}], folder / "curves.png")  # what only loads is done before the forks
    gc.freeze()
    poses = write_poses(folder / "poses", {"train": 8 * STEPS_PER_EPOCH, "validation": 10})
    phases = (PhaseConfig("lifter", EPOCHS, flip=0.5),)
    unbroken = tiny_experiment(folder / "unbroken", poses, phases, train={"checkpoint_steps": 1})
    began = time.monotonic()
    first = Training(unbroken)
    _wait_for([first.wait(checkpoints=1)])
    start = time.monotonic() - began
    assert _wait_for([first.wait()]) == [True]
    step = (time.monotonic() - began - start) / (EPOCHS * STEPS_PER_EPOCH)
    shares = [times // AT_A_TIME + (i < times % AT_A_TIME) for i in range(AT_A_TIME)]
    chains = _wait_for([_chain(unbroken, i, share, seed, start, step) for i, share in enumerate(shares)])
    kills = [kill for chain in chains for kill in chain[0]]
    return {
        "kills": len(kills),
        "runs": sum(runs for _, runs in chains),
        "places": len(set(kills) - {"before the first checkpoint"}),
        "start_seconds": round(start, 1),
        "step_seconds": round(step, 2),
    }


def _wait_for(waits: list[Generator]) -> list:
    """What generators return that are all run at a time."""
    results = {}
    while len(results) < len(waits):
        for i, wait in enumerate(waits):
            try:
                if i not in results:
                    next(wait)
            except StopIteration as end:
                results[i] = end.value
        time.sleep(POLL)
    return [results[i] for i in range(len(waits))]


def _chain(unbroken: Experiment, number: int, times: int, seed: int, start: float, step: float):
    """One training after the other, `times` of them killed; returns where each was, and the number of runs.

    `start` and `step` are the seconds that they take.
    """
    rng = random.Random(f"{seed}/{number}")
    kills, runs = [], 0
    while len(kills) < times:
        runs += 1
        experiment = replace(unbroken, output=f"{unbroken.output}_{number}_{runs}")
        finished = False
        while not finished:
            training = Training(experiment)
            if len(kills) == times:
                finished = yield from training.wait()
            elif rng.random() < IN_START:
                finished = yield from training.wait(rng.uniform(0, start))
            else:
                finished = yield from training.wait(checkpoints=rng.randint(1, MOST_STEPS))
                finished = finished or (
                    yield from training.wait(2 * step * rng.random() ** 3)
                )  # steps are the shortest
            if not finished:
                training.kill()
                kills.append(_place(training.checkpoint))
                print(f"kill {len(kills)} of {times}, run {number}.{runs}: {kills[-1]}", flush=True)
        assert_equal(experiment, unbroken)
    return kills, runs


def _place(checkpoint: Path) -> str:
    """The last checkpoint that a killed training has left; every one must be whole."""
    if not checkpoint.exists():
        return "before the first checkpoint"
    with np.load(checkpoint) as arrays:
        progress = Progress(**json.loads(str(arrays["meta"]))["progress"])
        assert all(np.isfinite(arrays[name]).all() for name in set(arrays.files) - {"meta"})
    return f"after step {progress.step} of epoch {progress.epoch + 1}"


def assert_equal(ours: Experiment, theirs: Experiment) -> None:
    """The same last checkpoint, saved model and figures, to the bit; TensorFlow is not needed."""
    folders = [Path(experiment.output) for experiment in (ours, theirs)]
    with np.load(folders[0] / run_folder.LAST_CHECKPOINT) as a, np.load(folders[1] / run_folder.LAST_CHECKPOINT) as b:
        assert a.files == b.files
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    assert _model_weights(folders[0]) == _model_weights(folders[1])
    assert read_metrics(folders[0]) == read_metrics(folders[1])
    left = {path.name for path in folders[0].rglob("*") if "partial" in path.name}
    assert not left, f"{left} were left behind"


def _model_weights(folder: Path) -> dict[str, bytes]:
    """The weights in model.keras, by name."""
    values: dict[str, bytes] = {}

    def take(name: str, item) -> None:
        if isinstance(item, h5py.Dataset):
            values[name] = item[()].tobytes()

    with zipfile.ZipFile(folder / model_folder.MODEL) as archive:
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            file.visititems(take)
    assert values
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=20, help="How often to kill.")
    parser.add_argument("--seed", type=int, default=0, help="Of the moments.")
    parser.add_argument("--json", type=Path, help="Write the figures here.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        measured = kill_and_resume(Path(folder), arguments.times, arguments.seed)
    measured["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(measured))
    if arguments.json:
        arguments.json.write_text(json.dumps(measured))


if __name__ == "__main__":
    main()
