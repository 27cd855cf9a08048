"""The names of weights in HRNet checkpoints, and which of them the pose network uses.

The official pose code, HRNet-Image-Classification and timm's `hrnet_w*` use the same names for the shared part. Our
layers have them too, with underscores for dots (see `keras_pose.models.hrnet`).
"""

import re

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.models.hrnet import VARIANTS, HRNetVariant

# Weights that may remain unused: a pattern of their names, and the reason. LAST is the index of stage 4's last module.
UNUSED = (
    (r".*\.num_batches_tracked", "counts training batches; nothing reads it"),
    (r"(incre_modules|downsamp_modules|classifier|final_layer\.\d)\..*", "head of the ImageNet classifier"),
    (r"stage4\.LAST\.fuse_layers\.[1-3]\..*", "lower resolutions of the last module; heatmaps use the highest"),
)

# Name in the checkpoint to name of the Keras variable, for both kinds of layers.
CONV_WEIGHTS = {"weight": "kernel", "bias": "bias"}
BATCH_NORM_WEIGHTS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def find_variant(weights: dict[str, np.ndarray]) -> str:
    """The key of `VARIANTS` that the weights belong to; raises UserError if they belong to none."""

    def width(name: str) -> int:
        if name not in weights or weights[name].ndim != 4:
            raise UserError(f"it is not an HRNet: it has no convolution {name}")
        return weights[name].shape[0]

    def count(pattern: str) -> int:
        return len({match[1] for match in (re.match(pattern, name) for name in weights) if match})

    channels, lowest = width("transition1.0.0.weight"), width("transition3.3.0.0.weight")
    row = HRNetVariant(
        channels=channels,
        modules=tuple(count(rf"stage{stage}\.(\d+)\.") for stage in (2, 3, 4)),
        units=count(r"stage2\.0\.branches\.0\.(\d+)\."),
        stem_channels=width("conv1.weight"),
        bottlenecks=count(r"layer1\.(\d+)\."),
        bottleneck_channels=width("layer1.0.conv1.weight"),
        lowest_channels=lowest if lowest != 8 * channels else None,
    )
    for name, known in VARIANTS.items():
        if known == row:
            return name
    raise UserError(f"it is an HRNet, but not one of {', '.join(VARIANTS)}: {row}")


def why_unused(name: str, variant: str) -> str | None:
    """The reason why a pose network of this variant does not use a weight; None if it must use it."""
    last = str(VARIANTS[variant].modules[-1] - 1)
    for pattern, reason in UNUSED:
        if re.fullmatch(pattern.replace("LAST", last), name):
            return reason
    return None


def layer_of(name: str) -> tuple[str, str]:
    """Splits `stage2.0.branches.1.0.bn1.running_var` into (`stage2_0_branches_1_0_bn1`, `running_var`)."""
    layer, _, weight = name.rpartition(".")
    return layer.replace(".", "_"), weight
