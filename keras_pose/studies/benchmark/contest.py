"""A speed contest: contestants in their own processes take turns, so any disturbance affects all alike."""

import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.studies.benchmark.side import BATCH_FILE, Spec

# The differences between contestants; everything else is the same.
CONTESTANTS: dict[str, dict] = {
    "torch": {"framework": "torch", "writes_weights": True},
    "torch_channels_last": {"framework": "torch", "channels_last": True},
    "torch_compile": {"framework": "torch", "channels_last": True, "compiler": "inductor"},
    "keras_pose": {"framework": "keras_pose"},
    "keras_pose_1": {"framework": "keras_pose", "threads_per_operation": 1},
    "keras_fit": {"framework": "keras_fit"},
}
TASKS = ("training", "inference")
WORKERS = 2  # in the row of that name
TURN_SECONDS = 0.3  # the shortest turn
# Allowed deviation from PyTorch in float32 of heatmaps, relative to the largest one, and of loss and gradient norm.
TOLERANCES = {"float32": 2e-3, "mixed_bfloat16": 0.15, "mixed_float16": 0.05}


@dataclass(frozen=True)
class Contest:
    """What to measure; the attributes are those of `Spec`. `rounds`: the number of turns per contestant."""

    variant: str
    input_size: tuple[int, int]
    batch_size: int
    precision: str = "float32"
    rounds: int = 10
    cores: int = 0

    def spec(self, name: str, folder: str) -> Spec:
        shared = {key: getattr(self, key) for key in ("variant", "input_size", "precision", "cores")}
        return Spec(name, folder=folder, **shared, **CONTESTANTS[name])


class Contestant:
    """A contestant's process; raises UserError with its last message if it ends."""

    def __init__(self, spec: Spec, log: Path):
        self.spec, self._log = spec, log
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
        if spec.framework == "torch":
            environment["KERAS_BACKEND"] = "torch"  # otherwise looking up variants would load TensorFlow
        command = [sys.executable, "-m", "keras_pose.studies.benchmark.contestant", spec.to_json()]
        with open(log, "w") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
            )

    def __enter__(self) -> "Contestant":
        return self

    def __exit__(self, *exception) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        if exception[0] is not None:
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def read(self) -> dict:
        """The next reply."""
        line = self._process.stdout.readline()
        if not line:
            words = self._log.read_text().strip().splitlines() or ["no output"]
            raise UserError(f"{self.spec.name} ended with status {self._process.wait()}: {words[-1]}")
        reply = json.loads(line)
        if "error" in reply:
            raise UserError(f"{self.spec.name}: {reply['error']}")
        return reply

    def ask(self, do: str, **request) -> dict:
        """The reply of `contestant.answer`."""
        with contextlib.suppress(BrokenPipeError):  # the process has ended, and `read` reports how
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
        return self.read()


def run_contest(contest: Contest, names: list[str], on_progress: Callable[[str], None] = lambda text: None) -> dict:
    """Starts the contestants, checks that they compute the same, and lets them take turns.

    A contestant that cannot start, such as a framework that is not installed, is skipped and listed in `left_out`.

    Returns:
        `contestants`: name to results; `left_out`: name to reason; `best`, per task: how many times as fast the
        project's fastest is as the fastest PyTorch, if both took part.

    Raises:
        UserError: no contestant is left, or two compute different results.
    """
    found: dict[str, dict] = {}
    left_out: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        write_batch(Path(folder, BATCH_FILE), contest)
        running: dict[str, Contestant] = {}
        for name in sorted(names, key=list(CONTESTANTS).index):
            on_progress(f"starting {name}")
            contestant = stack.enter_context(Contestant(contest.spec(name, folder), Path(folder, f"{name}.log")))
            try:
                found[name] = contestant.read()
                running[name] = contestant
            except UserError as error:
                left_out[name] = str(error).removeprefix(f"{name}: ")
        if not running:
            raise UserError(f"no contestant could start; {next(iter(left_out.values()))}")
        check_devices(found)
        check_agreement(found, folder, TOLERANCES[contest.precision])
        for task in TASKS:
            turns = _take_turns(running, task, contest.rounds, on_progress)
            for name in running:
                found[name] |= _figures(task, contest.batch_size, turns, name)
        for name, contestant in running.items():
            found[name]["peak_memory_mib"] = contestant.ask("memory")["peak_mib"]
            on_progress(f"profiling {name}")
            share = contestant.ask("matrix_share")["share"]
            found[name]["outside_matrix_kernels_share"] = None if share is None else 1 - share
    return {"contestants": found, "left_out": left_out, "best": _best(found)}


