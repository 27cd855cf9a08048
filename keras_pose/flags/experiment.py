"""Builds the configuration from the training flags, and turns it back into a flag file."""

import math
import shlex
from pathlib import Path
from typing import get_type_hints

from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.core.options import options_of
from keras_pose.core.skeleton import SKELETONS
from keras_pose.data.augment import AugmentConfig
from keras_pose.data.dataset import DatasetInfo, open_dataset
from keras_pose.flags.definitions import define_flags, flag_name
from keras_pose.losses import LossConfig
from keras_pose.models.hrnet import SIZE_MULTIPLE
from keras_pose.models.pose_model import PoseModelConfig
from keras_pose.models.precision import fastest_precision
from keras_pose.training.experiment import (
    PHASES,
    DataConfig,
    Experiment,
    OptimizerConfig,
    PhaseConfig,
    TrainConfig,
)


def build_experiment(values: flags.FlagValues = flags.FLAGS) -> Experiment:
    """Builds the whole configuration. Opens the data set to find its skeleton and crop size.

    Raises:
        UserError: a value is invalid, or the data set cannot be opened.
    """
    dataset = open_dataset(values.dataset)
    return Experiment(
        output=str(Path(values.output)),
        model=_model_config(values, dataset),
        train=_train_config(values),
        data=_read(DataConfig, values),
        loss=_read(LossConfig, values),
        augment=_read(AugmentConfig, values, "augment_", flip=0.0),
        optimizer=_read(OptimizerConfig, values, step_epochs=_whole_numbers("step_epochs", values.step_epochs)),
    )


def _read(config: type, values: flags.FlagValues, prefix: str = "", **given):
    """One part of the configuration: the `given` fields, and the rest from the flags (0 is None for `int | None`)."""
    types = get_type_hints(config)
    for field in options_of(config):
        if field not in given:
            value = values[flag_name(config, field, prefix)].value
            value = tuple(value) if isinstance(value, list) else value
            given[field] = None if types[field] == int | None and value == 0 else value
    return config(**given)


def _model_config(values, dataset: DatasetInfo) -> PoseModelConfig:
    skeleton = dataset.skeleton
    size = dataset.image_size or _usual_size(dataset)
    if values.input_size:
        size = parse_size("input_size", values.input_size)
    name = skeleton.name if SKELETONS.get(skeleton.name) == skeleton else skeleton.to_dict()
    return _read(PoseModelConfig, values, skeleton=name, input_size=size)


def _usual_size(dataset: DatasetInfo) -> tuple[int, int]:
    """(height, width) of a model for poses without images: a size that HRNet accepts, in the shape of their crops."""
    usual = PoseModelConfig().input_size
    height, width = dataset.crop_size
    if usual[0] * width == usual[1] * height:
        return usual
    divisor = math.gcd(height, width)
    unit = divisor if divisor % SIZE_MULTIPLE == 0 else SIZE_MULTIPLE
    return height // divisor * unit, width // divisor * unit


def _train_config(values) -> TrainConfig:
    phases = []
    for name in values.phases:
        if name not in PHASES:
            PhaseConfig(name, 1)  # raises UserError that lists the known phases
        phases.append(_read(PhaseConfig, values, f"{name}_", name=name))
    precision = fastest_precision() if values.precision == "auto" else values.precision
    return _read(TrainConfig, values, phases=tuple(phases), precision=precision)


def parse_size(flag: str, text: str) -> tuple[int, int]:
    """`256x192`, height first, to (256, 192); the UserError names the flag."""
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise UserError(f"--{flag}={text} is not HEIGHTxWIDTH; give a size such as 256x192")
    return int(height), int(width)


def _whole_numbers(flag: str, texts: list[str]) -> tuple[int, ...]:
    for text in texts:
        if not text.isdecimal():
            raise UserError(f"--{flag} lists {text!r}, which is not a whole number; give numbers such as 5,7")
    return tuple(int(text) for text in texts)


def resolved_flags(experiment: Experiment, values: flags.FlagValues = flags.FLAGS) -> str:
    """The text of a flag file that replays the run: all training flags but --output and --data_service.

    --input_size and --precision have their resolved values.
    """
    own = flags.FlagValues()
    define_flags(own)
    lines = ["# Replays this run: python -m keras_pose.train --flagfile=resolved.flags --output=FOLDER"]
    for name in sorted(set(own) - {"output", "data_service"}):
        flag = values[name]
        if name == "input_size":
            lines.append("--input_size={}x{}".format(*experiment.model.input_size))
        elif name == "precision":
            lines.append(f"--precision={experiment.train.precision}")
        else:
            lines.append(flag.serialize() or f"--{name}=")
    return "\n".join(lines) + "\n"


def default_flags() -> set[str]:
    """The lines of `resolved_flags` for flags left at their defaults."""
    own = flags.FlagValues()
    define_flags(own)
    return {own[name].serialize() or f"--{name}=" for name in own}


def resolve(arguments: list[str]) -> str:
    """`resolved_flags` for a run of keras_pose.train with these arguments; raises UserError if they are invalid."""
    values = flags.FlagValues()
    flags.DEFINE_multi_string("flagfile", [], "", flag_values=values)
    define_flags(values)
    try:
        words = command.parse_flags(arguments, lambda words: values.read_flags_from_files(words, force_gnu=False))
        rest = values(["train", *words])[1:]
    except flags.Error as error:
        raise UserError(f"{shlex.join(arguments)}: {error}") from error
    if rest:
        raise UserError(f"{shlex.join(arguments)}: {rest[0]!r} is not a flag; write --name=value")
    return resolved_flags(build_experiment(values), values)
