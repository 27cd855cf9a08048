"""The folder of a run: who may write into it, and the model that others read from it (docs/architecture.md)."""

import json
import os
from difflib import ndiff
from pathlib import Path

import keras
import tensorflow as tf

import keras_pose
from keras_pose import folder_lock
from keras_pose.command import cannot_write, discard, write_atomically, write_json
from keras_pose.data.dataset import DatasetInfo
from keras_pose.errors import UserError
from keras_pose.losses import target_peak
from keras_pose.models.keras_file import check_keras_file
from keras_pose.models.quick_variables import quick_variables
from keras_pose.training.experiment import Experiment

FORMAT_VERSION = 1
RESOLVED_FLAGS = "resolved.flags"
MODEL = "model.keras"
MODEL_INFO = "model.json"
EVALUATION = "evaluation.json"
LAST_CHECKPOINT = "checkpoints/last.npz"
_LEFT_BY_A_START = {folder_lock.LOCK, RESOLVED_FLAGS + ".partial"}  # of a run that was killed before it began
UNITS = {
    "image": "RGB, 0 to 255",
    "heatmaps": "a quarter of the crop; the target's peak is heatmap_peak",
    "keypoints_2d": "(x, y) in [0, 1] of the crop; the centre of pixel i of n is (i + 0.5) / n",
    "pose_3d": "millimetres relative to the root joint; x right, y down, z away from the camera",
    "reprojected_2d": "as keypoints_2d",
}


def claim(directory: str | os.PathLike, resolved_flags: str) -> None:
    """Takes a folder for the run that `resolved_flags` describe; a run of the very same flags goes on.

    A run that has come neither to a checkpoint nor to a model has nothing to lose and gives way.

    Raises:
        UserError: the folder holds a finished run, a run with other flags, or other files.
    """
    directory = Path(directory)
    flags_file = directory / RESOLVED_FLAGS
    if directory.exists() and not directory.is_dir():
        raise UserError(f"{directory} is a file; choose another --output")
    if not directory.is_dir() or {path.name for path in directory.iterdir()} <= _LEFT_BY_A_START:
        write_atomically(flags_file, resolved_flags.encode())
        return
    if not flags_file.is_file():
        raise UserError(f"{directory} holds files that are no run; choose another --output")
    changes = [line for line in ndiff(flags_file.read_text().splitlines(), resolved_flags.splitlines())]
    before = [line[2:] for line in changes if line.startswith("- ")]
    now = [line[2:] for line in changes if line.startswith("+ ")]
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


def write_model(directory: str | os.PathLike, model: keras.Model, info: dict) -> None:
    """Writes model.keras and model.json, each whole or not at all."""
    path = Path(directory) / MODEL
    partial = path.with_name("partial_" + MODEL)  # Keras wants the suffix
    try:
        model.save(partial)
        os.replace(partial, path)
    except OSError as error:
        discard(partial)
        raise cannot_write(path, error) from error
    write_json(path.with_name(MODEL_INFO), info)


def model_info(experiment: Experiment, dataset: DatasetInfo, metrics: dict) -> dict:
    """What model.json holds; `metrics` are of the validation split."""
    return {
        "format_version": FORMAT_VERSION,
        "kind": experiment.kind,
        "skeleton": experiment.model.get_skeleton().to_dict(),
        "input_size": list(experiment.model.input_size),
        "units": UNITS,
        "heatmap_peak": target_peak(experiment.loss.heatmap_kernel_size, experiment.loss.heatmap_sigma),
        "statistics": None if experiment.kind == "keypoints" else dataset.statistics,
        "model": experiment.model.to_dict(),
        "data": {"dataset": dataset.spec, "manifest_hash": dataset.manifest_hash, "train": dataset.count("train")},
        "versions": {
            "keras_pose": keras_pose.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
        "metrics": metrics,
    }


def read_model_info(directory: str | os.PathLike) -> dict:
    """model.json of a run; raises UserError where there is none that this version reads."""
    path = Path(directory) / MODEL_INFO
    try:
        info = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(
            f"{directory} holds no {MODEL_INFO}; name the folder of a run that has finished an epoch"
        ) from None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); train again") from error
    if info.get("format_version") != FORMAT_VERSION:
        raise UserError(f"{path} has format {info.get('format_version')}, this is {FORMAT_VERSION}; train again")
    return info


def load_run(directory: str | os.PathLike) -> tuple[keras.Model, dict]:
    """The model of a run with its best weights, computing in float32, and its model.json.

    Raises:
        UserError: the folder is missing, holds no finished epoch, or is damaged.
    """
    info = read_model_info(directory)
    return load_model(Path(directory) / MODEL), info


def load_model(path: str | os.PathLike) -> keras.Model:
    """A model of this package from a .keras file; raises UserError for one that does not load."""
    if not Path(path).is_file():
        raise UserError(f"{path} is missing; name a run that has finished an epoch, or copy its whole folder")
    check_keras_file(path)
    try:
        with quick_variables():
            return keras.models.load_model(path, compile=False)
    except Exception as error:  # a broken file may raise almost anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise UserError(f"{path} does not load ({reason}); train or convert it again") from error
