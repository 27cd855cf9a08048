"""One contestant of a speed contest, a process of its own that does as many steps as it is told and says how long.

    python -m keras_pose.studies.benchmark.contestant SPEC

`contest.py` starts it and asks by lines of JSON: `{"do": "training", "count": 5}`. Nothing but the contestant's own
framework is imported here, so that its memory is its own.
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
    """Leaves this process the first `count` of its processors; 0 leaves all. Frameworks take a thread for each."""
    if count and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def peak_memory_mib() -> float:
    """The most memory that this process has had at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def cpu_seconds() -> float:
    """The processors' time that this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def start(spec: Spec) -> tuple[Side, dict]:
    """Builds a side and does its first steps; also what it says of them.

    `first_step_s` is building and the first step of training, all compilation of it included, imports not.
    """
    began = time.perf_counter()
    side = make_side(spec)
    built = time.perf_counter() - began
    np.save(spec.heatmaps_file, side.heatmaps()[:NUM_CHECKED])
    began = time.perf_counter()
    first = side.train(1)
    return side, {"device": side.device, "first_step_s": built + time.perf_counter() - began, **first}


def answer(side: Side, request: dict) -> dict:
    """What the contest wants to know."""
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
    """Does what the lines of `requests` ask; an error is the last reply."""

    def reply(values: dict) -> None:
        print(json.dumps(values), file=replies, flush=True)

    try:
        spec = Spec.from_json(text)
        keep_to_cores(spec.cores)
        side, first = start(spec)
        reply(first)
        for line in requests:
            reply(answer(side, json.loads(line)))
    except Exception as error:  # whatever it is, the contest tells it and goes on without this one
        reply({"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"})


if __name__ == "__main__":
    own_replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no reply
    main(sys.argv[1], sys.stdin, own_replies)
