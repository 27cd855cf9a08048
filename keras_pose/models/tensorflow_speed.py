"""All speed tricks that this project applies to TensorFlow and Keras, and one switch that disables them.

`python -m keras_pose.train --nospeed_tricks` trains without them, with Keras' own batch normalization and Adam and with
graphs as TensorFlow rewrites them. Results are the same up to rounding (tests/training/test_speed_tricks.py). Use the
switch to find out whether a trick causes a fault, and after updating TensorFlow or Keras.

Each trick states its gain and when it can be removed. Gains are for HRNet-W32 at 256 x 256 on two cores; commands and
conditions are in docs/performance.md. Backends other than TensorFlow never use a trick.
"""

import contextlib
import functools
import gc
from collections.abc import Callable, Iterator

import keras

META_OPTIMIZER_OFF = "disable_meta_optimizer"
_is_on = True  # a plain global, because replicas trace in their own threads


# --- the switch ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def speed_tricks(on: bool) -> Iterator[None]:
    """Inside, all tricks are on or off for everything built and traced."""
    global _is_on
    before, _is_on = _is_on, on
    try:
        yield
    finally:
        _is_on = before


def tricks_are_on() -> bool:
    """Whether to use tricks: they are switched on, and the backend is TensorFlow."""
    return _is_on and keras.backend.backend() == "tensorflow"


# --- building and tracing --------------------------------------------------------------------------------------


@contextlib.contextmanager
def collections_paused() -> Iterator[None]:
    """Pauses garbage collection: building HRNet-W32 and tracing its step create a million objects, all permanent.

    Gain: building takes 8.2 instead of 8.9 s, tracing 7.6 instead of 8.2 s.
    Remove when Python's collector no longer visits permanent objects.
    """
    was_enabled = gc.isenabled()
    if tricks_are_on():
        gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def one_variable_name() -> Iterator[None]:
    """Inside, the TensorFlow variables behind Keras' all get one name; Keras' own names and paths do not change.

    TensorFlow prepares a kernel for each new name, and HRNet-W32 has 1,462 variables.

    Gain: building takes 5.6 instead of 9.1 s.
    Remove when TensorFlow prepares one kernel for all names.
    """
    if not tricks_are_on():
        yield
        return
    import tensorflow as tf

    def create(next_creator, **arguments):
        with tf.name_scope("variables/"):  # the slash makes the scope absolute: nested in the layer's, it would be new
            return next_creator(**arguments | {"name": "variable"})

    with tf.variable_creator_scope(create):
        yield


def run_as_traced(step: Callable[..., dict]) -> Callable[..., dict]:
    """On CPUs, runs `step`, a `tf.function`, as traced. On GPUs the graph is still rewritten, to choose the layout.

    TensorFlow rewrites the step's 8,000 operations before it runs them. On CPUs this does not make later steps faster.
    Other functions, such as validation's, are rewritten as usual. Garbage collection is paused while `step` runs.

    Gain: the first step is finished after 29.5 instead of 36.0 s.
    Remove when the benchmark's row `start` shows no difference.
    """
    import tensorflow as tf

    if not _is_on:
        return step
    if tf.config.list_physical_devices("GPU"):
        return collections_paused()(step)

    @functools.wraps(step)
    @collections_paused()
    def as_traced(*arguments):
        before = tf.config.optimizer.get_experimental_options().get(META_OPTIMIZER_OFF, False)
        tf.config.optimizer.set_experimental_options({META_OPTIMIZER_OFF: True})
        try:
            return step(*arguments)
        finally:
            tf.config.optimizer.set_experimental_options({META_OPTIMIZER_OFF: before})

    return as_traced


# --- kernels ---------------------------------------------------------------------------------------------------


def normalize_batch(inputs, layer: keras.layers.BatchNormalization, training: bool):
    """Batch normalization of (B, H, W, C); in training it also updates the layer's statistics.

    Gain of folding pixels into channels (`models/folded_batch_norm.py`): for 64 x 32 x 32 x 20 bfloat16 values, this
    and its derivative take 4.1 instead of 50 ms on two cores with AMX (the benchmark's row `batch_norm`).
    Remove folding when oneDNN has a fast kernel for bfloat16 and any number of channels.
    """
    from keras_pose.models.folded_batch_norm import normalize_folded, pixels_to_fold  # imports TensorFlow

    fold = pixels_to_fold(inputs)
    return normalize_folded(inputs, layer, training, fold) if fold > 1 else normalize_at_once(inputs, layer, training)


def normalize_at_once(inputs, layer: keras.layers.BatchNormalization, training: bool):
    """`normalize_batch` with one fused kernel.

    Keras 3's layer consists of about 20 operations, and HRNet-W32 has 290 such layers. For the kernel's oldest version,
    the gradient tape knows that only the first output is differentiated. For later versions it creates zeros for the
    other outputs. The oldest version supports only float32.

    Gain of the oldest version over the latest: 8,150 instead of 9,610 operations, traced in 8.6 instead of 10.7 s.
    Remove when Keras' layer calls a fused kernel and the tape creates no zeros for it.
    """
    import tensorflow as tf

    first_version = training and inputs.dtype == tf.float32
    kernel = tf.raw_ops.FusedBatchNorm if first_version else tf.raw_ops.FusedBatchNormV3
    outputs, mean, variance, *_ = kernel(
        x=inputs,
        scale=layer.gamma,
        offset=layer.beta,
        mean=layer.moving_mean,
        variance=layer.moving_variance,
        epsilon=layer.epsilon,
        exponential_avg_factor=1.0 - layer.momentum,
        is_training=training,
    )
    if training:
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)
    return outputs


def apply_adam(parameters, first_moment, second_moment, gradient, learning_rate, t, config, keep=None) -> None:
    """Adam's step `t`, counted from 1, with TensorFlow's kernel: one pass over the vectors instead of about a dozen.

    Used by `training.optimizer.FlatAdam`, which updates all parameters as one vector.

    Gain of the vector: the first step is finished after 14.1 instead of 179 s. Gain of the kernel over formulas: an
    update takes 172 instead of 354 ms of one processor.
    Remove when Keras' Adam updates all variables at once.

    Args:
        parameters, first_moment, second_moment: Keras variables, each a vector (N,), updated in place.
        gradient: (N,).
        config: has `beta_1`, `beta_2` and `epsilon`.
        keep: a boolean scalar; if false, nothing changes.
    """
    import tensorflow as tf

    beta_1, beta_2 = config.beta_1, config.beta_2
    powers = {"beta1_power": tf.pow(beta_1, t), "beta2_power": tf.pow(beta_2, t)}
    if keep is not None:  # where `keep` is false, these values leave everything unchanged
        gradient = tf.where(keep, gradient, 0.0)
        learning_rate = tf.where(keep, learning_rate, 0.0)
        beta_1, beta_2 = tf.where(keep, beta_1, 1.0), tf.where(keep, beta_2, 1.0)
    tf.raw_ops.ResourceApplyAdam(
        var=parameters.value.handle,
        m=first_moment.value.handle,
        v=second_moment.value.handle,
        grad=gradient,
        lr=learning_rate,
        beta1=beta_1,
        beta2=beta_2,
        epsilon=config.epsilon,
        **powers,
    )
