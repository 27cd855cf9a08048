"""A trained model on disk: model.keras, and model.json, which describes it (`keras_pose.io.model_info`).

Runs (`keras_pose.training.run_folder`) and shipped weights (`keras_pose.weights`) are such folders.
"""

import os
from pathlib import Path
from typing import TypeVar

import keras

from keras_pose.core.errors import UserError
from keras_pose.io.atomic import writing
from keras_pose.io.finder_info import FinderInfo
from keras_pose.io.model_info import Description, ModelInfo
from keras_pose.models.keras_file import check_keras_file
from keras_pose.models.tensorflow_speed import one_variable_name

MODEL = "model.keras"
MODEL_INFO = "model.json"
AnyInfo = TypeVar("AnyInfo", bound=Description)


def write_model(directory: str | os.PathLike, model: keras.Model, info: Description) -> None:
    """Writes model.keras and model.json, each completely or not at all; raises UserError if that fails."""
    path = Path(directory) / MODEL
    with writing(path) as partial:
        model.save(partial)
    info.write(path.with_name(MODEL_INFO))


def read_model_info(directory: str | os.PathLike) -> ModelInfo:
    """Reads model.json of a run; raises UserError if it is missing, damaged, of another version, or a finder's."""
    return _read_info(directory, ModelInfo)


def load_run(directory: str | os.PathLike) -> tuple[keras.Model, ModelInfo]:
    """The model of a run, with the weights of its best epoch and computing in float32, and its model.json.

    Raises:
        UserError: the folder is missing or damaged, or has no finished epoch.
    """
    info = read_model_info(directory)
    return load_model(Path(directory) / MODEL), info


def load_finder(directory: str | os.PathLike) -> tuple[keras.Model, FinderInfo]:
    """As `load_run`, for a run of `keras_pose.finding.train`; also raises UserError for other kinds of runs."""
    info = _read_info(directory, FinderInfo)
    return load_model(Path(directory) / MODEL), info


def load_model(path: str | os.PathLike) -> keras.Model:
    """A model of this package from a .keras file; raises UserError if the file is missing, refused or damaged."""
    if not Path(path).is_file():
        raise UserError(f"{path} is missing; name a run that has finished an epoch, or copy its whole folder")
    check_keras_file(path)
    try:
        with one_variable_name():
            return keras.models.load_model(path, compile=False)
    except Exception as error:  # a broken file may raise almost anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise UserError(f"{path} does not load ({reason}); train or convert it again") from error


def _read_info(directory: str | os.PathLike, description: type[AnyInfo]) -> AnyInfo:
    return description.read(
        Path(directory) / MODEL_INFO,
        missing=f"{directory} has no {MODEL_INFO}; name the folder of a run that has finished an epoch",
        remedy="train again",
    )
