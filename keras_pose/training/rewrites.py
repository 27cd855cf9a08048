"""TensorFlow's rewriting of a graph before its first run, left out where it costs more than it gives."""

import functools
from collections.abc import Callable

import tensorflow as tf

from keras_pose.training.garbage import collections_paused

OFF = "disable_meta_optimizer"


def start_sooner(step: Callable[..., dict]) -> Callable[..., dict]:
    """`step`, a `tf.function`, run as it was traced on processors; on GPUs, where rewriting sets the layout, as it is.

    A training step of HRNet-W32 has 8,000 operations: rewriting them takes a third of the time to the first step and
    makes later ones no faster (docs/performance.md). Other functions, such as validation's, are rewritten as ever.
    While the step is traced no garbage is collected.
    """
    if tf.config.list_physical_devices("GPU"):
        return collections_paused()(step)

    @functools.wraps(step)
    @collections_paused()
    def as_traced(*arguments):
        before = tf.config.optimizer.get_experimental_options().get(OFF, False)
        tf.config.optimizer.set_experimental_options({OFF: True})
        try:
            return step(*arguments)
        finally:
            tf.config.optimizer.set_experimental_options({OFF: before})

    return as_traced
