"""Measures the peak memory of a piece of work."""

from collections.abc import Callable
from pathlib import Path


def peak_growth_mb(work: Callable[[], object]) -> float:
    """Megabytes by which the process's resident memory rises above where it is now while `work` runs."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _resident_kb("VmRSS")
    work()
    return (_resident_kb("VmHWM") - before) / 1024


def _resident_kb(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])
