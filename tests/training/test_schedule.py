import numpy as np
import pytest

from keras_pose.training.schedule import Schedule


def rates(total: int = 100, **options) -> np.ndarray:
    schedule = Schedule(base=0.5, total_steps=total, **options)
    return np.array([float(schedule(step)) for step in range(total)])


def test_constant_is_constant():
    np.testing.assert_allclose(rates(kind="constant"), 0.5)


def test_cosine_falls_from_the_full_rate_to_nearly_nothing():
    values = rates(kind="cosine")
    assert values[0] == 0.5 and values[50] == pytest.approx(0.25) and values[-1] < 0.5 / 1000
    assert (np.diff(values) < 0).all()


def test_steps_fall_where_requested():
    values = rates(kind="step", drop_steps=(40, 80), drop_factor=0.1)
    np.testing.assert_allclose(values[[0, 39, 40, 79, 80, 99]], [0.5, 0.5, 0.05, 0.05, 0.005, 0.005], rtol=1e-6)


@pytest.mark.parametrize("kind", ["constant", "cosine"])
def test_warm_up_grows_in_even_steps_to_the_full_rate(kind):
    values = rates(kind=kind, warmup_steps=9)
    np.testing.assert_allclose(values[:10], 0.5 * np.arange(1, 11) / 10, rtol=1e-6)
    assert values.argmax() == 9 or kind == "constant"
