"""Laws of the One-Euro filter, and its numbers by hand."""

import math

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.inference import smoothing
from keras_pose.inference.smoothing import OneEuroFilter, OneEuroSettings

TIMES_S = np.arange(120) / 30


def _filtered(values, settings, times_s=TIMES_S):
    one_euro = OneEuroFilter(settings)
    return np.array([one_euro(value, time) for value, time in zip(values, times_s, strict=False)])


def test_first_value_and_constants_pass_unchanged():
    values = np.full((120, 17, 3), -3.25)
    assert np.array_equal(_filtered(values, smoothing.POSE_3D_MM), values)


def test_numbers_by_hand():
    """One step from 0 to 1 in 0.5 s. Speed 2, smoothed with weight 1 / (1 + 1 / (2 pi 1 0.5)) = pi / (pi + 1);
    cut-off 2 + 3 * speed; weight 1 / (1 + 1 / (pi * cutoff))."""
    speed = 2 * math.pi / (math.pi + 1)
    expected = 1 / (1 + 1 / (math.pi * (2 + 3 * speed)))
    assert _filtered([0.0, 1.0], OneEuroSettings(2.0, 3.0), [0.0, 0.5])[1] == pytest.approx(expected)


def test_noise_at_rest_shrinks():
    noise = np.random.default_rng(0).normal(0, 5.0, (120, 17, 3))
    assert _filtered(noise, smoothing.POSE_3D_MM)[30:].std() < 0.5 * noise[30:].std()


def test_beta_buys_less_lag():
    ramp = 1000.0 * TIMES_S[:, None]
    lag = {beta: (ramp - _filtered(ramp, OneEuroSettings(1.0, beta)))[-1, 0] for beta in (0.0, 0.005)}
    assert 0 < lag[0.005] < 0.3 * lag[0.0]


def test_shift_and_uniform_scale_of_units():
    """A shift passes through; in other units the result is the same when beta has its unit converted."""
    values = np.random.default_rng(1).normal(0, 50, (120, 5)).cumsum(0)
    plain = _filtered(values, OneEuroSettings(1.0, 0.005))
    assert np.allclose(_filtered(values + 700, OneEuroSettings(1.0, 0.005)), plain + 700)
    assert np.allclose(_filtered(values / 1000, OneEuroSettings(1.0, 5.0)), plain / 1000)


def test_coordinates_do_not_touch_each_other():
    values = np.random.default_rng(2).normal(0, 1, (120, 4))
    both = _filtered(values, smoothing.KEYPOINTS_2D)
    assert np.allclose(both[:, 2], _filtered(values[:, 2], smoothing.KEYPOINTS_2D))


def test_reset_forgets_and_time_must_increase():
    one_euro = OneEuroFilter(smoothing.POSE_3D_MM)
    one_euro(np.zeros(3), 1.0)
    with pytest.raises(UserError, match="must increase"):
        one_euro(np.ones(3), 1.0)
    one_euro.reset()
    assert np.array_equal(one_euro(np.ones(3), 0.0), np.ones(3))
