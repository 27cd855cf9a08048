"""Compares training and inference with PyTorch on this machine, and measures where the time goes.

    python -m keras_pose.benchmark --variant=w32 --input_size=256x256 --json=benchmark.json

The network of `--variant` learns heatmaps in this project, under plain Keras `fit`, and in PyTorch (eager, with
channels last, and compiled), from the same weights and on the same batch; the run checks that all compute the same.
They take turns, each in its own process. PyTorch comes with the extra `benchmark`; without it, its rows are skipped.
Rows that the machine cannot measure (bfloat16 without hardware support, two workers on one processor) are skipped too,
with the reason. Leave the machine idle meanwhile: other load distorts the numbers. Results are in docs/performance.md.
"""

import os
from collections.abc import Callable
from dataclasses import replace

from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.core.progress import progress
from keras_pose.data.dataset import open_dataset
from keras_pose.flags import parse_size
from keras_pose.io import atomic
from keras_pose.models.hrnet import VARIANTS
from keras_pose.models.pose_model import PoseModelConfig
from keras_pose.models.precision import PRECISIONS
from keras_pose.studies.benchmark import contest, machine, report, rows, start, workers
from keras_pose.training.experiment import DataConfig, Experiment, PhaseConfig, TrainConfig

FLAGS = flags.FLAGS
ROWS = (
    "contest",
    "contest_bfloat16",
    "batch_sizes",
    "machine",
    "start",
    "optimizer",
    "batch_norm",
    "pipeline",
    "loop",
    "workers",
)
SETTINGS = ("variant", "input_size", "batch_size", "steps", "precision", "cores", "dataset")


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """Defines the command's flags."""
    flags.DEFINE_enum("variant", "w32", sorted(VARIANTS), "Size of the HRNet backbone.", flag_values=values)
    flags.DEFINE_string("input_size", "256x256", "HEIGHTxWIDTH of the crops.", flag_values=values)
    flags.DEFINE_integer("batch_size", 8, "Examples per step.", 1, flag_values=values)
    flags.DEFINE_integer("steps", 10, "Turns per contestant; in the other rows, steps.", 1, flag_values=values)
    flags.DEFINE_enum(
        "precision",
        "float32",
        PRECISIONS,
        "Precision of the backbone (contest_bfloat16 ignores it).",
        flag_values=values,
    )
    flags.DEFINE_string("dataset", "embedded", "Data set for the rows pipeline and loop.", flag_values=values)
    flags.DEFINE_list(
        "rows", list(ROWS), "What to measure; contest_bfloat16 needs bfloat16 instructions.", flag_values=values
    )
    flags.DEFINE_list(
        "contestants",
        list(contest.CONTESTANTS),
        "Contestants; keras_pose_1 uses one thread per operation.",
        flag_values=values,
    )
    flags.DEFINE_list("batch_sizes", ["1", "4", "16"], "Batch sizes of the row batch_sizes.", flag_values=values)
    flags.DEFINE_integer("cores", 0, "Processors per contestant (Linux); 0 uses all.", 0, flag_values=values)
    flags.DEFINE_string("json", None, "File to write the numbers to, after each row.", flag_values=values)


def main(arguments: list[str]) -> None:
    """Runs the command."""
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # several processes share the GPU
    wanted, left_out = _possible(_known("rows", ROWS))
    measures = _measures()
    setup = machine.describe()
    print(f"HRNet {FLAGS.variant}, {FLAGS.input_size}, batch {FLAGS.batch_size}, {FLAGS.precision}")
    print(", ".join(f"{name}: {value}" for name, value in setup.items() if value))
    if (setup["processors_busy_before"] or 0) > machine.BUSY:
        print("warning: other processes are busy, so times will be too long; compare only cpu ms", flush=True)
    settings = {name: FLAGS[name].value for name in SETTINGS} | {"setup": setup, "left_out": left_out}
    found: dict[str, dict] = {}
    with progress(None, len(wanted), " rows") as bar:
        for name in wanted:
            bar.set_description(name)
            found[name] = measures[name](bar.set_description)
            report.add_ratios(found)
            if FLAGS.json:  # now, because the next row may fail
                atomic.write_json(FLAGS.json, settings | report.rounded(found))
            bar.update()
    print("\n".join(report.format_results(found, left_out)))


def _measures() -> dict[str, Callable[[Callable[[str], None]], dict]]:
    """One function per row; its argument reports progress."""
    size = parse_size("input_size", FLAGS.input_size)
    names = _known("contestants", contest.CONTESTANTS)
    batch_sizes = [_positive(text) for text in FLAGS.batch_sizes]
    base = contest.Contest(FLAGS.variant, size, FLAGS.batch_size, FLAGS.precision, FLAGS.steps, FLAGS.cores)
    dataset = open_dataset(FLAGS.dataset)
    experiment = Experiment(
        output="",
        model=PoseModelConfig(variant=FLAGS.variant, skeleton=dataset.skeleton.to_dict(), input_size=size),
        train=TrainConfig((PhaseConfig("hrnet", 1, flip=0.5),), precision=FLAGS.precision),
        data=DataConfig(FLAGS.dataset, FLAGS.batch_size),
    )
    job = rows.Job(replace(experiment, augment=replace(experiment.augment, flip=0.5)), FLAGS.steps)
    half = replace(base, precision="mixed_bfloat16")
    return {
        "contest": lambda tell: contest.run_contest(base, names, tell),
        "contest_bfloat16": lambda tell: contest.run_contest(half, names, tell),
        "batch_sizes": lambda tell: rows.measure_batch_sizes(base, "keras_pose", batch_sizes),
        "machine": lambda tell: rows.in_own_process(rows.measure_machine, job),
        "start": lambda tell: start.measure_start(job),
        "optimizer": lambda tell: rows.in_own_process(rows.measure_optimizer, job),
        "batch_norm": lambda tell: rows.in_own_process(rows.measure_batch_norm, job),
        "pipeline": lambda tell: rows.in_own_process(rows.measure_pipeline, job),
        "loop": lambda tell: rows.in_own_process(rows.measure_loop, job),
        "workers": lambda tell: workers.measure_workers(base, machine.processors()),
    }


def _possible(wanted: list[str]) -> tuple[list[str], dict[str, str]]:
    """The rows that this machine can measure, and the reasons against the others."""
    no_bfloat16 = machine.why_no_bfloat16() if "contest_bfloat16" in wanted else ""
    if no_bfloat16:
        no_bfloat16 += "; --rows=contest --precision=mixed_bfloat16 measures the imitation"
    reasons = {"contest_bfloat16": no_bfloat16, "workers": machine.why_no_workers()}
    left_out = {name: reasons[name] for name in wanted if reasons.get(name)}
    for name, reason in left_out.items():
        print(f"skipped {name}: {reason}")
    if len(left_out) == len(wanted):
        raise UserError(f"none of --rows can be measured here: {'; '.join(left_out.values())}")
    return [name for name in wanted if name not in left_out], left_out


def _known(flag: str, known) -> list[str]:
    """The values of a list flag, in the order of `known`."""
    given = FLAGS[flag].value
    unknown = set(given) - set(known)
    if unknown or not given:
        raise UserError(f"--{flag} lists {', '.join(sorted(unknown)) or 'nothing'}; choose from {', '.join(known)}")
    return [name for name in known if name in given]


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise UserError(f"--batch_sizes lists {text!r}; give whole numbers such as 1,4,16")
    return int(text)


if __name__ == "__main__":
    define_flags()
    command.run(main)
