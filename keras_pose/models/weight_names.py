"""What the weights of an HRNet checkpoint are called, and which of them the pose network uses.

The official pose code, HRNet-Image-Classification and timm's `hrnet_w*` name the shared part alike; our layers have
the same names with underscores for dots (see `keras_pose.models.hrnet`).
"""

import re

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.models.hrnet import VARIANTS, HRNetVariant

# Under which names a training record keeps the weights, the better ones first.
_CONTAINERS = ("best_state_dict", "state_dict", "model_state_dict", "model")

# Why a weight may stand in a checkpoint without being used.
UNUSED = (
    (r".*\.num_batches_tracked", "counts training batches; nothing reads it"),
    (r"(incre_modules|downsamp_modules|classifier|final_layer\.\d)\..*", "head of the ImageNet classifier"),
    (r"stage4\.LAST\.fuse_layers\.[1-3]\..*", "lower resolutions of the last module; heatmaps take the highest"),
)

# Name in the checkpoint: name of the variable in Keras, for the two kinds of layers.
CONV_WEIGHTS = {"weight": "kernel", "bias": "bias"}
BATCH_NORM_WEIGHTS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def find_weights(values) -> dict[str, np.ndarray]:
    """The named arrays in what a checkpoint file holds, without the `module.` of DataParallel.

    Raises UserError where there are none.
    """
    for name in _CONTAINERS:
        if isinstance(values, dict) and isinstance(values.get(name), dict):
            values = values[name]
            break
    weights = {k: v for k, v in values.items() if isinstance(v, np.ndarray)} if isinstance(values, dict) else {}
    weights = {str(name).removeprefix("module."): array for name, array in weights.items()}
    if not weights:
        raise UserError("it holds no named weights; name the file of an HRNet's state_dict")
    return weights


def find_variant(weights: dict[str, np.ndarray]) -> str:
    """The row of `VARIANTS` whose layers the weights are of; raises UserError where there is none."""

    def width(name: str) -> int:
        if name not in weights or weights[name].ndim != 4:
            raise UserError(f"it is of another network than HRNet: it lacks a convolution {name}")
        return weights[name].shape[0]

    def count(pattern: str) -> int:
        return len({match[1] for match in (re.match(pattern, name) for name in weights) if match})

    row = HRNetVariant(
        channels=width("transition1.0.0.weight"),
        modules=tuple(count(rf"stage{stage}\.(\d+)\.") for stage in (2, 3, 4)),
        units=count(r"stage2\.0\.branches\.0\.(\d+)\."),
        stem_channels=width("conv1.weight"),
        bottlenecks=count(r"layer1\.(\d+)\."),
        bottleneck_channels=width("layer1.0.conv1.weight"),
    )
    for name, known in VARIANTS.items():
        if known == row:
            return name
    raise UserError(f"it is an HRNet that is none of {', '.join(VARIANTS)}: {row}")


def why_unused(name: str, variant: str) -> str | None:
    """The reason why a pose network does not use a weight; None where there is no good one."""
    last = str(VARIANTS[variant].modules[-1] - 1)
    for pattern, reason in UNUSED:
        if re.fullmatch(pattern.replace("LAST", last), name):
            return reason
    return None


def layer_of(name: str) -> tuple[str, str]:
    """`stage2.0.branches.1.0.bn1.running_var` to (`stage2_0_branches_1_0_bn1`, `running_var`)."""
    layer, _, weight = name.rpartition(".")
    return layer.replace(".", "_"), weight
