"""What the phases of a run share: its state, how it stops, and the time that its epochs take."""

import signal
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from keras_pose.data.audit import ShardWatch
from keras_pose.data.dataset import DatasetInfo
from keras_pose.training import run_folder
from keras_pose.training.checkpoint import Progress
from keras_pose.training.experiment import Experiment
from keras_pose.training.recorder import Recorder


class Stopped(Exception):
    """The signal of that number stopped the run; its checkpoint is written. The message says how to go on."""

    def __init__(self, number: int, step: int):
        super().__init__(f"stopped by {signal.Signals(number).name} at step {step}; run the same command to go on")
        self.signal = number


@dataclass
class Run:
    """What the phases of a run share.

    Attributes:
        resumes: whether the next phase takes up the last checkpoint.
        is_chief: whether this process reads and writes the run's folder; of many workers one does.
        discriminator: of the adversarial prior, None without one.
        recorder: None in workers that write no files.
        watch: notices shards that change while the run reads them.
        stop_signal: the signal that asked this process to stop, 0 where none did.
        last_votes: how many replicas wanted to stop before the last step; None before the first.
    """

    experiment: Experiment
    dataset: DatasetInfo
    strategy: tf.distribute.Strategy
    model: keras.Model
    progress: Progress
    resumes: bool = False
    is_chief: bool = True
    discriminator: keras.Model | None = None
    recorder: Recorder | None = None
    watch: ShardWatch | None = None
    stop_signal: int = 0
    last_votes: tf.Tensor | None = None

    @property
    def directory(self) -> Path:
        return Path(self.experiment.output)

    @property
    def checkpoint_path(self) -> Path:
        return self.directory / run_folder.LAST_CHECKPOINT

    @property
    def steps_per_epoch(self) -> int:
        return self.dataset.count("train") * self.experiment.data.passes // self.experiment.data.batch_size

    @property
    def step(self) -> int:
        """Steps since the run began, over all phases."""
        epochs = sum(phase.epochs for phase in self.experiment.train.phases[: self.progress.phase])
        return (epochs + self.progress.epoch) * self.steps_per_epoch + self.progress.step


class EpochClock:
    """Takes the time of an epoch, which may have begun in a process that was stopped: `progress.timings` holds it.

    Steps that a killed process did after its last checkpoint are done again and not counted twice.
    """

    def __init__(self, progress: Progress):
        self._progress = progress
        self._before = dict(progress.timings)
        self._started = self._now()

    def stop(self) -> None:
        """Writes the time so far into the progress: wall clock, and processor time of all threads."""
        spent = {name: now - self._started[name] for name, now in self._now().items()}
        self._progress.timings = {name: self._before.get(name, 0.0) + seconds for name, seconds in spent.items()}

    def _now(self) -> dict[str, float]:
        return {"seconds": time.perf_counter(), "processor_seconds": time.process_time()}
