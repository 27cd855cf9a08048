"""Measures the speed of exported files and the Keras model in one run.

    python -m exporters.benchmark --model=runs/e2e pose.tflite pose.onnx

Each row runs in its own process: median and 90th percentile of the latency after warm-up, first inference, load time
and peak memory, with one thread and with two. The rows take turns, so any noise on the machine affects all alike.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from absl import flags

from exporters import worker
from exporters.compare import align
from exporters.inference_graph import find_run
from exporters.parity import check_files
from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.core.progress import progress
from keras_pose.io import atomic

THREADS = (1, 2)
WARMUP = 3


@dataclass(frozen=True)
class Latency:
    """One row; `slower` is its median relative to the fastest row with the same number of threads."""

    model: str
    threads: int
    median_ms: float
    p90_ms: float
    first_ms: float
    load_s: float
    peak_memory_mb: float
    inferences: int
    slower: float


def measure_all(paths: list[Path], repetitions: int, rounds: int) -> list[Latency]:
    """Measures each file or run folder with one and two threads; raises UserError if one is damaged.

    Args:
        repetitions: timed inferences per row and round.
        rounds: number of turns per row.
    """
    jobs = [(path, threads) for path in paths for threads in THREADS]
    measured: dict[tuple[Path, int], list[dict]] = {job: [] for job in jobs}
    for path, threads in progress(jobs * rounds, len(jobs) * rounds, "model"):
        measured[path, threads].append(worker.measure(path, threads, WARMUP, repetitions))
    medians = {job: float(np.median(_latencies(results))) for job, results in measured.items()}
    return [
        Latency(
            model=path.name if path.is_file() else f"Keras ({path.name})",
            threads=threads,
            median_ms=medians[path, threads],
            p90_ms=float(np.percentile(_latencies(results), 90)),
            first_ms=float(np.median([result["first_ms"] for result in results])),
            load_s=float(np.median([result["load_s"] for result in results])),
            peak_memory_mb=max(result["peak_memory_mb"] for result in results),
            inferences=repetitions * rounds,
            slower=medians[path, threads] / min(medians[job] for job in jobs if job[1] == threads),
        )
        for (path, threads), results in measured.items()
    ]


def _latencies(results: list[dict]) -> list[float]:
    return [latency for result in results for latency in result["latencies_ms"]]


def format_table(rows: list[Latency]) -> str:
    """The results as a table."""
    table = [("model", "threads", "median ms", "p90 ms", "slower", "first ms", "load s", "memory MB")]
    for row in rows:
        table.append(
            (
                row.model,
                str(row.threads),
                f"{row.median_ms:.1f}",
                f"{row.p90_ms:.1f}",
                f"{row.slower:.2f}x",
                f"{row.first_ms:.0f}",
                f"{row.load_s:.2f}",
                f"{row.peak_memory_mb:.0f}",
            )
        )
    return align(table)


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string(
        "model", None, "The run to measure in Keras; default: the newest, or the shipped model.", flag_values=values
    )
    flags.DEFINE_bool("keras", True, "Also measure the Keras model.", flag_values=values)
    define_repetition_flags(values)
    flags.DEFINE_string("json", None, "File to write the results to.", flag_values=values)


def define_repetition_flags(values: flags.FlagValues) -> None:
    """Flags for the number of measurements in `measure_all`."""
    flags.DEFINE_integer("repetitions", 20, "Timed inferences per row and round.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("rounds", 2, "Number of turns per row.", lower_bound=1, flag_values=values)


def main(arguments: list[str], values: flags.FlagValues = flags.FLAGS) -> int:
    """Runs the command."""
    paths = check_files(arguments)
    if values.keras:
        run = find_run(values.model)
        if not run.exists():
            raise UserError(f"no run {run}; name a folder written by training, or add --nokeras")
        paths.append(run)
    rows = measure_all(paths, values.repetitions, values.rounds)
    print(format_table(rows))
    if values.json:
        atomic.write_json(values.json, {"rows": [dataclasses.asdict(row) for row in rows]})
    return 0


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    command.run(main)
