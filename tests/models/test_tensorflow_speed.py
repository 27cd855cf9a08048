"""Each speed trick leaves results unchanged, and the switch disables all of them."""

import gc

import keras
import pytest
import tensorflow as tf

from keras_pose.models.tensorflow_speed import META_OPTIMIZER_OFF as OFF
from keras_pose.models.tensorflow_speed import (
    collections_paused,
    one_variable_name,
    run_as_traced,
    speed_tricks,
    tricks_are_on,
)


def is_off() -> bool:
    return tf.config.optimizer.get_experimental_options().get(OFF, False)


@pytest.mark.parametrize("before", [False, True])
def test_rewriting_is_off_only_during_the_step(before):
    seen = []
    tf.config.optimizer.set_experimental_options({OFF: before})
    try:
        step = run_as_traced(lambda a, b: seen.append(is_off()) or {"sum": a + b})
        assert step(1, 2) == {"sum": 3}
        assert seen == [True] and is_off() == before
        with pytest.raises(TypeError):
            step(1, "2")
        assert is_off() == before
    finally:
        tf.config.optimizer.set_experimental_options({OFF: False})


def test_a_step_gives_the_same_either_way():
    @tf.function(autograph=False)
    def step(x):
        return {"y": tf.reduce_sum(tf.nn.relu(x * 2.0 + 1.0) - tf.zeros_like(x))}

    x = tf.constant([-3.0, 0.5, 4.0])
    assert float(run_as_traced(step)(x)["y"]) == float(step(x)["y"]) == 11.0


def test_graphs_for_gpus_are_rewritten(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert run_as_traced(is_off)() is False


@pytest.mark.parametrize("devices", [[], ["gpu"]])
def test_no_garbage_is_collected_during_the_step(monkeypatch, devices):
    """Nor while a model is built; afterwards all is as it was, whatever went wrong."""
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: devices)
    assert gc.isenabled() and run_as_traced(gc.isenabled)() is False and gc.isenabled()
    with pytest.raises(TypeError):
        run_as_traced(len)(1)
    assert gc.isenabled()
    with collections_paused(), collections_paused():
        pass
    gc.disable()
    try:
        with collections_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_switch_turns_everything_off_and_on_again():
    def step():
        return gc.isenabled(), is_off(), tricks_are_on()

    with speed_tricks(False):
        assert run_as_traced(step) is step
        with collections_paused(), one_variable_name():
            assert step() == (True, False, False)
            assert "variables/" not in keras.Variable(0.0).value.name
    with pytest.raises(KeyError), speed_tricks(False):
        raise KeyError
    assert tricks_are_on() and run_as_traced(step)() == (False, True, True)
