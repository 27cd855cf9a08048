"""Describes the machine and its limits: results include them, and rows that it cannot measure are skipped."""

import importlib.metadata
import os
import platform

from keras_pose.models.precision import BFLOAT16_CPU_FLAGS, CPU_INFO, fastest_precision
from keras_pose.studies.benchmark.contest import WORKERS

BUSY = 0.3  # processors used by other processes, above which times are not reliable


def describe() -> dict:
    """Processor, GPUs, the number of processors busy with other work, and versions."""
    return {
        "processor": _processor(),
        "processors": len(processors()),
        "gpus": [details.get("device_name", "GPU") for details in _gpus()],
        "processors_busy_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        **{name: _version(name) for name in ("tensorflow", "keras", "torch")},
    }


def processors() -> list[int]:
    """The numbers of the processors available to this process."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def why_no_bfloat16() -> str:
    """Why bfloat16 would only be emulated here; empty if the machine supports it."""
    if fastest_precision() == "mixed_bfloat16":
        return ""
    if _gpus():
        return "a GPU has no bfloat16 (compute capability 8.0)"
    return f"no bfloat16 instructions ({' or '.join(sorted(BFLOAT16_CPU_FLAGS))}) are known of this processor"


def why_no_workers() -> str:
    """Why workers cannot have one processor each; empty if they can."""
    if not hasattr(os, "sched_setaffinity"):
        return "processors can be assigned only on Linux"
    count = len(processors())
    return "" if count >= WORKERS else f"{WORKERS} workers need {WORKERS} processors; this machine has {count}"


def _processor() -> str:
    if CPU_INFO.is_file():
        for line in CPU_INFO.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _gpus() -> list[dict]:
    import tensorflow as tf

    return [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
