"""The training loop: phases, epochs and steps, with validation, checkpoints and a clean stop.

Read `Trainer` from top to bottom. Its parts are in their own files: `learner` (what a phase trains with), `steps` (the
compiled steps), `schedule`, `distribution` (one device or many), `resume` and `checkpoint` (where the run starts, and
what it saves), `stopping` and `recorder`.
"""

import signal
from functools import cached_property
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_pose.core.errors import UserError
from keras_pose.core.progress import progress as progress_bar
from keras_pose.data import audit
from keras_pose.data.dataset import DatasetInfo, naming_broken_shards, open_dataset
from keras_pose.models import model_folder
from keras_pose.models.precision import layer_precision
from keras_pose.models.tensorflow_speed import speed_tricks
from keras_pose.training import checkpoint, distribution, phases, run_folder
from keras_pose.training.checkpoint import EpochClock
from keras_pose.training.cluster import naming_lost_workers, read_cluster
from keras_pose.training.data_check import check_data
from keras_pose.training.experiment import Experiment
from keras_pose.training.initial_weights import load_initial_weights
from keras_pose.training.learner import Learner
from keras_pose.training.recorder import Recorder
from keras_pose.training.resume import find_start
from keras_pose.training.stopping import Stopped, StopRequest


def train(experiment: Experiment) -> bool:
    """Trains into a claimed run folder (`run_folder.claim`), or resumes from its last checkpoint.

    Returns:
        Whether this process wrote the run's files; only one of many workers does.

    Raises:
        Stopped: on SIGTERM or SIGINT, after a checkpoint.
        UserError: unsuitable data or settings, a checkpoint of another architecture, a lost worker, or a loss that is
            NaN.
    """
    if experiment.train.threads_per_operation:
        tf.config.threading.set_intra_op_parallelism_threads(experiment.train.threads_per_operation)
    cluster = read_cluster(experiment.train.strategy)
    with naming_lost_workers(cluster):
        strategy = distribution.make_strategy(
            experiment.train.strategy
        )  # workers must connect before TensorFlow starts
        distribution.begin_together(strategy)
        dataset = open_dataset(experiment.data.dataset)
        watch = audit.ShardWatch(dataset.folders)
        check_data(experiment, dataset)
        if experiment.kind != "lifter":
            dataset = dataset.at_size(experiment.model.input_size)
        keras.utils.set_random_seed(experiment.train.seed)
        tricks, precision = speed_tricks(experiment.train.speed_tricks), layer_precision(experiment.train.precision)
        with tricks, precision, strategy.scope():
            trainer = Trainer(experiment, dataset, strategy, watch, cluster is None or cluster.is_chief)
            with naming_broken_shards(dataset, lambda: f"at step {trainer.step}: "):
                trainer.run()
    return trainer.is_chief


