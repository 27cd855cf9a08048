"""Measures the processor time of each stage of the generator."""

import time
from collections import defaultdict
from contextlib import contextmanager


class Stopwatch:
    """Sums the processor time of named stages, `with clock("shading"): ...`. A stage excludes the stages inside it."""

    def __init__(self):
        self.seconds: dict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def __call__(self, stage: str):
        self._charge()
        self._open.append(stage)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def milliseconds(self, count: int) -> dict[str, float]:
        """Milliseconds per example for each stage, in the order in which the stages first started."""
        return {stage: 1000 * seconds / count for stage, seconds in self.seconds.items()}

    def _charge(self) -> None:
        """Adds the time since the last change to the innermost open stage."""
        now = time.process_time()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now
