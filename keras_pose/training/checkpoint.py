"""One file with everything a run needs to resume exactly."""

import contextlib
import io
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import numpy as np
from keras import ops

from keras_pose.core.errors import UserError
from keras_pose.io.archives import check_archive
from keras_pose.io.atomic import write_atomically

FORMAT_VERSION = 1


@dataclass
class Progress:
    """The progress of a run.

    Attributes:
        phase: index of the current phase.
        epoch: finished epochs of that phase.
        step: finished steps of the current epoch.
        sums: training metrics of the current epoch, summed over its steps.
        best: the best validation result of this phase; None before the first.
        data: the data set's `manifest_hash`.
        timings: `seconds` and `processor_seconds` spent on the current epoch.
    """

    phase: int = 0
    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    best: float | None = None
    data: str = ""
    timings: dict[str, float] = field(default_factory=dict)

    def add(self, figures: dict[str, float]) -> None:
        """Adds the metrics of one step to the epoch's sums."""
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def finish_epoch(self) -> None:
        """Moves to the start of the next epoch."""
        self.epoch, self.step, self.sums, self.timings = self.epoch + 1, 0, {}, {}

    def begin_phase(self, phase: int) -> None:
        """Moves to the start of a phase."""
        self.phase, self.epoch, self.best = phase, 0, None


class EpochClock:
    """Measures the time of an epoch, even across restarts: `progress.timings` keeps it.

    Steps that a killed process did after its last checkpoint are repeated; their time counts once.
    """

    def __init__(self, progress: Progress):
        self._progress = progress
        self._before = dict(progress.timings)
        self._started = self._now()

    def stop(self) -> None:
        """Stores the time so far in the progress: wall clock, and processor time of all threads."""
        spent = {name: now - self._started[name] for name, now in self._now().items()}
        self._progress.timings = {name: self._before.get(name, 0.0) + seconds for name, seconds in spent.items()}

    def _now(self) -> dict[str, float]:
        return {"seconds": time.perf_counter(), "processor_seconds": time.process_time()}


def save(path: str | os.PathLike, progress: Progress, variables: dict[str, keras.Variable]) -> None:
    """Writes the progress and the named variables, completely or not at all; raises UserError if it cannot."""
    meta = json.dumps({"format_version": FORMAT_VERSION, "progress": asdict(progress)})
    arrays = {name: ops.convert_to_numpy(variable) for name, variable in variables.items()}
    content = io.BytesIO()
    np.savez(content, **{"meta": np.array(meta)}, **arrays)
    write_atomically(path, content.getvalue())


def load_progress(path: str | os.PathLike) -> Progress:
    """Reads the progress from a checkpoint; raises UserError if the file is not a checkpoint."""
    with _opened(path) as (progress, _):
        return progress


def restore(path: str | os.PathLike, variables: dict[str, keras.Variable]) -> None:
    """Sets the variables; raises UserError unless the checkpoint is intact and has exactly these names and shapes."""
    with _opened(path) as (_, arrays):
        names = set(arrays.files) - {"meta"}
        values = {name: arrays[name] for name in names & set(variables)}
        wrong = sorted(names ^ set(variables))
        wrong += sorted(name for name, value in values.items() if value.shape != tuple(variables[name].shape))
        if wrong:
            raise UserError(
                f"{path} has another architecture: {len(wrong)} weights differ, such as {wrong[0]}; "
                "train with the original settings, or choose another --output"
            )
    for name, variable in variables.items():
        variable.assign(values[name])


@contextlib.contextmanager
def _opened(path: str | os.PathLike) -> Iterator[tuple[Progress, np.lib.npyio.NpzFile]]:
    """The progress and the arrays. Any error, also one inside the block, becomes a UserError that names the file."""
    try:
        with np.load(Path(path), allow_pickle=False) as arrays:
            check_archive(arrays.zip, path)
            meta = json.loads(str(arrays["meta"]))
            if meta["format_version"] != FORMAT_VERSION:
                raise UserError(f"{path} is a checkpoint of another version; train again with another --output")
            yield Progress(**meta["progress"]), arrays
    except UserError:
        raise
    except Exception as error:  # a broken archive may raise almost anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise UserError(f"{path} is not a checkpoint ({reason}); delete its run folder and train again") from error


def model_variables(model: keras.Model, name: str = "model") -> dict[str, keras.Variable]:
    """All weights by unique name, without the seeds of dropout (see `steps`)."""
    return {f"{name}/{i:04d}/{weight.path}": weight for i, weight in enumerate(model.weights)}
