"""How training scales from one worker to two, each a process with its own processor.

Every worker has a batch of the same size, so two that do not slow each other down do a step in the time of one.

    TF_CONFIG=... python -m keras_pose.studies.benchmark.workers SPEC STEPS PROCESSOR
"""

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from keras_pose.core.errors import UserError
from keras_pose.studies.benchmark import contest
from keras_pose.studies.benchmark.side import BATCH_FILE, Spec

POLL_SECONDS = 0.1


def measure_workers(base: contest.Contest, processors: list[int]) -> dict[str, float]:
    """Images/s of one worker and of two, on the first of `processors` (their numbers).

    `worker_scaling` is 2 if the second worker costs nothing.
    """
    rates = {}
    with tempfile.TemporaryDirectory() as folder:
        contest.write_batch(Path(folder, BATCH_FILE), base)
        spec = base.spec("keras_pose", folder)
        for count in (1, contest.WORKERS):
            rates[count] = count * base.batch_size / run_workers(spec, processors[:count], base.rounds)
    return {
        "one_worker_images_per_second": rates[1],
        "two_workers_images_per_second": rates[contest.WORKERS],
        "worker_scaling": rates[contest.WORKERS] / rates[1],
    }


def run_workers(spec: Spec, processors: list[int], steps: int) -> float:
    """Seconds per step of the slowest worker, with one worker per entry of `processors`."""
    addresses = [f"localhost:{port}" for port in _free_ports(len(processors))]
    command = [sys.executable, "-m", "keras_pose.studies.benchmark.workers", spec.to_json(), str(steps)]
    outputs = [Path(spec.folder, f"worker{i}_of_{len(processors)}.json") for i in range(len(processors))]
    with contextlib.ExitStack() as stack:
        processes = []
        for i, (processor, output) in enumerate(zip(processors, outputs, strict=True)):
            cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": i}}
            environment = {"TF_CONFIG": json.dumps(cluster), "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
            files = [stack.enter_context(open(path, "w")) for path in (output, output.with_suffix(".log"))]
            process = subprocess.Popen(
                [*command, str(processor)], stdout=files[0], stderr=files[1], env=os.environ | environment
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            processes.append(process)
        while any(process.poll() is None for process in processes) and not any(p.poll() for p in processes):
            time.sleep(POLL_SECONDS)  # if one fails, the other would wait for it: both are then ended
        for process, output in zip(processes, outputs, strict=True):
            if process.poll():
                words = output.with_suffix(".log").read_text().strip().splitlines() or ["no output"]
                raise UserError(f"a worker ended with status {process.poll()}: {words[-1]}")
    return max(json.loads(output.read_text().splitlines()[-1])["seconds"] for output in outputs)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("localhost", 0))
        return [one.getsockname()[1] for one in sockets]


def main(text: str, steps: int, processor: int) -> None:
    """One worker: prints the median seconds per step."""
    os.sched_setaffinity(0, {processor})
    from keras_pose.training import distribution

    strategy = distribution.make_strategy("auto")
    from keras_pose.studies.benchmark.keras_side import KerasPoseSide

    side = KerasPoseSide(Spec.from_json(text), strategy)
    side.train(2)
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        side.train(1)
        times.append(time.perf_counter() - start)
    print(json.dumps({"seconds": statistics.median(times)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
