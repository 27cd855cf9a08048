import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_pose.models.batch_norm import FusedBatchNormalization
from keras_pose.models.tensorflow_speed import speed_tricks

SHAPE = (3, 5, 4, 6)
COUNT = 3 * 5 * 4


@pytest.fixture(params=[True, False], ids=["fused", "by_keras"], autouse=True)
def tricks(request):
    """Every law holds with the fused kernel and with Keras' own layer."""
    with speed_tricks(request.param):
        yield


@pytest.fixture
def layer(rng):
    layer = FusedBatchNormalization(momentum=0.8, epsilon=1e-3)
    layer.build(SHAPE)
    gamma, beta, mean = (rng.normal(1, 0.5, 6) for _ in range(3))
    layer.set_weights([gamma, beta, mean, rng.uniform(0.5, 2, 6)])
    return layer


@pytest.fixture
def x(rng):
    return rng.normal(3, 2, SHAPE).astype(np.float32)


def normalized(x, mean, variance, layer):
    return (x - mean) / np.sqrt(variance + layer.epsilon) * layer.gamma.numpy() + layer.beta.numpy()


def test_inference_is_the_formula(layer, x):
    expected = normalized(x, layer.moving_mean.numpy(), layer.moving_variance.numpy(), layer)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_training_is_the_formula_and_moves_the_statistics(layer, x):
    old_mean, old_variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(layer(x, training=True), normalized(x, mean, variance, layer), atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean, 0.8 * old_mean + 0.2 * mean, rtol=1e-5)
    unbiased = variance * COUNT / (COUNT - 1)
    np.testing.assert_allclose(layer.moving_variance, 0.8 * old_variance + 0.2 * unbiased, rtol=1e-5)


def test_gradients_are_those_of_keras_layer(layer, x, rng):
    keras_layer = keras.layers.BatchNormalization(momentum=0.8, epsilon=1e-3)
    keras_layer.build(SHAPE)
    keras_layer.set_weights(layer.get_weights())
    direction = rng.normal(size=SHAPE).astype(np.float32)
    found = []
    for each in (layer, keras_layer):
        with tf.GradientTape() as tape:
            inputs = tf.constant(x)
            tape.watch(inputs)
            loss = tf.reduce_sum(each(inputs, training=True) * direction)
        found.append(tape.gradient(loss, [inputs, *each.trainable_weights]))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_frozen_layer_keeps_its_statistics(layer, x):
    expected = layer(x)
    layer.trainable = False
    before = layer.get_weights()
    np.testing.assert_array_equal(layer(x, training=True), expected)
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_precision(precision, x):
    layer = FusedBatchNormalization()
    outputs = layer(x, training=True)
    assert outputs.dtype == keras.config.dtype_policy().compute_dtype
    assert {w.dtype for w in layer.weights} == {"float32"}
    expected = (x - x.mean((0, 1, 2))) / x.std((0, 1, 2))
    tolerance = {"float32": 1e-4, "mixed_bfloat16": 0.03, "mixed_float16": 0.005}[precision]
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), expected, atol=tolerance)
    np.testing.assert_allclose(layer.moving_mean, 0.1 * x.mean((0, 1, 2)), rtol=0.01)


def test_refuses_anything_but_images():
    with pytest.raises(ValueError, match=r"\(B, H, W, C\)"):
        FusedBatchNormalization().build((None, 6))


@pytest.mark.parametrize("shape", [(3, 5, 4, 20), (2, 4, 4, 17), (3, 5, 4, 6)], ids=["folded", "odd", "not folded"])
def test_bfloat16_is_float32_up_to_rounding(shape, rng):
    """Where pixels are folded into channels, too: outputs, statistics and gradients, in training and in inference."""
    x, direction = (rng.normal(3, 2, shape).astype(np.float32) for _ in range(2))
    weights = [rng.uniform(0.5, 2, shape[-1]) for _ in range(4)]
    found = []
    for dtype in ("float32", "mixed_bfloat16"):
        layer = FusedBatchNormalization(momentum=0.8, epsilon=1e-3, dtype=dtype)
        layer.build(shape)
        layer.set_weights(weights)
        inference = layer(x)
        with tf.GradientTape() as tape:
            inputs = tf.constant(x)
            tape.watch(inputs)
            outputs = layer(inputs, training=True)
        gradients = tape.gradient(
            outputs, [inputs, *layer.trainable_weights], output_gradients=tf.cast(direction, outputs.dtype)
        )
        found.append([inference, outputs, *gradients, *layer.get_weights()])
    for exact, rounded in zip(*found, strict=True):
        rounded = np.asarray(tf.cast(rounded, tf.float32))
        np.testing.assert_allclose(rounded, exact, atol=0.02 * np.abs(exact).max())
