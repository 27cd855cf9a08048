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
import math
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
        with tf.name_scope("variables/"):  # with the slash, it is not nested in the layer's scope, which would be new
            return next_creator(**arguments | {"name": "variable"})

    with tf.variable_creator_scope(create):
        yield


def run_as_traced(step: Callable[..., dict]) -> Callable[..., dict]:
    """Runs `step`, a `tf.function`, as traced on processors; unchanged on GPUs, where rewriting sets the layout.

    TensorFlow rewrites the step's 8,000 operations before it runs them, without making later steps faster. Other
    functions, such as validation's, are rewritten as usual. Garbage collection is paused while the step is traced.

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
    """Batch normalization of (B, H, W, C); in training it also updates the layer's statistics."""
    fold = _pixels_to_fold(inputs)
    return _normalize_folded(inputs, layer, training, fold) if fold > 1 else normalize_at_once(inputs, layer, training)


def normalize_at_once(inputs, layer: keras.layers.BatchNormalization, training: bool):
    """`normalize_batch` with one fused kernel.

    Keras 3's layer takes about 20 operations, and HRNet-W32 has 290 layers. For the kernel's oldest version, the
    gradient tape knows that only the first output is differentiated; for later versions it creates zeros for the
    others. The oldest version only supports float32.

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


VECTOR = 16  # channels that oneDNN's kernels of batch normalization handle at once


def _pixels_to_fold(inputs) -> int:
    """How many pixels to see as one with more channels (`_normalize_folded`); 1 to leave `inputs` as they are."""
    import tensorflow as tf

    height, width, channels = inputs.shape[1:]
    fold = VECTOR // math.gcd(channels, VECTOR)
    fits = height is not None and width is not None and height * width % fold == 0
    slow = inputs.dtype == tf.bfloat16 and not tf.config.list_physical_devices("GPU")
    return fold if fits and slow else 1


def _normalize_folded(inputs, layer: keras.layers.BatchNormalization, training: bool, fold: int):
    """`normalize_batch` for bfloat16 on processors: `fold` neighbouring pixels of C channels are one of fold x C.

    For bfloat16, oneDNN has a fast kernel only where the number of channels is a multiple of 16, and w20_small has 20
    and 40. The kernel's statistics of the folded channels give those of the C channels; with these given, it normalizes
    and differentiates as in inference, to which the derivative through the statistics is added.

    Gain: normalizing 64 x 32 x 32 x 20 values and its derivative take 3.9 instead of 54 ms on two cores with AMX
    (the benchmark's row `batch_norm`).
    Remove when oneDNN has a fast kernel for any number of channels.
    """
    import tensorflow as tf

    height, width, channels = inputs.shape[1:]
    shape, pixels = (-1, 1, height * width // fold, fold * channels), tf.size(inputs) // channels
    count = tf.cast(pixels, tf.float32)
    none = tf.zeros(0)

    def repeated(values):
        return tf.tile(values, [fold])

    def averaged(values):
        return tf.reduce_mean(tf.reshape(values, (fold, channels)), 0)

    def kernel(x, scale, offset, mean, variance, training=False, epsilon=layer.epsilon):
        return tf.raw_ops.FusedBatchNormV3(
            x=x, scale=scale, offset=offset, mean=mean, variance=variance, epsilon=epsilon, is_training=training
        )

    def moments(x):
        ones = tf.ones(fold * channels)
        _, means, variances, *_ = kernel(x, ones, 0.0 * ones, none, none, training=True)
        count_each = count / fold
        biased = variances * (count_each - 1.0) / count_each  # the kernel gives unbiased ones
        mean = averaged(means)
        return mean, averaged(biased + tf.square(means - repeated(mean)))

    @tf.custom_gradient
    def normalized(inputs, scale, offset):
        x = tf.reshape(inputs, shape)
        mean, variance = moments(x)
        outputs = kernel(x, repeated(scale), repeated(offset), repeated(mean), repeated(variance))[0]

        def gradient(upstream, *_):
            direct, d_scale, d_offset, *_ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=tf.reshape(upstream, shape),
                x=x,
                scale=repeated(scale),
                reserve_space_1=repeated(mean),
                reserve_space_2=repeated(variance),
                reserve_space_3=none,
                epsilon=layer.epsilon,
                is_training=False,
            )
            d_scale, d_offset = fold * averaged(d_scale), fold * averaged(d_offset)
            by_std = tf.math.rsqrt(variance + layer.epsilon)
            slope, shift = -scale * d_scale * by_std**2 / count, -scale * d_offset * by_std / count
            unit = tf.ones(fold * channels)
            through = kernel(x, repeated(slope), repeated(shift), repeated(mean), unit, epsilon=0.0)[0]
            return tf.reshape(direct + through, tf.shape(inputs)), d_scale, d_offset

        return (tf.reshape(outputs, tf.shape(inputs)), mean, variance), gradient

    if not training:
        known = (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
        outputs = kernel(tf.reshape(inputs, shape), *(repeated(tf.convert_to_tensor(values)) for values in known))[0]
        return tf.reshape(outputs, tf.shape(inputs))
    outputs, mean, variance = normalized(inputs, *map(tf.convert_to_tensor, (layer.gamma, layer.beta)))
    share = 1.0 - layer.momentum
    unbiased = variance * count / tf.maximum(count - 1.0, 1.0)
    layer.moving_mean.assign(layer.moving_mean * layer.momentum + mean * share)
    layer.moving_variance.assign(layer.moving_variance * layer.momentum + unbiased * share)
    return outputs


def apply_adam(parameters, first_moment, second_moment, gradient, learning_rate, t, config, keep=None) -> None:
    """Adam's step `t`, counted from 1, with TensorFlow's kernel: one pass over the vectors instead of about a dozen.

    Used by `training.optimizer.FlatAdam`, which updates all parameters as one vector.

    Gain of the vector: the first step is finished after 14.1 instead of 179 s. Gain of the kernel over formulas: an
    update takes 172 instead of 354 ms of one processor.
    Remove when Keras' Adam updates all variables at once.

    Args:
        parameters, first_moment, second_moment: Keras variables of one vector each, updated in place.
        config: has `beta_1`, `beta_2` and `epsilon`.
        keep: a boolean scalar; if false, nothing changes.
    """
    import tensorflow as tf

    beta_1, beta_2 = config.beta_1, config.beta_2
    powers = {"beta1_power": tf.pow(beta_1, t), "beta2_power": tf.pow(beta_2, t)}
    if keep is not None:  # these values leave everything unchanged
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
