"""The One-Euro filter: steadies joints that barely move, and follows fast ones with little lag.

Casiez, Roussel and Vogel, "1 Euro Filter", CHI 2012. An exponential filter per coordinate, whose cutoff frequency
increases with the coordinate's own (smoothed) speed: cutoff = min_cutoff_hz + beta * |speed|.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_pose.core.errors import UserError


@dataclass(frozen=True)
class OneEuroSettings:
    """`min_cutoff_hz`: lower is steadier at rest. `beta`: Hz per unit of speed; higher lags less when moving.
    `derivative_cutoff_hz`: the cutoff for smoothing the speed itself."""

    min_cutoff_hz: float
    beta: float
    derivative_cutoff_hz: float = 1.0


# A hand at 1 m/s gets a cutoff of about 6 Hz in both: 5 Hz per 1000 mm/s, or per 0.4 image heights per second.
KEYPOINTS_2D = OneEuroSettings(min_cutoff_hz=1.0, beta=12.0)  # points in image heights
POSE_3D_MM = OneEuroSettings(min_cutoff_hz=1.0, beta=0.005)


class OneEuroFilter:
    """Smooths a stream of arrays of one shape, each with its time; every coordinate independently."""

    def __init__(self, settings: OneEuroSettings):
        self.settings = settings
        self.reset()

    def reset(self) -> None:
        """Forgets the past: the next value passes unchanged."""
        self._time_s = 0.0
        self._value: np.ndarray | None = None
        self._speed = np.zeros(())

    def __call__(self, value: np.ndarray, time_s: float) -> np.ndarray:
        """The smoothed value; raises UserError if time does not increase."""
        value = np.asarray(value, np.float64)
        if self._value is None:
            self._time_s, self._value, self._speed = time_s, value, np.zeros_like(value)
            return value.copy()
        step_s = time_s - self._time_s
        if step_s <= 0:
            raise UserError(
                f"frame times must increase, but {time_s} s came after {self._time_s} s; reset the filter to rewind"
            )
        speed = (value - self._value) / step_s
        self._speed = self._speed + _weight(self.settings.derivative_cutoff_hz, step_s) * (speed - self._speed)
        cutoff_hz = self.settings.min_cutoff_hz + self.settings.beta * np.abs(self._speed)
        self._value = self._value + _weight(cutoff_hz, step_s) * (value - self._value)
        self._time_s = time_s
        return self._value.copy()


def _weight(cutoff_hz: Any, step_s: float) -> Any:
    """The new value's weight in an exponential filter: 1 / (1 + tau / step) with tau = 1 / (2 pi cutoff)."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff_hz * step_s))
