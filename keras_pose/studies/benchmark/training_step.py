"""The step of `keras_pose.train` for the benchmark: one device or a strategy's, with Adam at a constant rate."""

from collections.abc import Callable

import tensorflow as tf

from keras_pose.training import phases, steps
from keras_pose.training.experiment import Experiment
from keras_pose.training.optimizer import FlatAdam, LossScale
from keras_pose.training.schedule import Schedule

LEARNING_RATE = 1e-3


def make_steps(strategy: tf.distribute.Strategy, phase: phases.Phase, *experiments: Experiment) -> list[Callable]:
    """A training step per experiment, all on the same weights and optimizer; call this under the strategy."""
    optimizer = FlatAdam(phase.trainable_variables, experiments[0].optimizer)
    scale = LossScale() if experiments[0].train.precision == "mixed_float16" else None
    schedule = Schedule("constant", LEARNING_RATE, 1)
    return [
        steps.make_train_step(strategy, phase, optimizer, scale, schedule, experiment, seed=0)
        for experiment in experiments
    ]
