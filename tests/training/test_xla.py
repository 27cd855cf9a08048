import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_pose.training.xla import compile_forward


def test_a_compiled_network_that_upsamples_has_the_same_outputs_and_gradients():
    rng = np.random.default_rng(0)
    inputs = keras.Input((4, 6, 3))
    x = keras.layers.Conv2D(2, 3, padding="same")(inputs)
    x = ops.image.resize(x, (8, 18), interpolation="nearest", data_format="channels_last")
    model = keras.Model(inputs, keras.layers.Conv2D(5, 3)(x))
    batch = tf.constant(rng.normal(size=(2, 4, 6, 3)).astype(np.float32))
    direction = rng.normal(size=(2, 6, 16, 5)).astype(np.float32)
    found = []
    for forward in (model, compile_forward(model)):
        with tf.GradientTape() as tape:
            outputs = forward(batch)
            loss = tf.reduce_sum(outputs * direction)
        found.append([outputs, *tape.gradient(loss, [v.value for v in model.trainable_variables])])
    for plain, compiled in zip(*found, strict=True):
        np.testing.assert_allclose(compiled, plain, atol=1e-4)
