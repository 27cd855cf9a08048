"""The training flags, generated from the fields of the configuration (`keras_pose.core.options`).

To add a flag, add a field with `option(...)` to one of `CONFIGS`, or to `PhaseConfig` for a flag of each phase. Its
default and help are defined there; only `PHASE_DEFAULTS` has defaults that differ between phases.
"""

from dataclasses import fields
from typing import get_type_hints

from absl import flags

from keras_pose.core.options import SAME, options_of
from keras_pose.data.augment import AugmentConfig
from keras_pose.losses import LossConfig
from keras_pose.models.pose_model import PoseModelConfig
from keras_pose.training.experiment import (
    PHASES,
    DataConfig,
    Experiment,
    OptimizerConfig,
    PhaseConfig,
    TrainConfig,
)

# The parts of the configuration and the prefixes of their flags.
CONFIGS = {
    Experiment: "",
    DataConfig: "",
    TrainConfig: "",
    PoseModelConfig: "",
    OptimizerConfig: "",
    LossConfig: "",
    AugmentConfig: "augment_",
}
PHASE_DEFAULTS = {
    "hrnet": {"epochs": 1, "flip": 0.5},
    "lifter": {"epochs": 50, "flip": 0.0},
    "e2e": {"epochs": 8, "flip": 0.0},
}
AUGMENTATIONS = tuple(options_of(AugmentConfig))


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines all training flags."""
    for config, prefix in CONFIGS.items():
        _define_fields(config, prefix, values)
    for phase in PHASES:
        _define_fields(PhaseConfig, f"{phase}_", values, PHASE_DEFAULTS[phase], phase)


def flag_name(config: type, field: str, prefix: str = "") -> str:
    """The name of the flag for a field of a configuration."""
    return prefix + (options_of(config)[field].flag or field)


def _define_fields(config: type, prefix: str, values, defaults: dict | None = None, phase: str = "") -> None:
    types, own_defaults = get_type_hints(config), {field.name: field.default for field in fields(config)}
    for field, told in options_of(config).items():
        default = own_defaults[field] if told.flag_default is SAME else told.flag_default
        default = (defaults or {}).get(field, default)
        text = told.help.replace("{phase}", phase) + (" 0 is off." if config is AugmentConfig else "")
        _define(flag_name(config, field, prefix), types[field], default, text, told.choices, values)


def _define(name: str, kind, default, text: str, choices: tuple[str, ...] | None, values) -> None:
    """Defines one flag of the field's type."""
    if choices:
        flags.DEFINE_enum(name, default, choices, text, flag_values=values)
    elif kind is bool:
        flags.DEFINE_bool(name, default, text, flag_values=values)
    elif kind in (int, int | None):
        flags.DEFINE_integer(name, default, text, flag_values=values)
    elif kind is float:
        flags.DEFINE_float(name, default, text, flag_values=values)
    elif kind is str or default is None:
        flags.DEFINE_string(name, default, text, flag_values=values)
    else:
        flags.DEFINE_list(name, list(default), text, flag_values=values)
