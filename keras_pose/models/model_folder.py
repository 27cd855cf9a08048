"""A trained model on disk: model.keras, and model.json, which describes it (`keras_pose.io.model_info`).

Runs (`keras_pose.training.run_folder`) and shipped weights (`keras_pose.weights`) are such folders.
"""

import os
from pathlib import Path

import keras

from keras_pose.core.errors import UserError
from keras_pose.io.atomic import cannot_write, discard
from keras_pose.io.model_info import ModelInfo
from keras_pose.models.keras_file import check_keras_file
from keras_pose.models.tensorflow_speed import one_variable_name

MODEL = "model.keras"
MODEL_INFO = "model.json"


def write_model(directory: str | os.PathLike, model: keras.Model, info: ModelInfo) -> None:
    """Writes model.keras and model.json, each whole or not at all."""
    path = Path(directory) / MODEL
    partial = path.with_name("partial_" + MODEL)  # Keras wants the suffix
    try:
        model.save(partial)
        os.replace(partial, path)
    except OSError as error:
        discard(partial)
        raise cannot_write(path, error) from error
    info.write(path.with_name(MODEL_INFO))


def read_model_info(directory: str | os.PathLike) -> ModelInfo:
    """model.json of a run; raises UserError where there is none that this version reads."""
    return ModelInfo.read(
        Path(directory) / MODEL_INFO,
        missing=f"{directory} holds no {MODEL_INFO}; name the folder of a run that has finished an epoch",
        remedy="train again",
    )


def load_run(directory: str | os.PathLike) -> tuple[keras.Model, ModelInfo]:
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
        with one_variable_name():
            return keras.models.load_model(path, compile=False)
    except Exception as error:  # a broken file may raise almost anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise UserError(f"{path} does not load ({reason}); train or convert it again") from error
