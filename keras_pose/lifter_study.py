"""Trains the project's lifter and the published baseline for the same time, and writes their table.

    python -m keras_pose.lifter_study --dataset=mocap

For every seed lifter.flags is trained, with exact joints and with a detector's errors, then Martinez et al. 2017 as
published (keras_pose.training.martinez) on the same data and width, for as many seconds of processor time. Both are
scored on the test split. Finished runs are skipped and stopped ones go on.
"""

import json
import math
import shlex
from pathlib import Path

from absl import flags

from keras_pose import ablation, command, study
from keras_pose.data.dataset import DatasetInfo, open_dataset
from keras_pose.errors import UserError
from keras_pose.evaluation import evaluate_model
from keras_pose.evaluation.predictions import with_detector_errors
from keras_pose.study import Row
from keras_pose.training import martinez, run_folder

FLAGS = flags.FLAGS
COST = "cost.json"


def define_own_flags(values: flags.FlagValues = FLAGS) -> None:
    """The command's flags."""
    flags.DEFINE_string("dataset", None, "Folder of a data set with 3D poses and cameras.", flag_values=values)
    flags.DEFINE_string("recipe", "lifter.flags", "Flag file of the project's lifter.", flag_values=values)
    flags.DEFINE_list("seeds", ["0", "1"], "A run each for every row.", flag_values=values)
    flags.DEFINE_string("output", "runs/lifter_study", "Folder of the runs.", flag_values=values)
    flags.DEFINE_string("with", "", "Flags of keras_pose.train besides the recipe's, for all runs.", flag_values=values)
    flags.DEFINE_float("noise", 0.01, "The detector's errors in training, in shares of the crop.", flag_values=values)
    flags.DEFINE_string("doc", None, "Put the table into this document, between its marks.", flag_values=values)
    flags.DEFINE_string("json", None, "Write the numbers to this file.", flag_values=values)


def main(arguments: list[str]) -> int:
    """Runs the command; the exit code of a run that was stopped."""
    if arguments:
        raise UserError(f"unknown argument {arguments[0]!r}; flags are written --name=value")
    if not FLAGS.dataset:
        raise UserError("no data set; add --dataset=FOLDER, written by data.prepare --source=mocap")
    dataset, output, recipe = open_dataset(FLAGS.dataset), Path(FLAGS.output), Path(FLAGS.recipe)
    rows, folders = [], {}
    for kind, noise in (("exact", 0.0), ("noisy", FLAGS.noise)):
        seen = "exact joints" if not noise else f"joints with errors of {100 * noise:g} % of the crop"
        ours = Row(f"lifter_{kind}", f"{recipe.name} on {seen}", None, recipe)
        baseline = Row(f"martinez_{kind}", f"Martinez et al. on {seen}", None, recipe)
        rows += [baseline, ours]
        for seed in ablation.parse_seeds(FLAGS.seeds):
            changes = shlex.split(FLAGS["with"].value)
            changes += [f"--dataset={FLAGS.dataset}", f"--augment_keypoint_noise={noise}"]
            folder = output / ours.name / f"seed{seed}"
            if not ablation.is_finished(ours, seed, folder, changes):
                print(f"{ours.name}, seed {seed} into {folder}", flush=True)
                if code := ablation.train(ablation.arguments_of(ours, seed, changes), folder):
                    return code
            seconds, width = write_cost(folder)
            beside = output / baseline.name / f"seed{seed}"
            asked = {"processor_seconds": seconds, "width": width, "noise": noise, "data": dataset.manifest_hash}
            if not baseline_is_finished(beside, asked):
                print(f"{baseline.name}, seed {seed} into {beside}, {seconds:.0f} s", flush=True)
                train_baseline(dataset, beside, width, seconds, noise, seed)
            folders.setdefault(ours.name, []).append(folder)
            folders.setdefault(baseline.name, []).append(beside)
    report(rows, {name: study.read_figures(found) for name, found in folders.items()})
    return 0


def write_cost(folder: Path) -> tuple[float, int]:
    """Writes down what a finished run took; returns its seconds of processor time and its width."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    seconds = sum(line["processor_seconds"] for line in lines if line["kind"] == "epoch")
    model, info = run_folder.load_run(folder)
    if info["kind"] != "lifter":
        raise UserError(f"{folder} is no lifter; give --recipe a flag file with --phases=lifter alone")
    parameters = _count(model.get_layer("encoder").trainable_weights)
    command.write_json(folder / COST, {"processor_seconds": seconds, "parameters": parameters})
    return seconds, info["model"]["width"]


def _count(weights: list) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def baseline_is_finished(folder: Path, asked: dict) -> bool:
    """Whether it is there; raises UserError where it is of other data or noise, or not of the lifter beside it."""
    if not (folder / run_folder.EVALUATION).is_file():
        return False
    cost = json.loads((folder / COST).read_text())
    changed = [name for name, value in asked.items() if cost.get(name, value) != value]
    if changed:
        raise UserError(
            f"{folder} was trained with another {changed[0]} ({cost[changed[0]]}, now {asked[changed[0]]}); "
            "delete it, or choose another --output"
        )
    return True


def train_baseline(
    dataset: DatasetInfo, folder: Path, width: int, processor_seconds: float, noise: float, seed: int
) -> None:
    """Trains and scores the baseline."""
    views = martinez.read_views(dataset, "train")
    model, examples = martinez.fit_martinez(views, width, processor_seconds, noise, seed)

    def predict(batch: dict) -> dict:
        affines = martinez.picture_affines(batch["intrinsics"], batch["image_size"])
        seen = {"pose_3d": batch["keypoints_2d"], "pose_3d_noisy": with_detector_errors(batch["keypoints_2d"])}
        return {
            name: model(martinez.to_picture(points, affines), training=False).numpy() for name, points in seen.items()
        }

    result = evaluate_model(predict, dataset.skeleton, dataset, "test", martinez.READ_AT_ONCE, name="martinez")
    parameters = _count(model.trainable_weights)
    asked = {"processor_seconds": processor_seconds, "width": width, "noise": noise, "data": dataset.manifest_hash}
    cost = asked | {"parameters": parameters, "examples": examples}
    command.write_json(folder / COST, cost)
    command.write_json(folder / run_folder.EVALUATION, result.to_dict())


def report(rows: list[Row], figures: dict[str, dict[str, study.Spread | None]]) -> None:
    """Prints the table and by how much the lifter is better, and writes them where the flags say."""
    text = study.format_rows(rows, figures)
    for kind, name, what in (("exact", "mpjpe_mm", "exact joints"), ("noisy", "mpjpe_noisy_mm", "a detector's errors")):
        ours, baseline = (figures[f"{model}_{kind}"][name].mean for model in ("lifter", "martinez"))
        text += f"\n\nTrained and tested with {what}: {100 * (1 - ours / baseline):.0f} % lower than the baseline."
    print("\n" + text)
    if FLAGS.doc:
        study.put_between_marks(Path(FLAGS.doc), "baseline", text)
    if FLAGS.json:
        command.write_json(FLAGS.json, {"rows": study.to_dicts(rows, figures)})


if __name__ == "__main__":
    define_own_flags()
    command.run(main)
