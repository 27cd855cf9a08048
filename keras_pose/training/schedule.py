"""Learning-rate schedules: pure functions of the step within a phase."""

from dataclasses import dataclass

import numpy as np
from keras import ops

from keras_pose.training.experiment import OptimizerConfig, PhaseConfig


@dataclass(frozen=True)
class Schedule:
    """A learning rate over the steps of one phase; see `OptimizerConfig` for the fields."""

    kind: str
    base: float
    total_steps: int
    warmup_steps: int = 0
    drop_steps: tuple[int, ...] = ()
    drop_factor: float = 0.1

    def __call__(self, step):
        """The learning rate of `step` (from 0; a number or a scalar tensor), as a float32 scalar tensor.

        Warm-up rises linearly to the full rate at step `warmup_steps`. From there, `cosine` falls to 0 after the last
        step. `step` multiplies the rate by `drop_factor` at each of `drop_steps`.
        """
        step = ops.cast(step, "float32")
        rate = ops.convert_to_tensor(np.float32(self.base))
        if self.kind == "cosine":
            share = (step - self.warmup_steps) / max(self.total_steps - self.warmup_steps, 1)
            rate = rate * 0.5 * (1.0 + ops.cos(np.float32(np.pi) * ops.clip(share, 0.0, 1.0)))
        elif self.kind == "step":
            for drop in self.drop_steps:
                rate = ops.where(step >= drop, rate * self.drop_factor, rate)
        if self.warmup_steps:
            rate = rate * ops.minimum((step + 1.0) / (self.warmup_steps + 1.0), 1.0)
        return rate


def phase_schedule(phase: PhaseConfig, optimizer: OptimizerConfig, steps_per_epoch: int) -> Schedule:
    """The schedule of one phase of a run."""
    return Schedule(
        kind=optimizer.schedule,
        base=phase.learning_rate,
        total_steps=phase.epochs * steps_per_epoch,
        warmup_steps=optimizer.warmup_steps,
        drop_steps=tuple(epoch * steps_per_epoch for epoch in optimizer.step_epochs),
        drop_factor=optimizer.step_factor,
    )
