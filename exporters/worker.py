"""Runs one model in its own process: a damaged file may crash the process, and memory is measured per process.

python -m exporters.worker '{"path": "pose.tflite", "threads": 1, "warmup": 1, "repetitions": 1}'
"""

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_pose.core.errors import UserError

TIMEOUT_S = 600


def measure(path: Path, threads: int, warmup: int = 1, repetitions: int = 1) -> dict:
    """Loads and runs a file or a run's Keras model in a new process.

    Returns `load_s`, `first_ms` (the first inference), `latencies_ms` (after `warmup` more) and `peak_memory_mb` (of
    the whole process). Raises UserError if the file is damaged, even if it crashes the process.
    """
    root = Path(__file__).parent.parent
    job = {"path": str(path), "threads": threads, "warmup": warmup, "repetitions": repetitions}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "exporters.worker", json.dumps(job)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{path} did not finish within {TIMEOUT_S} s; it may be damaged, so export it again") from None
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        if errors:
            raise UserError(errors[-1].removeprefix("error: "))
        raise UserError(f"{path} crashes its runtime (exit {done.returncode}); it is damaged, so export it again")
    return json.loads(done.stdout.splitlines()[-1])


def main(argument: str) -> None:
    """The new process: runs the measurement described by the argument and prints it as JSON."""
    job = json.loads(argument)
    start = time.perf_counter()
    infer, inputs = _open(Path(job["path"]), job["threads"])
    load_s = time.perf_counter() - start
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.integers(0, 256, shape).astype(dtype) if name == "image" else rng.random(shape, dtype)
        for name, (shape, dtype) in inputs.items()
    }
    latencies = []
    for _ in range(1 + job["warmup"] + job["repetitions"]):
        start = time.perf_counter()
        infer(arrays)
        latencies.append(1000 * (time.perf_counter() - start))
    result = {
        "load_s": load_s,
        "first_ms": latencies[0],
        "latencies_ms": latencies[1 + job["warmup"] :],
        "peak_memory_mb": _peak_memory_mb(),
    }
    print(json.dumps(result))


def _peak_memory_mb() -> float:
    """Of this process; Linux's `ru_maxrss` includes the parent, of which this process began as a copy."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.is_file() else None
    if found:
        return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS reports bytes


def _open(path: Path, threads: int) -> tuple[Callable, dict]:
    from keras_pose.inference import runtimes

    if path.suffix in runtimes.SESSIONS:
        session = runtimes.open_session(path, threads)
        return session.infer, session.inputs
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from exporters.contract import Form, default_part
    from exporters.inference_graph import build_inference_graph, load_source

    source = load_source(path)
    graph = build_inference_graph(source, Form(default_part(source.info.kind)))
    infer = tf.function(lambda inputs: graph(inputs, training=False), reduce_retracing=True)
    inputs = {tensor.name: (tuple(tensor.shape), np.dtype(tensor.dtype)) for tensor in graph.inputs}
    return lambda arrays: [value.numpy() for value in infer(next(iter(arrays.values()))).values()], inputs


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except UserError as error:
        sys.exit(f"error: {error}")
