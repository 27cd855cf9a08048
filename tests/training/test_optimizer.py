import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_pose.models.tensorflow_speed import speed_tricks
from keras_pose.training.experiment import OptimizerConfig
from keras_pose.training.optimizer import FlatAdam, LossScale, StockAdam, make_adam

SHAPES = [(3, 4), (5,), (), (2, 1, 3), (5,), (3, 4)]
TOTAL = 41  # numbers in them
RATES = (1e-2, 3e-3, 1e-2, 1e-3)


def make_variables() -> list[keras.Variable]:
    rng = np.random.default_rng(0)
    return [keras.Variable(rng.normal(size=shape).astype("float32")) for shape in SHAPES]


def make_gradients(step: int) -> list[np.ndarray]:
    rng = np.random.default_rng(100 + step)
    return [rng.normal(scale=10.0 ** (i - 3), size=shape).astype("float32") for i, shape in enumerate(SHAPES)]


def weights_of(optimizer: FlatAdam) -> np.ndarray:
    return keras.ops.convert_to_numpy(optimizer.flatten([variable.value for variable in optimizer.variables]))


def train(config: OptimizerConfig) -> tuple[FlatAdam, list[np.ndarray]]:
    """A few steps; the optimizer and all weights after each."""
    optimizer = FlatAdam(make_variables(), config)
    history = []
    for step, rate in enumerate(RATES):
        optimizer.apply(optimizer.flatten(make_gradients(step)), rate)
        history.append(weights_of(optimizer))
    return optimizer, history


@pytest.mark.parametrize("clip_norm", [0.0, 2.0])
def test_it_equals_adam_of_keras(clip_norm):
    variables = make_variables()
    adam = keras.optimizers.Adam(1.0, global_clipnorm=clip_norm or None)
    for step, rate in enumerate(RATES):
        adam.learning_rate = rate
        adam.apply([keras.ops.convert_to_tensor(g) for g in make_gradients(step)], variables)
    optimizer, _ = train(OptimizerConfig(clip_norm=clip_norm))
    for ours, theirs in zip(optimizer.variables, variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("config", [OptimizerConfig(), OptimizerConfig(clip_norm=2.0, ema=0.9)])
def test_keras_own_adam_takes_its_place_without_speed_tricks(config):
    optimizer, history = train(config)
    with speed_tricks(False):
        stock = make_adam(make_variables(), config)
        assert type(stock) is StockAdam
        for step, rate in enumerate(RATES):
            stock.apply(stock.flatten(make_gradients(step)), rate)
            np.testing.assert_allclose(weights_of(stock), history[step], rtol=1e-5, atol=1e-7)
    if config.ema:
        np.testing.assert_allclose(stock.average.numpy(), optimizer.average.numpy(), rtol=1e-5, atol=1e-7)
    assert len({*stock.state}) == len(stock.state) >= 2 * len(SHAPES)


def test_it_returns_the_norm_before_clipping():
    optimizer = FlatAdam(make_variables(), OptimizerConfig(clip_norm=0.1))
    gradient = np.zeros(TOTAL, np.float32)
    gradient[[3, 20]] = 3.0, 4.0
    assert float(optimizer.apply(gradient, 0.1)) == pytest.approx(5.0)


def test_a_step_that_is_not_kept_changes_nothing():
    optimizer, history = train(OptimizerConfig(ema=0.9))
    before = {name: value.numpy() for name, value in optimizer.state.items()}
    optimizer.apply(np.full(TOTAL, np.nan, np.float32), 0.1, keep=keras.ops.convert_to_tensor(False))
    np.testing.assert_array_equal(weights_of(optimizer), history[-1])
    for name, value in optimizer.state.items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_it_continues_from_weights_that_were_set():
    optimizer, _ = train(OptimizerConfig())
    for variable in optimizer.variables:
        variable.assign(keras.ops.ones(variable.shape))
    optimizer.take_up()
    optimizer.apply(np.zeros(TOTAL, np.float32), 0.0)
    np.testing.assert_array_equal(weights_of(optimizer), np.ones(TOTAL))


def test_the_average_lies_within_what_it_averages_and_follows_a_constant():
    optimizer, history = train(OptimizerConfig(ema=0.9))
    average = optimizer.average.numpy()
    assert (average <= np.max(history, 0) + 1e-6).all() and (average >= np.min(history, 0) - 1e-6).all()
    for _ in range(200):
        optimizer.apply(np.zeros(TOTAL, np.float32), 0.0)
    np.testing.assert_allclose(optimizer.average.numpy(), history[-1], atol=1e-4)


def test_averaged_weights_are_there_inside_and_gone_after():
    optimizer, history = train(OptimizerConfig(ema=0.9))
    with optimizer.averaged():
        np.testing.assert_array_equal(weights_of(optimizer), optimizer.average.numpy())
    np.testing.assert_array_equal(weights_of(optimizer), history[-1])


def test_averaged_weights_are_gone_after_an_error_inside():
    optimizer, history = train(OptimizerConfig(ema=0.9))
    with pytest.raises(ValueError, match="inside"), optimizer.averaged():
        raise ValueError("inside")
    np.testing.assert_array_equal(weights_of(optimizer), history[-1])


def test_without_an_average_the_weights_stay():
    optimizer, history = train(OptimizerConfig())
    with optimizer.averaged():
        np.testing.assert_array_equal(weights_of(optimizer), history[-1])


def test_it_is_the_same_on_jax():
    pytest.importorskip("jax")
    script = "import json, tests.training.test_optimizer as t; print(json.dumps(t.train(t.CLIPPED)[1][-1].tolist()))"
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    output = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    np.testing.assert_allclose(json.loads(output.stdout), train(CLIPPED)[1][-1], rtol=1e-5, atol=1e-7)


CLIPPED = OptimizerConfig(clip_norm=2.0, ema=0.9)


def test_the_loss_scale_undoes_itself_and_doubles_when_all_is_well():
    scale = LossScale(initial=8.0, growth_steps=2)
    gradient, finite = scale.unscale(np.array([16.0, -8.0], np.float32))
    np.testing.assert_array_equal(gradient, [2.0, -1.0])
    assert bool(finite) and float(scale.scale) == 8.0
    scale.unscale(np.array([1.0], np.float32))
    assert float(scale.scale) == 16.0


def test_an_overflow_halves_the_loss_scale_and_starts_the_count_anew():
    scale = LossScale(initial=8.0, growth_steps=2)
    scale.unscale(np.array([1.0], np.float32))
    gradient, finite = scale.unscale(np.array([np.inf, 1.0], np.float32))
    assert not bool(finite) and float(scale.scale) == 4.0
    np.testing.assert_array_equal(gradient, [0.0, 0.0])
    scale.unscale(np.array([1.0], np.float32))
    assert float(scale.scale) == 4.0
