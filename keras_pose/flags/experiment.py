"""The configuration that the flags of training become. Nothing below the commands sees flags."""

import math
import shlex
from dataclasses import fields
from pathlib import Path

from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import SKELETONS
from keras_pose.data.augment import AugmentConfig
from keras_pose.data.dataset import DatasetInfo, open_dataset
from keras_pose.flags.definitions import AUGMENTATIONS, define_flags
from keras_pose.losses import LossConfig
from keras_pose.models.hrnet import SIZE_MULTIPLE
from keras_pose.models.pose_model import PoseModelConfig
from keras_pose.training.experiment import (
    PHASES,
    DataConfig,
    Experiment,
    OptimizerConfig,
    PhaseConfig,
    TrainConfig,
)
from keras_pose.training.precision import fastest_precision


def build_experiment(values: flags.FlagValues = flags.FLAGS) -> Experiment:
    """The whole configuration. It looks at the data set for the skeleton and the size of the crops.

    Raises:
        UserError: a value that cannot be, or a data set that cannot be opened.
    """
    dataset = open_dataset(values.dataset)
    loss = {field.name: values[field.name].value for field in fields(LossConfig)}
    augment = {name: values[f"augment_{name}"].value for name in AUGMENTATIONS}
    adam = ("muon_factor", "schedule", "warmup_steps", "step_factor", "clip_norm", "ema", "discriminator_learning_rate")
    return Experiment(
        output=str(Path(values.output)),
        model=_model_config(values, dataset),
        train=_train_config(values),
        data=DataConfig(values.dataset, values.batch_size, values.passes, values.shard_by, values.data_service),
        loss=LossConfig(**loss | {"heatmap_kernel_size": values.heatmap_kernel_size or None}),
        augment=AugmentConfig(flip=0.0, **augment),
        optimizer=OptimizerConfig(
            name=values.optimizer,
            step_epochs=tuple(_whole_number("step_epochs", text) for text in values.step_epochs),
            **{name: values[name].value for name in adam},
        ),
    )


def _model_config(values, dataset: DatasetInfo) -> PoseModelConfig:
    skeleton = dataset.skeleton
    size = dataset.image_size or _usual_size(dataset)
    if values.input_size:
        size = parse_size("input_size", values.input_size)
    return PoseModelConfig(
        variant=values.variant,
        skeleton=skeleton.name if SKELETONS.get(skeleton.name) == skeleton else skeleton.to_dict(),
        input_size=size,
        soft_argmax_beta=values.soft_argmax_beta,
        soft_argmax_form=values.soft_argmax_form,
        soft_argmax_relative=values.soft_argmax_relative,
        width=values.width,
        dropout=values.dropout,
        skip_connection=values.skip_connection,
    )


def _usual_size(dataset: DatasetInfo) -> tuple[int, int]:
    """For poses without pictures, the size of a model whose crops have the shape of theirs; HRNet takes it."""
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
            PhaseConfig(name, 1)  # raises with the known ones
        own = {key: values[f"{name}_{key}"].value for key in ("epochs", "learning_rate", "flip")}
        phases.append(PhaseConfig(name, **own))
    names = ("seed", "strategy", "log_steps", "checkpoint_steps", "init_from", "pretrained")
    names += ("accumulate_steps", "sync_batch_norm", "jit_compile", "threads_per_operation")
    precision = fastest_precision() if values.precision == "auto" else values.precision
    return TrainConfig(tuple(phases), precision=precision, **{name: values[name].value for name in names})


def parse_size(flag: str, text: str) -> tuple[int, int]:
    """`256x192`, height first, to (256, 192); raises UserError that names the flag."""
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise UserError(f"--{flag}={text} is not HEIGHTxWIDTH; give 256x192, say")
    return int(height), int(width)


def _whole_number(flag: str, text: str) -> int:
    if not text.isdecimal():
        raise UserError(f"--{flag} lists {text!r}, which is no whole number; give epochs, such as 5,7")
    return int(text)


def resolved_flags(experiment: Experiment, values: flags.FlagValues = flags.FLAGS) -> str:
    """A flag file that replays the run: every flag of training, given or not, but those that tell a place."""
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


def resolve(arguments: list[str]) -> str:
    """`resolved_flags` of a run with these arguments of keras_pose.train; raises UserError where they are wrong."""
    values = flags.FlagValues()
    flags.DEFINE_multi_string("flagfile", [], "", flag_values=values)
    define_flags(values)
    try:
        words = command.parse_flags(arguments, lambda words: values.read_flags_from_files(words, force_gnu=False))
        rest = values(["train", *words])[1:]
    except flags.Error as error:
        raise UserError(f"{shlex.join(arguments)}: {error}") from error
    if rest:
        raise UserError(f"{shlex.join(arguments)}: {rest[0]!r} is no flag; write --name=value")
    return resolved_flags(build_experiment(values), values)
