"""A trained model on disk: model.keras, and model.json, which describes it.

Runs (`keras_pose.training.run_folder`) and shipped weights (`keras_pose.weights`) are such folders.
"""

import json
import os
from pathlib import Path

import keras

from keras_pose.core.errors import UserError
from keras_pose.io.atomic import cannot_write, discard, write_json
from keras_pose.models.keras_file import check_keras_file
from keras_pose.models.quick_variables import quick_variables

FORMAT_VERSION = 1
MODEL = "model.keras"
MODEL_INFO = "model.json"
UNITS = {
    "image": "RGB, 0 to 255",
    "heatmaps": "a quarter of the crop; the target's peak is heatmap_peak",
    "keypoints_2d": "(x, y) in [0, 1] of the crop; the centre of pixel i of n is (i + 0.5) / n",
    "pose_3d": "millimetres relative to the root joint; x right, y down, z away from the camera",
    "reprojected_2d": "as keypoints_2d",
}


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
