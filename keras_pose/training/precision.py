"""The fastest precision of a machine."""

from pathlib import Path

import tensorflow as tf

CPU_INFO = Path("/proc/cpuinfo")
BFLOAT16_CPU_FLAGS = {"avx512_bf16", "amx_bf16"}
BFLOAT16_COMPUTE_CAPABILITY = (8, 0)  # NVIDIA's Ampere


def fastest_precision(cpu_info: Path = CPU_INFO) -> str:
    """`mixed_bfloat16` if every GPU, or without a GPU the processor, supports bfloat16; else `float32`.

    Emulated bfloat16 is slower than float32. `cpu_info` is Linux's list of processor features; without it, float32 is
    chosen.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capabilities = [
            tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus
        ]
        native = min(capabilities) >= BFLOAT16_COMPUTE_CAPABILITY
    else:
        native = bool(BFLOAT16_CPU_FLAGS & _cpu_flags(cpu_info))
    return "mixed_bfloat16" if native else "float32"


def _cpu_flags(path: Path) -> set[str]:
    """The features that all processors have; empty if they cannot be read."""
    try:
        lines = [line.split(":", 1)[1] for line in path.read_text().splitlines() if line.startswith("flags")]
    except (OSError, IndexError):
        return set()
    return set.intersection(*(set(line.split()) for line in lines)) if lines else set()
