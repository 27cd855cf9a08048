"""The training flags, and the configuration built from them, which is all that the training code sees."""

from keras_pose.flags.definitions import AUGMENTATIONS, define_flags
from keras_pose.flags.experiment import build_experiment, default_flags, parse_size, resolve, resolved_flags

__all__ = [
    "AUGMENTATIONS",
    "build_experiment",
    "default_flags",
    "define_flags",
    "parse_size",
    "resolve",
    "resolved_flags",
]
