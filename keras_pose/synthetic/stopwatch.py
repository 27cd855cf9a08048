"""Where the time goes: processor milliseconds per stage of the generator."""

import time
from collections import defaultdict
from contextlib import contextmanager


class Stopwatch:
    """Adds up the processor time of named stages: `with clock("shading"): ...`."""

    def __init__(self):
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, stage: str):
        start = time.process_time()
        try:
            yield
        finally:
            self.seconds[stage] += time.process_time() - start

    def milliseconds(self, count: int) -> dict[str, float]:
        """Milliseconds per example of each stage, in the order in which they first ran."""
        return {stage: 1000 * seconds / count for stage, seconds in self.seconds.items()}
