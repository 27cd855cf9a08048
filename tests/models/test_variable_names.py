"""Quickly made models are the same models."""

import keras
import numpy as np
import pytest

from keras_pose.models.hrnet import build_hrnet
from keras_pose.models.tensorflow_speed import one_variable_name


def build() -> keras.Model:
    keras.utils.set_random_seed(3)
    return build_hrnet("w8_tiny", 5, (32, 64))


def test_only_tensorflows_names_differ(tmp_path):
    plain = build()
    with one_variable_name():
        quick = build()
    assert {variable.value.name for variable in quick.variables} == {"variables/variable:0"}
    assert len({variable.value.name for variable in plain.variables}) > 100  # or nothing would be gained
    assert [variable.path for variable in quick.variables] == [variable.path for variable in plain.variables]
    for ours, theirs in zip(quick.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    image = np.random.default_rng(0).uniform(0, 255, (2, 32, 64, 3))
    quick(image, training=True)  # running statistics follow, each its own
    quick.save(tmp_path / "quick.keras")
    again = keras.models.load_model(tmp_path / "quick.keras")
    np.testing.assert_array_equal(again(image), quick(image))
    assert np.abs(plain(image) - quick(image)).max() > 1e-6


def test_names_are_as_before_afterwards():
    with pytest.raises(KeyError), one_variable_name():
        raise KeyError
    assert "variables/" not in keras.Variable(np.zeros(3)).value.name
