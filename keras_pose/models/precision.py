"""The precision in which layers compute, and the fastest one of a machine."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import keras
import tensorflow as tf

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
CPU_INFO = Path("/proc/cpuinfo")
BFLOAT16_CPU_FLAGS = {"avx512_bf16", "amx_bf16"}
BFLOAT16_COMPUTE_CAPABILITY = (8, 0)  # NVIDIA's Ampere


@contextlib.contextmanager
def layer_precision(name: str) -> Iterator[None]:
    """Inside, new layers compute in this precision, one of `PRECISIONS`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def fastest_precision(cpu_info: Path = CPU_INFO) -> str:
    """`mixed_bfloat16` if every GPU, or without a GPU the CPU, computes in bfloat16 natively; else `float32`.

    Emulated bfloat16 is slower than float32. `cpu_info` is Linux's list of CPU features; if it cannot be read, the CPU
    counts as one without bfloat16.
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
    """The features that all CPU cores have; empty if they cannot be read."""
    try:
        lines = [line.split(":", 1)[1] for line in path.read_text().splitlines() if line.startswith("flags")]
    except (OSError, IndexError):
        return set()
    return set.intersection(*(set(line.split()) for line in lines)) if lines else set()
