import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.training.experiment import OptimizerConfig, PhaseConfig
from keras_pose.training.muon import FlatMuon, make_optimizer, orthogonalized
from keras_pose.training.optimizer import FlatAdam
from tests.training.runs import tiny_experiment

KERNELS = {"conv_0/kernel": (3, 3, 4, 8), "wide/kernel": (1, 1, 4, 16), "conv_1/kernel": (3, 3, 4, 8)}
OTHERS = {"norm/gamma": (8,), "dense/kernel": (6, 5), "final_layer/kernel": (1, 1, 8, 3), "final_layer/bias": (3,)}
SHAPES = KERNELS | OTHERS
MUON = OptimizerConfig(name="muon", muon_factor=20.0)
RATE = 1e-3


class Named(keras.Variable):
    """A variable whose path is that of a layer of a network."""

    path = ""


def make_variables() -> dict[str, keras.Variable]:
    rng = np.random.default_rng(0)
    variables = {}
    for name, shape in SHAPES.items():
        variables[name] = Named(rng.normal(size=shape).astype("float32"))
        variables[name].path = name
    return variables


def make_gradients(step: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(100 + step)
    return {name: rng.normal(size=shape).astype("float32") for name, shape in SHAPES.items()}


def train(config: OptimizerConfig, steps: int = 3) -> tuple[FlatAdam, dict[str, np.ndarray]]:
    variables = make_variables()
    optimizer = make_optimizer(list(variables.values()), config)
    for step in range(steps):
        optimizer.apply(optimizer.flatten(list(make_gradients(step).values())), RATE)
    return optimizer, {name: keras.ops.convert_to_numpy(variable.value) for name, variable in variables.items()}


def matrix(kernel: np.ndarray) -> np.ndarray:
    return kernel.reshape(-1, kernel.shape[-1]).astype("float64")


def nearest_orthogonal(x: np.ndarray) -> np.ndarray:
    u, _, v = np.linalg.svd(x, full_matrices=False)
    return u @ v


def moved(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A kernel scaled to the norm that Muon holds, and one step from there."""
    before = matrix(make_variables()[name].numpy())
    scaled = before * np.sqrt(before.shape[1]) / np.linalg.norm(before)
    return scaled, matrix(train(MUON, steps=1)[1][name])


@pytest.mark.parametrize("shape", [(3, 36, 8), (2, 4, 16), (1, 8, 8)])
def test_singular_values_come_near_one_and_their_directions_stay(shape):
    x = np.random.default_rng(1).normal(size=shape).astype("float32")
    result = keras.ops.convert_to_numpy(orthogonalized(x)).astype("float64")
    for mine, given in zip(result, x, strict=True):
        values = np.linalg.svd(mine, compute_uv=False)
        assert values.max() < 1.3 and np.median(values) > 0.6
        u, _, v = np.linalg.svd(given, full_matrices=False)
        cross = u.T @ mine @ v.T
        np.testing.assert_allclose(cross, np.diag(np.diag(cross)), atol=1e-4)


def test_it_is_the_iteration_of_keras(monkeypatch):
    monkeypatch.setattr("keras_pose.training.muon.ITERATIONS", 5)
    x = np.random.default_rng(1).normal(size=(1, 36, 8)).astype("float32")
    theirs = keras.optimizers.Muon().zeropower_via_newtonschulz5(keras.ops.convert_to_tensor(x[0]), 5)
    np.testing.assert_allclose(orthogonalized(x)[0], theirs, atol=1e-4)


def test_no_gradient_gives_no_direction():
    np.testing.assert_array_equal(orthogonalized(np.zeros((2, 4, 3), np.float32)), np.zeros((2, 4, 3)))


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_moves_by_its_share_against_the_gradient(name):
    scaled, after = moved(name)
    step = scaled - after
    assert np.linalg.norm(step) == pytest.approx(RATE * 20.0 * np.linalg.norm(scaled), rel=1e-3)
    gradient = matrix(make_gradients(0)[name])
    direction = nearest_orthogonal(gradient)
    assert np.sum(step * direction) > 0.9 * np.linalg.norm(step) * np.linalg.norm(direction)


def test_the_norm_of_kernels_is_held():
    _, weights = train(MUON, steps=40)
    for name in KERNELS:
        assert np.linalg.norm(weights[name]) == pytest.approx(np.sqrt(weights[name].shape[-1]), rel=0.05)


def test_everything_but_kernels_is_adams():
    by_adam, by_muon = (train(OptimizerConfig(name=name))[1] for name in ("adam", "muon"))
    for name in OTHERS:
        np.testing.assert_array_equal(by_muon[name], by_adam[name])


def test_momentum_looks_ahead():
    """Against the formulas, two steps, with the exact orthogonal matrix in place of the iteration."""
    name, beta = "conv_0/kernel", MUON.muon_momentum
    weights, momentum = matrix(make_variables()[name].numpy()), 0.0
    for step in range(2):
        gradient = matrix(make_gradients(step)[name])
        momentum = beta * momentum + gradient
        weights *= np.sqrt(8) / np.linalg.norm(weights)
        weights = weights - RATE * 20.0 * nearest_orthogonal(gradient + beta * momentum)
    change = weights - matrix(make_variables()[name].numpy()) * np.sqrt(8) / np.linalg.norm(make_variables()[name])
    ours = matrix(train(MUON, steps=2)[1][name]) - weights
    assert np.linalg.norm(ours) < 0.3 * np.linalg.norm(change)


def test_a_step_that_is_not_kept_changes_nothing():
    optimizer, weights = train(MUON)
    before = {name: value.numpy() for name, value in optimizer.state.items()}
    bad = [np.full(shape, np.nan, np.float32) for shape in SHAPES.values()]
    optimizer.apply(optimizer.flatten(bad), RATE, keep=keras.ops.convert_to_tensor(False))
    for variable, value in zip(optimizer.variables, weights.values(), strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    for name, value in optimizer.state.items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_its_state_is_all_that_a_checkpoint_needs():
    whole, expected = train(MUON, steps=3)
    first, weights = train(MUON, steps=2)
    variables = make_variables()
    for name, value in weights.items():
        variables[name].assign(value)
    second = FlatMuon(list(variables.values()), MUON)
    for name, value in first.state.items():
        second.state[name].assign(value)
    second.apply(second.flatten(list(make_gradients(2).values())), RATE)
    for name, value in expected.items():
        np.testing.assert_array_equal(variables[name].numpy(), value)
    assert whole.state.keys() == first.state.keys() == {"iterations", "first_moment", "second_moment", "momentum"}


def test_it_is_the_same_on_jax():
    pytest.importorskip("jax")
    script = "import json, tests.training.test_muon as t; weights = t.train(t.MUON)[1].values()"
    script += "; print(json.dumps([w.tolist() for w in weights]))"
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    output = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    for theirs, ours in zip(json.loads(output.stdout), train(MUON)[1].values(), strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-5)


def test_a_run_without_convolutions_is_refused(tmp_path):
    with pytest.raises(
        UserError, match="--optimizer=muon trains .* phase lifter does not have; .* add phase hrnet or e2e"
    ):
        tiny_experiment(tmp_path, "toy", [PhaseConfig("lifter", 1)], optimizer=MUON)
    tiny_experiment(tmp_path, "toy", [PhaseConfig("lifter", 1), PhaseConfig("e2e", 1)], optimizer=MUON)
