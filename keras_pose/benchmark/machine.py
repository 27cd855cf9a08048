"""What the machine is, and what it cannot do: results say so, and rows that ask for it are left out."""

import importlib.metadata
import os
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
BFLOAT16_INSTRUCTIONS = {"avx512_bf16", "amx_bf16", "bf16"}  # as Linux calls those of x86, and of Arm
BFLOAT16_CAPABILITY = (8, 0)  # NVIDIA's Ampere
BUSY = 0.3  # processors at work for others, above which times are not to be trusted
WORKERS = 2


def describe() -> dict:
    """Processor, graphics cards, how many processors other work takes at present, and versions."""
    return {
        "processor": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "processors": len(processors()),
        "gpus": [details.get("device_name", "GPU") for details in _gpus()],
        "processors_busy_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        **{name: _version(name) for name in ("tensorflow", "keras", "torch")},
    }


def processors() -> list[int]:
    """The numbers of the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def why_no_bfloat16() -> str:
    """Why bfloat16 would only be imitated here; empty where the machine computes in it."""
    gpus = _gpus()
    if gpus:
        fit = all(details.get("compute_capability", (0, 0)) >= BFLOAT16_CAPABILITY for details in gpus)
        return "" if fit else "the graphics card has no bfloat16 (compute capability 8.0)"
    if not CPUINFO.is_file():
        return "whether this processor has bfloat16 instructions is not known"
    flags = set((_cpuinfo("flags") or _cpuinfo("Features")).split())
    names = ", ".join(sorted(BFLOAT16_INSTRUCTIONS))
    return "" if flags & BFLOAT16_INSTRUCTIONS else f"this processor has no bfloat16 instructions (none of {names})"


def why_no_workers() -> str:
    """Why workers cannot have a processor each; empty where they can."""
    if not hasattr(os, "sched_setaffinity"):
        return "processors can be given out on Linux alone"
    count = len(processors())
    return "" if count >= WORKERS else f"{WORKERS} workers need {WORKERS} processors; here is {count}"


def _cpuinfo(key: str) -> str:
    """The first value of that name in Linux's description of the processors; empty without one."""
    if CPUINFO.is_file():
        for line in CPUINFO.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return ""


def _gpus() -> list[dict]:
    import tensorflow as tf

    return [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