def write_batch(path: Path, contest: Contest) -> None:
    """Writes the one batch that all learn: random images and joints, and their heatmaps."""
    from keras_pose.losses import target_heatmaps

    rng = np.random.default_rng(0)
    count, joints, size = contest.batch_size, HUMAN36M_17.num_joints, contest.input_size
    batch = {
        "image": rng.integers(0, 256, (count, *size, 3)).astype(np.uint8),
        "keypoints_2d": rng.uniform(size=(count, joints, 2)).astype(np.float32),
        "keypoint_valid": np.ones((count, joints), np.float32),
        "pose_3d": np.zeros((count, joints, 3), np.float32),
        "pose_3d_valid": np.ones((count, joints), np.float32),
    }
    heatmaps = target_heatmaps(batch["keypoints_2d"], batch["keypoint_valid"], (size[0] // 4, size[1] // 4))
    np.savez(path, **batch, heatmaps=np.asarray(heatmaps))


def check_devices(found: dict[str, dict]) -> None:
    """Raises UserError if some contestants use a GPU and others do not."""
    devices = {values["device"] for values in found.values()}
    if len(devices) > 1:
        where = ", ".join(f"{name} on the {values['device']}" for name, values in found.items())
        raise UserError(f"contestants use different devices ({where}); hide GPUs with CUDA_VISIBLE_DEVICES=-1")


def check_agreement(found: dict[str, dict], folder: str, tolerance: float) -> None:
    """Adds each contestant's relative deviation from the first one.

    Raises UserError if heatmaps, the first loss or the first gradient norm differ by more than `tolerance`.
    """
    if "torch" not in found:
        return  # then each has its own random weights
    reference = np.load(Path(folder, "torch.npy"))
    for name, values in found.items():
        heatmaps = np.load(Path(folder, f"{name}.npy"))
        values["heatmaps_difference"] = float(np.abs(heatmaps - reference).max() / np.abs(reference).max())
        for key in ("loss", "gradient_norm"):
            if key in values:
                values[f"{key}_difference"] = abs(values[key] / found["torch"][key] - 1)
        for key in ("heatmaps", "loss", "gradient_norm"):
            difference = values.get(f"{key}_difference", 0.0)
            if not difference <= tolerance:
                raise UserError(
                    f"{name} does not compute the same as torch: {key} differs by {difference:.2g}, more than "
                    f"{tolerance:g}; their speeds cannot be compared"
                )


def _take_turns(running: dict[str, Contestant], task: str, rounds: int, on_progress) -> dict[str, list[dict]]:
    """Each contestant's `seconds` and `cpu_seconds` per step, one entry per turn."""
    for contestant in running.values():
        contestant.ask(task, count=1)  # gets one-time work out of the way
    counts = {}
    for name, contestant in running.items():
        seconds = contestant.ask(task, count=1)["seconds"]
        counts[name] = max(1, math.ceil(TURN_SECONDS / seconds))
    turns: dict[str, list[dict]] = {name: [] for name in running}
    for i in range(rounds):
        on_progress(f"{task}, round {i + 1} of {rounds}")
        for name, contestant in running.items():
            turns[name].append(contestant.ask(task, count=counts[name]))
    return turns


def _figures(task: str, batch_size: int, turns: dict[str, list[dict]], name: str) -> dict[str, float]:
    seconds = {who: [turn["seconds"] for turn in own] for who, own in turns.items()}
    median = statistics.median(seconds[name])
    figures = {
        f"{task}_step_ms": 1000 * median,
        f"{task}_cpu_ms": 1000 * statistics.median(turn["cpu_seconds"] for turn in turns[name]),
        f"{task}_images_per_second": batch_size / median,
    }
    if "keras_pose" in turns:
        ratios = [theirs / ours for theirs, ours in zip(seconds[name], seconds["keras_pose"], strict=True)]
        figures[f"{task}_time_over_keras_pose"] = statistics.median(ratios)
    return figures


def _best(found: dict[str, dict]) -> dict[str, float]:
    best = {}
    for task in TASKS:
        fastest = {}
        for name, values in found.items():
            framework = CONTESTANTS[name]["framework"]
            fastest[framework] = max(values[f"{task}_images_per_second"], fastest.get(framework, 0.0))
        if {"torch", "keras_pose"} <= set(fastest):
            best[f"{task}_speed_over_torch"] = fastest["keras_pose"] / fastest["torch"]
    return best
