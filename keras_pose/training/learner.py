"""What one phase trains with: network, optimizer, discriminator and compiled steps."""

import contextlib
from collections.abc import Callable
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from keras_pose.data.dataset import DatasetInfo
from keras_pose.training import checkpoint, distribution, steps
from keras_pose.training.adversary import Adversary
from keras_pose.training.experiment import Experiment, PhaseConfig
from keras_pose.training.muon import make_optimizer
from keras_pose.training.optimizer import LossScale
from keras_pose.training.phases import Phase
from keras_pose.training.schedule import phase_schedule
from keras_pose.training.validation import Validator

# The validation metric that decides which epoch of a phase is best; lower is better. Heatmaps are not judged by the
# pixel error of the joints, which is also low if joints lie halfway between left and right.
JUDGED_BY = {"hrnet": "loss", "lifter": "mpjpe_mm", "e2e": "mpjpe_mm"}


class Learner:
    """Everything one phase adds to the run's model.

    Args:
        number: index of the phase in the run, from 0.
        discriminator: of the adversarial prior; None without one.

    Attributes:
        train_step: see `steps.make_train_step`.
        seed: for the phase's augmentation, dropout and order of examples.
    """

    def __init__(
        self,
        experiment: Experiment,
        number: int,
        dataset: DatasetInfo,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        discriminator: keras.Model | None,
        steps_per_epoch: int,
    ):
        self.config: PhaseConfig = experiment.train.phases[number]
        self.model = model
        self.phase = Phase(self.config.name, model)
        self.adversary: Adversary | None = None
        if discriminator and self.phase.has_pose_3d:
            self.phase = replace(self.phase, discriminator=discriminator)
            self.adversary = Adversary(discriminator, experiment.optimizer.discriminator_learning_rate)
        self.dataset = dataset.without_pictures() if self.config.name == "lifter" else dataset
        self.optimizer = make_optimizer(self.phase.trainable_variables, experiment.optimizer)
        self.loss_scale = LossScale() if experiment.train.precision == "mixed_float16" else None
        # Every phase has its own seeds; 24 bits leave room for one more seed per dropout layer.
        self.seed = int(np.random.SeedSequence((experiment.train.seed, number)).generate_state(1)[0] >> 8)
        self.train_step = steps.make_train_step(
            strategy,
            self.phase,
            self.optimizer,
            self.loss_scale,
            phase_schedule(self.config, experiment.optimizer, steps_per_epoch),
            replace(experiment, augment=replace(experiment.augment, flip=self.config.flip)),
            self.seed,
            self.adversary,
        )
        self.average_statistics = distribution.averager(strategy, model.non_trainable_weights)
        self._validator = Validator(strategy, self.phase, experiment, self.dataset)

    @property
    def variables(self) -> dict[str, keras.Variable]:
        """The variables to checkpoint."""
        scale = self.loss_scale.state if self.loss_scale else {}
        adversary = self.adversary.variables if self.adversary else {}
        return checkpoint.model_variables(self.model) | self.optimizer.state | scale | adversary

    def take_up(self) -> None:
        """Makes the optimizers continue from the current values of the variables."""
        self.optimizer.take_up()
        if self.adversary:
            self.adversary.optimizer.take_up()

    @contextlib.contextmanager
    def judged_weights(self):
        """Inside, the model has the weights to validate and save: their moving average, if there is one."""
        self.average_statistics()
        with self.optimizer.averaged():
            yield

    def validate(self, on_first_batch: Callable[[dict, dict], None]) -> tuple[dict[str, float], float]:
        """The metrics on the validation split, and the one that decides which epoch is best."""
        validation = self._validator.run(on_first_batch)
        return validation, validation[JUDGED_BY[self.config.name]]

    def are_finite(self, figures: dict[str, float]) -> bool:
        """Whether a step's loss is finite, and its gradient too if there is no loss scaling, which skips overflows."""
        judged = {"loss"} if self.loss_scale else {"loss", "gradient_norm"}
        return all(np.isfinite(figures[name]) for name in judged)
