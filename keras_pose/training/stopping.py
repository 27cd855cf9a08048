"""Stops a run on a signal: between two steps, on all workers at once."""

import contextlib
import signal
import time
from collections.abc import Iterator

import tensorflow as tf

from keras_pose.training import distribution

SAME_STOP_S = 1.0  # a second signal within this time counts as the same request


class Stopped(Exception):
    """A signal stopped the run after a checkpoint was written. The message explains how to resume."""

    def __init__(self, number: int, step: int):
        super().__init__(f"stopped by {signal.Signals(number).name} at step {step}; run the same command to resume")
        self.signal = number


class StopRequest:
    """A signal's request to stop the run.

    Attributes:
        signal: the number of the signal that this process received; 0 before any.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        self.signal = 0
        self._has_workers = distribution.has_workers(strategy)
        self._last_votes: tf.Tensor | None = None

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Inside, the first SIGTERM or SIGINT is a request to stop; the second ends the process.

        One request may arrive as two signals: to the process group, and forwarded by the parent.
        """
        first = 0.0

        def on_signal(number, frame) -> None:
            nonlocal first
            if not self.signal:
                self.signal, first = number, time.monotonic()
            elif time.monotonic() - first > SAME_STOP_S:
                raise KeyboardInterrupt

        handlers = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    @property
    def vote(self) -> tf.Tensor:
        """This process's vote, which a step sums over the replicas."""
        return tf.constant(float(self.signal > 0))

    def is_granted(self, votes: tf.Tensor) -> bool:
        """Whether the run stops after the step that returned these votes.

        Workers decide by the votes of the previous step, which are already available, instead of waiting for the step
        in progress.
        """
        if not self._has_workers:
            return self.signal > 0
        before, self._last_votes = self._last_votes, votes
        return before is not None and float(before) > 0
