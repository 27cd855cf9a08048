"""The folder of a run: who may write to it, and the content of its model.json (docs/architecture.md)."""

import os
from collections.abc import Iterable
from difflib import ndiff
from pathlib import Path

import keras
import tensorflow as tf

import keras_pose
from keras_pose.core.errors import UserError
from keras_pose.data.dataset import DatasetInfo
from keras_pose.io import folder_lock
from keras_pose.io.atomic import write_atomically
from keras_pose.io.model_info import ModelInfo
from keras_pose.losses import target_peak
from keras_pose.models.model_folder import MODEL
from keras_pose.training.experiment import Experiment

RESOLVED_FLAGS = "resolved.flags"
EVALUATION = "evaluation.json"
LAST_CHECKPOINT = "checkpoints/last.npz"
_LEFT_BY_A_START = {folder_lock.LOCK, RESOLVED_FLAGS + ".partial"}  # left by a run killed during startup


def claim(directory: str | os.PathLike, resolved_flags: str, defaults: Iterable[str] = ()) -> None:
    """Claims a folder for the run that `resolved_flags` describe; a run with exactly the same flags resumes.

    A run without a checkpoint or model has nothing to lose and is replaced. A flag that did not exist when the run
    began is ignored if it has its default, that is, if its line is one of `defaults`.

    Raises:
        UserError: the folder holds a finished run, a run with other flags, or unrelated files.
    """
    directory = Path(directory)
    flags_file = directory / RESOLVED_FLAGS
    if directory.exists() and not directory.is_dir():
        raise UserError(f"{directory} is a file; choose another --output")
    if not directory.is_dir() or {path.name for path in directory.iterdir()} <= _LEFT_BY_A_START:
        write_atomically(flags_file, resolved_flags.encode())
        return
    if not flags_file.is_file():
        raise UserError(f"{directory} contains files that are not from a run; choose another --output")
    lines_before = flags_file.read_text().splitlines()
    changes = list(ndiff(lines_before, resolved_flags.splitlines()))
    before = [line[2:] for line in changes if line.startswith("- ")]
    now = [line[2:] for line in changes if line.startswith("+ ")]
    known = {line.partition("=")[0] for line in lines_before}
    now = [line for line in now if line.partition("=")[0] in known or line not in set(defaults)]
    has_checkpoint = (directory / LAST_CHECKPOINT).is_file()
    if (before or now) and (has_checkpoint or any((directory / name).is_file() for name in (MODEL, EVALUATION))):
        raise UserError(
            f"{directory} holds a run with other flags ({' '.join(before)}, now {' '.join(now)}); "
            "choose another --output, or give the same flags to resume"
        )
    if (directory / EVALUATION).is_file():
        raise UserError(f"{directory} holds a finished run; choose another --output to train again")
    if not has_checkpoint:
        write_atomically(flags_file, resolved_flags.encode())


def describe_model(experiment: Experiment, dataset: DatasetInfo, metrics: dict) -> ModelInfo:
    """The content of model.json for the run's model; `metrics` are from the validation split."""
    return ModelInfo(
        kind=experiment.kind,
        skeleton=experiment.model.get_skeleton(),
        input_size=experiment.model.input_size,
        heatmap_peak=target_peak(experiment.loss.heatmap_kernel_size, experiment.loss.heatmap_sigma),
        statistics=None if experiment.kind == "keypoints" else dataset.statistics,
        model=experiment.model.to_dict(),
        data={"dataset": dataset.spec, "manifest_hash": dataset.manifest_hash, "train": dataset.count("train")},
        versions={"keras_pose": keras_pose.__version__, "tensorflow": tf.__version__, "keras": keras.__version__},
        metrics=metrics,
    )
