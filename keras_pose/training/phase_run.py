"""One phase of a run: its epochs of steps, what they record, and what stops them."""

import signal
from dataclasses import replace
from functools import cached_property

import keras
import numpy as np
import tensorflow as tf

from keras_pose.core.errors import UserError
from keras_pose.core.progress import progress
from keras_pose.data import audit
from keras_pose.models import model_folder
from keras_pose.training import checkpoint, distribution, phases, run_folder, steps
from keras_pose.training.adversary import Adversary
from keras_pose.training.experiment import PhaseConfig
from keras_pose.training.muon import make_optimizer
from keras_pose.training.optimizer import LossScale
from keras_pose.training.run_state import EpochClock, Run, Stopped
from keras_pose.training.schedule import Schedule
from keras_pose.training.validation import Validator

# What a phase is judged by after each epoch; the lowest is the best. Heatmaps are not judged by their joints' error in
# pixels: it is low where joints are drawn halfway between left and right.
JUDGED_BY = {"hrnet": "loss", "lifter": "mpjpe_mm", "e2e": "mpjpe_mm"}


class PhaseRun:
    """One phase, from where the run's progress is."""

    def __init__(self, run: Run, config: PhaseConfig):
        self.context, self.config, self.progress = run, config, run.progress
        experiment = self.experiment = run.experiment
        self.phase = phases.Phase(config.name, run.model)
        self.adversary = None
        if run.discriminator and self.phase.has_pose_3d:
            self.phase = replace(self.phase, discriminator=run.discriminator)
            self.adversary = Adversary(run.discriminator, experiment.optimizer.discriminator_learning_rate)
        self.dataset = run.dataset.without_pictures() if config.name == "lifter" else run.dataset
        self.optimizer = make_optimizer(self.phase.trainable_variables, experiment.optimizer)
        self.loss_scale = LossScale() if experiment.train.precision == "mixed_float16" else None
        if run.resumes and run.is_chief:
            checkpoint.restore(run.checkpoint_path, self.variables)
        run.resumes = False
        distribution.take_chiefs_values(run.strategy, self.variables.values(), run.is_chief)
        self.optimizer.take_up()
        if self.adversary:
            self.adversary.optimizer.take_up()
        # Every phase draws its own numbers; 24 bits leave room for one seed more a layer of dropout.
        self.seed = int(np.random.SeedSequence((experiment.train.seed, run.progress.phase)).generate_state(1)[0] >> 8)
        self.train_step = steps.make_train_step(
            run.strategy,
            self.phase,
            self.optimizer,
            self.loss_scale,
            self._schedule(),
            replace(experiment, augment=replace(experiment.augment, flip=config.flip)),
            self.seed,
            self.adversary,
        )
        self.validator = Validator(run.strategy, self.phase, experiment, self.dataset)
        self.average_statistics = distribution.averager(run.strategy, run.model.non_trainable_weights)

    def _schedule(self) -> Schedule:
        optimizer, steps_per_epoch = self.experiment.optimizer, self.context.steps_per_epoch
        return Schedule(
            kind=optimizer.schedule,
            base=self.config.learning_rate,
            total_steps=self.config.epochs * steps_per_epoch,
            warmup_steps=optimizer.warmup_steps,
            drop_steps=tuple(epoch * steps_per_epoch for epoch in optimizer.step_epochs),
            drop_factor=optimizer.step_factor,
        )

    @property
    def variables(self) -> dict[str, keras.Variable]:
        """What a checkpoint keeps."""
        scale = self.loss_scale.state if self.loss_scale else {}
        adversary = self.adversary.variables if self.adversary else {}
        return checkpoint.model_variables(self.context.model) | self.optimizer.state | scale | adversary

    def run(self) -> None:
        """Trains the epochs that are left, and moves the run's progress to the next phase."""
        while self.progress.epoch < self.config.epochs:
            timings = self._train_epoch()
            self._finish_epoch(timings)
        self.progress.phase += 1
        self.progress.epoch, self.progress.best = 0, None

    # --- training ----------------------------------------------------------------------------------------------

    def _train_epoch(self) -> dict[str, float]:
        """Does the steps of an epoch that are left; returns how fast all of the epoch's were."""
        experiment, progress = self.experiment, self.progress
        batch_size, steps_per_epoch = experiment.data.batch_size, self.context.steps_per_epoch
        self.context.watch.check()
        batches = iter(self._batches())
        alpha = tf.constant(experiment.loss.alpha_at(progress.epoch), tf.float32)
        pending: list[dict] = []
        clock = EpochClock(progress)
        with self._progress_bar() as bar:
            while progress.step < steps_per_epoch:
                step = tf.constant(progress.epoch * steps_per_epoch + progress.step, tf.int32)
                wants_stop = tf.constant(float(self.context.stop_signal > 0))
                results = self.train_step(next(batches), step, alpha, wants_stop)
                stops = self._stops(results.pop("stop_votes"))
                pending.append(results)
                progress.step += 1
                bar.update(batch_size)
                saves = stops or self._is_every(experiment.train.checkpoint_steps)
                if saves or self._is_every(experiment.train.log_steps) or progress.step == steps_per_epoch:
                    values = self._record(pending)
                    bar.set_postfix(loss=f"{values['loss']:.4g}")
                if saves:
                    clock.stop()
                    self._save_checkpoint()
                if stops:
                    raise Stopped(self.context.stop_signal or signal.SIGTERM, self.context.step)
        clock.stop()
        images = steps_per_epoch * batch_size
        timings = {"images_per_second": images / progress.timings["seconds"]} | progress.timings
        return {name: round(value, 2) for name, value in timings.items()}

    def _stops(self, votes: tf.Tensor) -> bool:
        """Whether the run stops after this step. Workers agree on it by the votes of the step before, which are there
        already: nobody waits for the step that is being computed.
        """
        run = self.context
        if not distribution.has_workers(run.strategy):
            return bool(run.stop_signal)
        votes_before, run.last_votes = run.last_votes, votes
        return votes_before is not None and float(votes_before) > 0

    def _batches(self):
        data = self.experiment.data
        return distribution.distribute_batches(
            self.context.strategy,
            self.dataset,
            "train",
            data.batch_size,
            training=True,
            seed=self.seed,
            epoch=self.progress.epoch,
            passes=data.passes,
            skip_batches=self.progress.step,
            shard_by=data.shard_by,
            data_service=data.data_service if self.dataset.has_pictures else "",
        )

    def _progress_bar(self):
        batch_size = self.experiment.data.batch_size
        return progress(
            None,
            total=self.context.steps_per_epoch * batch_size,
            unit=" images",
            initial=self.progress.step * batch_size,
            description=f"{self.config.name} {self.progress.epoch + 1}/{self.config.epochs}",
        )

    def _is_every(self, steps_between: int) -> bool:
        return steps_between > 0 and self.progress.step % steps_between == 0

    def _record(self, pending: list[dict]) -> dict[str, float]:
        """Adds steps to the epoch's sums and the last of them to metrics.jsonl; refuses what is no number."""
        progress, values = self.progress, {}
        for i, result in enumerate(pending):
            values = {name: float(value) for name, value in result.items()}
            judged = {"loss"} if self.loss_scale else {"loss", "gradient_norm"}  # a gradient may overflow float16
            if not all(np.isfinite(values[name]) for name in judged):
                raise self._failure(self.context.step - len(pending) + i + 1)
            for name, value in values.items():
                progress.sums[name] = progress.sums.get(name, 0.0) + value
        pending.clear()
        if self.context.recorder:
            self.context.recorder.step(self.config.name, progress.epoch + 1, self.context.step, values)
        return values

    def _failure(self, step: int, what: str = "the loss or its gradient") -> UserError:
        """The error for a number that is none; it names the example that is to blame, where one is."""
        path = self.context.checkpoint_path
        good = f"{path} holds the last good weights" if path.is_file() else "no checkpoint was written yet"
        found = (
            f"{what} is NaN or infinite at step {step} ({self.config.name}, epoch {self.progress.epoch + 1}); {good}"
        )
        try:
            audit.name_fault(self.context.dataset.folders)
        except UserError as fault:
            return UserError(f"{found}; {fault}")
        return UserError(f"{found}; choose a lower learning rate or --clip_norm, and another --output")

    # --- after an epoch ----------------------------------------------------------------------------------------

    def _finish_epoch(self, timings: dict[str, float]) -> None:
        """Validates, records, and writes the model where it is the best one, and the checkpoint."""
        progress, run = self.progress, self.context
        run.watch.check()  # what an epoch learned from other data is not kept
        means = {name: total / run.steps_per_epoch for name, total in progress.sums.items()}
        self.average_statistics()
        with self.optimizer.averaged():
            validation = self.validator.run(self._draw_samples)
            if not np.isfinite(validation[JUDGED_BY[self.config.name]]):
                raise self._failure(run.step, "the validation's error")
            progress.epoch, progress.step, progress.sums, progress.timings = progress.epoch + 1, 0, {}, {}
            named = {f"val_{name}": value for name, value in validation.items()}
            if run.recorder:
                run.recorder.epoch(self.config.name, progress.epoch, run.step, means | named, timings)
            judged = validation[JUDGED_BY[self.config.name]]
            if progress.best is None or judged < progress.best:
                progress.best = judged
                self._write_model(validation)
        self._save_checkpoint()
        shown = ", ".join(f"{name} {value:.4g}" for name, value in validation.items())
        print(f"{self.config.name} epoch {progress.epoch}/{self.config.epochs}: {shown}")

    def _draw_samples(self, batch: dict, outputs: dict) -> None:
        if self.context.recorder:
            name = f"{self.progress.phase + 1}_{self.config.name}_epoch_{self.progress.epoch + 1:03d}"
            skeleton = self.experiment.model.get_skeleton()
            self.context.recorder.samples(name, self.context.step, batch, outputs, skeleton)

    def _write_model(self, validation: dict[str, float]) -> None:
        """Writes the model, computing in float32 whatever the precision of training."""
        run, train = self.context, self.experiment.train
        model = run.model
        if train.precision != "float32" or train.sync_batch_norm:  # neither is of use to who loads it
            model = self._float32_model  # built by all workers: they create variables together
            model.set_weights(run.model.get_weights())
        if not run.recorder:
            return
        metrics = {"split": "validation", "phase": self.config.name, "epoch": self.progress.epoch, **validation}
        model_folder.write_model(run.directory, model, run_folder.model_info(self.experiment, run.dataset, metrics))

    @cached_property
    def _float32_model(self) -> keras.Model:
        with phases.precision("float32"):
            return phases.build_model(self.experiment, self.context.dataset.statistics)

    def _save_checkpoint(self) -> None:
        self.average_statistics()
        if self.context.recorder:
            checkpoint.save(self.context.checkpoint_path, self.progress, self.variables)
