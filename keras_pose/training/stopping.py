"""How a run is stopped: by a signal, between two steps, on all workers at once."""

import contextlib
import signal
import time
from collections.abc import Iterator

import tensorflow as tf

from keras_pose.training import distribution

SAME_STOP_S = 1.0  # a second signal within this is the same wish to stop


class Stopped(Exception):
    """The signal of that number stopped the run; its checkpoint is written. The message says how to resume."""

    def __init__(self, number: int, step: int):
        super().__init__(f"stopped by {signal.Signals(number).name} at step {step}; run the same command to resume")
        self.signal = number


class StopRequest:
    """Whether a signal has asked the run to stop.

    Attributes:
        signal: the number of the signal that this process got, 0 before any.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        self.signal = 0
        self._has_workers = distribution.has_workers(strategy)
        self._last_votes: tf.Tensor | None = None

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Inside, the first SIGTERM or SIGINT is a request, the second ends the process.

        One stop may come as two signals: to the group of processes, and from the parent that passes its own on.
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
        """Whether the run stops after the step that summed up these votes.

        Workers agree by the votes of the step before, which are there already: nobody waits for the step that is being
        computed.
        """
        if not self._has_workers:
            return self.signal > 0
        before, self._last_votes = self._last_votes, votes
        return before is not None and float(before) > 0
