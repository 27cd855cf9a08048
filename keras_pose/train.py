"""Trains a 3D pose model.

    python -m keras_pose.train --flagfile=e2e.flags

The run's folder (--output) receives the model, curves, sample predictions, TensorBoard logs and checkpoints. At the end
the model is scored on the test split (evaluation.json). After an interruption (Ctrl-C, SIGTERM, power failure), the
same command resumes the run. The first flags to know: --phases (what to train), --dataset and --variant (network size).
"""

import contextlib
import sys

from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.data.dataset import DatasetInfo, open_dataset
from keras_pose.evaluate import open_predictor
from keras_pose.evaluation.report import format_tables, write_evaluation
from keras_pose.evaluation.result import evaluate_model
from keras_pose.flags import build_experiment, default_flags, define_flags, resolved_flags
from keras_pose.io.folder_lock import locked
from keras_pose.models.hrnet import get_variant
from keras_pose.training import distribution, run_folder, trainer
from keras_pose.training.data_check import check_data
from keras_pose.training.experiment import Experiment
from keras_pose.training.stopping import Stopped


def main(arguments: list[str]) -> int:
    """Runs the command; returns 128 plus the signal's number if one stopped it."""
    with contextlib.ExitStack() as stack:
        try:
            experiment = _begin(arguments, stack)
        except UserError as error:
            distribution.end_together(flags.FLAGS.strategy, str(error))
            raise
        try:
            is_chief = trainer.train(experiment)
        except Stopped as stopped:
            print(stopped, file=sys.stderr)
            return 128 + stopped.signal
        if is_chief:
            _evaluate(experiment)
    return 0


def _begin(arguments: list[str], stack: contextlib.ExitStack) -> Experiment:
    """Builds and checks the configuration, and claims the folder while `stack` is open."""
    if arguments:
        raise UserError(f"unknown argument {arguments[0]!r}; flags are written --name=value")
    experiment = build_experiment(flags.FLAGS)
    check_data(experiment, open_dataset(experiment.data.dataset))
    if distribution.writes_files(experiment.train.strategy):
        stack.enter_context(locked(experiment.output))
        run_folder.claim(experiment.output, resolved_flags(experiment, flags.FLAGS), default_flags())
        tell_too_few_channels(experiment)
    return experiment


def tell_too_few_channels(experiment: Experiment) -> None:
    """Prints a note if the backbone has too few channels to tell all heatmaps apart (docs/notes/sim2real.md)."""
    channels, joints = get_variant(experiment.model.variant).channels, experiment.model.get_skeleton().num_joints
    if channels < joints and experiment.kind != "lifter":
        print(
            f"note: HRNet {experiment.model.variant} mixes {joints} heatmaps from {channels} channels, so some depend "
            "on others and joints may be lost; choose a wider --variant, such as w20_small"
        )


def scored_split(dataset: DatasetInfo) -> str:
    """The split that scores a finished run: test, if every part of a mix that validates has one; else validation."""
    have = {
        split: {i for i, part in enumerate(dataset.parts) if part.manifest.splits.get(split)}
        for split in ("validation", "test")
    }
    return "test" if have["test"] and have["test"] >= have["validation"] else "validation"


def _evaluate(experiment: Experiment) -> None:
    """Scores the model on the test split, or on validation, which finishes the run."""
    dataset = open_dataset(experiment.data.dataset)
    predict, skeleton = open_predictor(experiment.output, dataset.skeleton)
    result = evaluate_model(
        predict, skeleton, dataset, scored_split(dataset), experiment.data.batch_size, name=experiment.output
    )
    print(format_tables(result))
    write_evaluation(experiment.output, result)
    print(f"\nwrote the model, its curves and evaluation.json to {experiment.output}/")


if __name__ == "__main__":
    define_flags()
    command.run(main)
