"""Each layer, built with values other than its defaults, survives a round trip through its configuration.

That a fresh process loads them from a file is seen in tests/test_backends.py.
"""

import keras
import numpy as np
import pytest

from keras_pose.models.batch_norm import FusedBatchNormalization
from keras_pose.models.pose_autoencoder import Standardize
from keras_pose.models.soft_argmax import SoftArgmax

MEAN, STD = np.arange(6.0).reshape(3, 2), np.arange(1.0, 7).reshape(3, 2)
LAYERS = [
    (SoftArgmax(7.5, "flat", name="a"), (2, 8, 4, 3)),
    (SoftArgmax(7.5, relative=True, inhibition=0.2, mirror=(1, 0, 2), name="e"), (2, 8, 4, 3)),
    (FusedBatchNormalization(0.7, 0.5, name="b"), (2, 8, 4, 3)),
    (Standardize(MEAN, STD, name="c"), (2, 3, 2)),
    (Standardize(MEAN, STD, invert=True, name="d"), (2, 3, 2)),
]


@pytest.mark.parametrize("layer, shape", LAYERS)
def test_layer_through_its_configuration(layer, shape, rng):
    inputs = rng.normal(size=shape).astype(np.float32)
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.name == layer.name and again.get_config() == layer.get_config()
    np.testing.assert_array_equal(again(inputs, training=True), layer(inputs, training=True))
    plain = type(layer)(0 * MEAN, STD) if isinstance(layer, Standardize) else type(layer)()
    assert np.abs(plain(inputs, training=True) - layer(inputs, training=True)).max() > 0.01
