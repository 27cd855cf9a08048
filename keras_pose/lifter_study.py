"""Trains the project's lifter and the published baseline for the same time and writes a table.

    python -m keras_pose.lifter_study --dataset=mocap

For every seed, configs/lifter.flags is trained with exact joints and with a detector's errors. Then Martinez et al.
2017 as published (keras_pose.studies.martinez) trains on the same data, with the same width and processor time. Both
are scored on the test split. Finished runs are skipped and interrupted ones resume.
"""

import shlex
from pathlib import Path

from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.data.dataset import open_dataset
from keras_pose.io import atomic
from keras_pose.studies import lifter, runs, study
from keras_pose.studies.study import Row

FLAGS = flags.FLAGS


def define_own_flags(values: flags.FlagValues = FLAGS) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("dataset", None, "Folder of a data set with 3D poses and cameras.", flag_values=values)
    flags.DEFINE_string("recipe", "configs/lifter.flags", "Flag file of the project's lifter.", flag_values=values)
    flags.DEFINE_list("seeds", ["0", "1"], "Seeds; every row runs once with each.", flag_values=values)
    flags.DEFINE_string("output", "runs/lifter_study", "Folder for the runs.", flag_values=values)
    flags.DEFINE_string("with", "", "Flags of keras_pose.train for all runs, after the recipe's.", flag_values=values)
    flags.DEFINE_float("noise", 0.01, "The detector's errors in training, as a share of the crop.", flag_values=values)
    flags.DEFINE_string("doc", None, "Document to put the table into, between its marks.", flag_values=values)
    flags.DEFINE_string("json", None, "File to write the numbers to.", flag_values=values)


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code of a run that was stopped."""
    if arguments:
        raise UserError(f"unknown argument {arguments[0]!r}; flags are written --name=value")
    if not FLAGS.dataset:
        raise UserError("no data set given; add --dataset=FOLDER, written by data.prepare --source=mocap")
    dataset, output, recipe = open_dataset(FLAGS.dataset), Path(FLAGS.output), Path(FLAGS.recipe)
    rows, folders = [], {}
    for kind, noise in (("exact", 0.0), ("noisy", FLAGS.noise)):
        seen = "exact joints" if not noise else f"joints with errors of {100 * noise:g} % of the crop"
        ours = Row(f"lifter_{kind}", f"{recipe.name} on {seen}", None, recipe)
        baseline = Row(f"martinez_{kind}", f"Martinez et al. on {seen}", None, recipe)
        rows += [baseline, ours]
        for seed in runs.parse_seeds(FLAGS.seeds):
            changes = shlex.split(FLAGS["with"].value)
            changes += [f"--dataset={FLAGS.dataset}", f"--augment_keypoint_noise={noise}"]
            folder = output / ours.name / f"seed{seed}"
            if not runs.is_finished(ours, seed, folder, changes):
                print(f"{ours.name}, seed {seed} into {folder}", flush=True)
                if code := runs.train(runs.arguments_of(ours, seed, changes), folder):
                    return code
            seconds, width = lifter.write_cost(folder)
            beside = output / baseline.name / f"seed{seed}"
            asked = {"processor_seconds": seconds, "width": width, "noise": noise, "data": dataset.manifest_hash}
            if not lifter.baseline_is_finished(beside, asked):
                print(f"{baseline.name}, seed {seed} into {beside}, {seconds:.0f} s", flush=True)
                lifter.train_baseline(dataset, beside, width, seconds, noise, seed)
            folders.setdefault(ours.name, []).append(folder)
            folders.setdefault(baseline.name, []).append(beside)
    report(rows, {name: study.read_figures(found) for name, found in folders.items()})
    return 0


def report(rows: list[Row], figures: dict[str, dict[str, study.Spread | None]]) -> None:
    """Prints the table and the lifter's advantage, and writes them to the files named by the flags."""
    text = study.format_rows(rows, figures)
    for kind, name, what in (("exact", "mpjpe_mm", "exact joints"), ("noisy", "mpjpe_noisy_mm", "a detector's errors")):
        ours, baseline = (figures[f"{model}_{kind}"][name].mean for model in ("lifter", "martinez"))
        text += f"\n\nTrained and tested with {what}: {100 * (1 - ours / baseline):.0f} % lower than the baseline."
    print("\n" + text)
    if FLAGS.doc:
        study.put_between_marks(Path(FLAGS.doc), "baseline", text)
    if FLAGS.json:
        atomic.write_json(FLAGS.json, {"rows": study.to_dicts(rows, figures)})


if __name__ == "__main__":
    define_own_flags()
    command.run(main)
