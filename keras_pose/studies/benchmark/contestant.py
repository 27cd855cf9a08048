"""One contestant of a speed contest: a process that does the requested number of steps and reports the time.

    python -m keras_pose.studies.benchmark.contestant SPEC

`contest.py` starts it and sends requests as lines of JSON: `{"do": "training", "count": 5}`. Only the contestant's own
framework is imported here, which keeps its memory separate.
"""

import json
import os
import resource
import sys
import time
from typing import TextIO

import numpy as np

from keras_pose.studies.benchmark.side import NUM_CHECKED, Side, Spec


def make_side(spec: Spec) -> Side:
    if spec.framework == "torch":
        from keras_pose.studies.benchmark.torch_side import TorchSide

        return TorchSide(spec)
    from keras_pose.studies.benchmark import keras_side

    return {"keras_pose": keras_side.KerasPoseSide, "keras_fit": keras_side.KerasFitSide}[spec.framework](spec)


def keep_to_cores(count: int) -> None:
    """Restricts this process to the first `count` of its processors; 0 keeps all. Frameworks use a thread for each."""
    if count and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def peak_memory_mib() -> float:
    """The peak memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def cpu_seconds() -> float:
    """The processor time that this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def start(spec: Spec) -> tuple[Side, dict]:
    """Builds a side and does its first steps; also returns its description.

    `first_step_s` covers building and the first training step, including compilation but not imports.
    """
    began = time.perf_counter()
    side = make_side(spec)
    built = time.perf_counter() - began
    np.save(spec.heatmaps_file, side.heatmaps()[:NUM_CHECKED])
    began = time.perf_counter()
    first = side.train(1)
    return side, {"device": side.device, "first_step_s": built + time.perf_counter() - began, **first}


def answer(side: Side, request: dict) -> dict:
    """Answers a request of the contest."""
    match request["do"]:
        case "training" | "inference" as task:
            steps = side.train if task == "training" else side.infer
            count, began, cpu_began = request["count"], time.perf_counter(), cpu_seconds()
            steps(count)
            return {
                "seconds": (time.perf_counter() - began) / count,
                "cpu_seconds": (cpu_seconds() - cpu_began) / count,
            }
        case "matrix_share":
            return {"share": side.matrix_share()}
        case "memory":
            return {"peak_mib": side.device_peak_mib() or peak_memory_mib()}
        case other:
            raise ValueError(f"no task {other!r}")


def main(text: str, requests: TextIO, replies: TextIO) -> None:
    """Handles the lines of `requests`; an error is the last reply."""

    def reply(values: dict) -> None:
        print(json.dumps(values), file=replies, flush=True)

    try:
        spec = Spec.from_json(text)
        keep_to_cores(spec.cores)
        side, first = start(spec)
        reply(first)
        for line in requests:
            reply(answer(side, json.loads(line)))
    except Exception as error:  # the contest reports any error and continues without this contestant
        reply({"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"})


if __name__ == "__main__":
    own_replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries must not mix with replies
    main(sys.argv[1], sys.stdin, own_replies)