class Trainer:
    """A run: its model, its progress, and the loop.

    Args:
        watch: detects shards that change while the run reads them.
        is_chief: whether this process reads and writes the run's folder; only one of many workers does.
    """

    def __init__(
        self,
        experiment: Experiment,
        dataset: DatasetInfo,
        strategy: tf.distribute.Strategy,
        watch: audit.ShardWatch,
        is_chief: bool,
    ):
        self.experiment, self.dataset, self.strategy, self.is_chief = experiment, dataset, strategy, is_chief
        self.watch = watch
        self.directory = Path(experiment.output)
        self.checkpoint_path = self.directory / run_folder.LAST_CHECKPOINT
        self.steps_per_epoch = dataset.count("train") * experiment.data.passes // experiment.data.batch_size

        self.model = phases.build_model(experiment, dataset.statistics)
        if experiment.train.sync_batch_norm:
            phases.synchronize_batch_norm(self.model)
        start = find_start(experiment, dataset, strategy, self.checkpoint_path, is_chief)
        self.progress, self.resumes = start.progress, start.resumes
        if not self.resumes:
            load_initial_weights(experiment, self.model)  # on all workers: variables must be created together
        self.discriminator = phases.build_discriminator(experiment, dataset.statistics)

        within_epoch = self.progress.step > 0
        self.recorder = Recorder(self.directory, self.step, within_epoch) if is_chief else None
        self.stop_request = StopRequest(strategy)
        if self.resumes:
            print(f"resuming {self.directory} at step {self.step}")

    @property
    def step(self) -> int:
        """Steps since the run began, over all phases."""
        epochs = sum(phase.epochs for phase in self.experiment.train.phases[: self.progress.phase])
        return (epochs + self.progress.epoch) * self.steps_per_epoch + self.progress.step

    # --- the loop ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Trains the rest of the run."""
        try:
            with self.stop_request.caught():
                resumes = self.resumes
                while self.progress.phase < len(self.experiment.train.phases):
                    learner = self._begin_phase(resumes)
                    while self.progress.epoch < learner.config.epochs:
                        timings = self._train_epoch(learner)
                        self._finish_epoch(learner, timings)
                    self.progress.begin_phase(self.progress.phase + 1)
                    resumes = False
        finally:
            if self.recorder:
                self.recorder.close()

    def _begin_phase(self, resumes: bool) -> Learner:
        """What the phase trains with; in the state of the last checkpoint if the run `resumes`."""
        model = self.model, self.discriminator
        learner = Learner(
            self.experiment, self.progress.phase, self.dataset, self.strategy, *model, self.steps_per_epoch
        )
        if resumes and self.is_chief:
            checkpoint.restore(self.checkpoint_path, learner.variables)
        distribution.take_chiefs_values(self.strategy, learner.variables.values(), self.is_chief)
        learner.take_up()
        return learner

    def _train_epoch(self, learner: Learner) -> dict[str, float]:
        """Does the remaining steps of an epoch; returns the timings of the whole epoch."""
        experiment, progress, steps_per_epoch = self.experiment, self.progress, self.steps_per_epoch
        self.watch.check()
        batches = iter(self._batches(learner))
        alpha = tf.constant(experiment.loss.alpha_at(progress.epoch), tf.float32)
        pending: list[dict] = []  # results of steps that have not been waited for yet
        clock = EpochClock(progress)
        with self._progress_bar(learner) as bar:
            while progress.step < steps_per_epoch:
                step = tf.constant(progress.epoch * steps_per_epoch + progress.step, tf.int32)
                results = learner.train_step(next(batches), step, alpha, self.stop_request.vote)
                stops = self.stop_request.is_granted(results.pop("stop_votes"))
                pending.append(results)
                progress.step += 1
                bar.update(experiment.data.batch_size)
                saves = stops or self._is_every(experiment.train.checkpoint_steps)
                if saves or self._is_every(experiment.train.log_steps) or progress.step == steps_per_epoch:
                    figures = self._record(learner, pending)
                    bar.set_postfix(loss=f"{figures['loss']:.4g}")
                if saves:
                    clock.stop()
                    self._save_checkpoint(learner)
                if stops:
                    raise Stopped(self.stop_request.signal or signal.SIGTERM, self.step)
        clock.stop()
        images = steps_per_epoch * experiment.data.batch_size
        timings = {"images_per_second": images / progress.timings["seconds"]} | progress.timings
        return {name: round(value, 2) for name, value in timings.items()}

    def _finish_epoch(self, learner: Learner, timings: dict[str, float]) -> None:
        """Validates and records; saves the model if it is the phase's best, and a checkpoint."""
        progress = self.progress
        self.watch.check()  # an epoch on changed data must not be saved
        means = {name: total / self.steps_per_epoch for name, total in progress.sums.items()}
        with learner.judged_weights():
            validation, judged = learner.validate(lambda *batch: self._draw_samples(learner, *batch))
            if not np.isfinite(judged):
                raise self._failure(learner, self.step, "the validation error")
            progress.finish_epoch()
            if self.recorder:
                named = {f"val_{name}": value for name, value in validation.items()}
                self.recorder.epoch(learner.config.name, progress.epoch, self.step, means | named, timings)
            if progress.best is None or judged < progress.best:
                progress.best = judged
                self._write_model(learner, validation)
        self._save_checkpoint(learner)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in validation.items())
        print(f"{learner.config.name} epoch {progress.epoch}/{learner.config.epochs}: {shown}")

    # --- what an epoch's steps need ----------------------------------------------------------------------------

    def _batches(self, learner: Learner):
        data = self.experiment.data
        return distribution.distribute_batches(
            self.strategy,
            learner.dataset,
            "train",
            data.batch_size,
            training=True,
            seed=learner.seed,
            epoch=self.progress.epoch,
            passes=data.passes,
            skip_batches=self.progress.step,
            shard_by=data.shard_by,
            data_service=data.data_service if learner.dataset.has_pictures else "",
        )

    def _progress_bar(self, learner: Learner):
        batch_size = self.experiment.data.batch_size
        return progress_bar(
            None,
            total=self.steps_per_epoch * batch_size,
            unit=" images",
            initial=self.progress.step * batch_size,
            description=f"{learner.config.name} {self.progress.epoch + 1}/{learner.config.epochs}",
        )

    def _is_every(self, steps_between: int) -> bool:
        return steps_between > 0 and self.progress.step % steps_between == 0

    def _record(self, learner: Learner, pending: list[dict]) -> dict[str, float]:
        """Adds steps to the epoch's sums, and the last of them to metrics.jsonl; raises UserError on NaN."""
        figures = {}
        for i, result in enumerate(pending):
            figures = {name: float(value) for name, value in result.items()}
            if not learner.are_finite(figures):
                raise self._failure(learner, self.step - len(pending) + i + 1)
            self.progress.add(figures)
        pending.clear()
        if self.recorder:
            self.recorder.step(learner.config.name, self.progress.epoch + 1, self.step, figures)
        return figures

    def _failure(self, learner: Learner, step: int, what: str = "the loss or its gradient") -> UserError:
        """The error for NaN; names the bad example if there is one."""
        path = self.checkpoint_path
        good = f"{path} holds the last good weights" if path.is_file() else "no checkpoint was written yet"
        at = f"at step {step} ({learner.config.name}, epoch {self.progress.epoch + 1})"
        try:
            audit.name_fault(self.dataset.folders)
        except UserError as fault:
            return UserError(f"{what} is NaN or infinite {at}; {good}; {fault}")
        return UserError(
            f"{what} is NaN or infinite {at}; {good}; choose a lower learning rate or --clip_norm, and another --output"
        )

    # --- what an epoch leaves ----------------------------------------------------------------------------------

    def _draw_samples(self, learner: Learner, batch: dict, outputs: dict) -> None:
        if self.recorder:
            name = f"{self.progress.phase + 1}_{learner.config.name}_epoch_{self.progress.epoch + 1:03d}"
            self.recorder.samples(name, self.step, batch, outputs, self.experiment.model.get_skeleton())

    def _write_model(self, learner: Learner, validation: dict[str, float]) -> None:
        """Saves the model with float32 computation, whatever the precision of training."""
        train, model = self.experiment.train, self.model
        if train.precision != "float32" or train.sync_batch_norm:  # of no use after training
            model = self._float32_model  # built by all workers: variables must be created together
            model.set_weights(self.model.get_weights())
        if not self.is_chief:
            return
        metrics = {"split": "validation", "phase": learner.config.name, "epoch": self.progress.epoch, **validation}
        info = run_folder.describe_model(self.experiment, self.dataset, metrics)
        model_folder.write_model(self.directory, model, info)

    @cached_property
    def _float32_model(self) -> keras.Model:
        with layer_precision("float32"):
            return phases.build_model(self.experiment, self.dataset.statistics)

    def _save_checkpoint(self, learner: Learner) -> None:
        learner.average_statistics()
        if self.is_chief:
            checkpoint.save(self.checkpoint_path, self.progress, learner.variables)
