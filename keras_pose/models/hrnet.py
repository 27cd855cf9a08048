"""HRNet (Sun et al. 2019, arXiv 1902.09212): an image in, one heatmap per joint at a quarter of its size out.

Layers are named as in the official pose code (leoxiaobin/deep-high-resolution-net.pytorch) with underscores for dots,
so that weights can be ported by name: `stage3.2.fuse_layers.1.0.0.0` is `stage3_2_fuse_layers_1_0_0_0`.
"""

from dataclasses import dataclass

import keras
from keras import ops

from keras_pose.core.errors import UserError, unknown_name
from keras_pose.models.batch_norm import FusedBatchNormalization

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB in [0, 1]
IMAGENET_STD = (0.229, 0.224, 0.225)
HEATMAP_STRIDE = 4
SIZE_MULTIPLE = 32  # the lowest of the four branches has 1/32 of the input's size


@dataclass(frozen=True)
class HRNetVariant:
    """One row of `VARIANTS`.

    `channels` is the width of the highest resolution; each lower branch has twice the channels of the one above. Every
    heatmap is a linear combination of these channels. With fewer channels than joints, some heatmaps cannot be
    independent of others (docs/notes/sim2real.md has the loss), so a width of 16 is only for backbones and few joints.
    """

    channels: int
    modules: tuple[int, int, int] = (1, 4, 3)  # exchange modules of stages 2, 3, 4
    units: int = 4  # residual units per branch of a module
    stem_channels: int = 64
    bottlenecks: int = 4  # units of stage 1
    bottleneck_channels: int = 64  # inner width of these units; their output is four times as wide
    lowest_channels: int | None = None  # width of the lowest resolution, if not twice that of the branch above

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """Channels of the four branches, from the highest resolution to the lowest."""
        first, second, third, fourth = (self.channels * 2**i for i in range(4))
        return first, second, third, self.lowest_channels or fourth


VARIANTS = {
    # as published, https://github.com/leoxiaobin/deep-high-resolution-net.pytorch and HRNet-Image-Classification
    "w18": HRNetVariant(18),
    "w32": HRNetVariant(32),
    "w48": HRNetVariant(48),
    # further widths of HRNet-Image-Classification and timm
    "w30": HRNetVariant(30),
    "w40": HRNetVariant(40),
    "w44": HRNetVariant(44),
    "w64": HRNetVariant(64),
    "w18_small_v1": HRNetVariant(16, (1, 1, 1), units=2, bottlenecks=1, bottleneck_channels=32),
    "w18_small_v2": HRNetVariant(18, (1, 3, 2), units=2, bottlenecks=2),
    # for phones and small machines, with more channels than Human3.6M has joints. The narrow lowest branch of w32_slim
    # saves a quarter of the weights. All its widths are multiples of 16, with which CPUs compute most efficiently
    "w32_slim": HRNetVariant(
        32, (1, 2, 1), units=2, stem_channels=32, bottlenecks=2, bottleneck_channels=32, lowest_channels=160
    ),
    "w20_small": HRNetVariant(20, (1, 2, 1), units=2, stem_channels=32, bottlenecks=2, bottleneck_channels=32),
    # as w20_small, but too narrow for 17 joints
    "w16_small": HRNetVariant(16, (1, 2, 1), units=2, stem_channels=32, bottlenecks=2, bottleneck_channels=32),
    "w16_tiny": HRNetVariant(16, (1, 1, 1), units=1, stem_channels=32, bottlenecks=1, bottleneck_channels=16),
    # for tests
    "w8_tiny": HRNetVariant(8, (1, 1, 1), units=1, stem_channels=16, bottlenecks=1, bottleneck_channels=8),
}


def get_variant(name: str) -> HRNetVariant:
    """The row with that name; raises UserError that lists the known names."""
    if name not in VARIANTS:
        raise unknown_name("HRNet variant", name, VARIANTS)
    return VARIANTS[name]


def check_input_size(input_size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) as ints; raises UserError unless both are positive multiples of 32."""
    height, width = (int(side) for side in input_size)
    if height <= 0 or width <= 0 or height % SIZE_MULTIPLE or width % SIZE_MULTIPLE:
        raise UserError(f"input size {height}x{width}: HRNet halves it five times; use multiples of {SIZE_MULTIPLE}")
    return height, width


def build_hrnet(
    variant: str, num_joints: int, input_size: tuple[int, int], batch_size: int | None = None, name: str = "hrnet"
) -> keras.Model:
    """HRNet as a functional model.

    Args:
        variant: a row of `VARIANTS`.
        num_joints: J, the number of heatmaps.
        input_size: (height, width), multiples of 32.
        batch_size: fixed batch, for export; None leaves it open.

    Returns:
        A model from (B, H, W, 3) RGB in 0..255, integers or floats, to heatmaps (B, H/4, W/4, J) float32.

    Raises:
        UserError: unknown variant, or a size that is not a multiple of 32.
    """
    image, branches = hrnet_branches(variant, input_size, batch_size)
    row = get_variant(variant)
    (x,) = _fuse(branches, row, f"stage4_{row.modules[-1] - 1}", num_outputs=1)
    heatmaps = keras.layers.Conv2D(
        num_joints, 1, kernel_initializer=_conv_initializer(), dtype="float32", name="final_layer"
    )(x)
    return keras.Model(image, heatmaps, name=name)


def hrnet_branches(
    variant: str, input_size: tuple[int, int], batch_size: int | None = None
) -> tuple[keras.KerasTensor, list[keras.KerasTensor]]:
    """HRNet up to its last fusion; arguments and errors as for `build_hrnet`.

    Returns:
        The input (B, H, W, 3), and the four branches (B, H/s, W/s, C) for s = 4, 8, 16, 32, C from the variant's
        `widths`.
    """
    row = get_variant(variant)
    height, width = check_input_size(input_size)
    image = keras.Input((height, width, 3), batch_size=batch_size, dtype="float32", name="image")
    branches = [_stem(image, row)]  # (B, H/4, W/4, 4 * bottleneck_channels)
    for stage, num_modules in enumerate(row.modules, start=2):
        branches = _transition(branches, row, stage)
        for module in range(num_modules):
            prefix = f"stage{stage}_{module}"
            branches = _residual_branches(branches, row, prefix)
            if stage < 4 or module < num_modules - 1:
                branches = _fuse(branches, row, prefix, num_outputs=len(branches))
    return image, branches


def _conv_initializer():
    return keras.initializers.RandomNormal(stddev=0.001)


def _conv_bn(x, filters: int, kernel: int, conv_name: str, bn_name: str, stride: int = 1, relu: bool = True):
    """Convolution, batch norm and ReLU. Strided ones are padded by (1, 1), as in PyTorch; `same` would pad (0, 1)."""
    if stride > 1:
        x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = keras.layers.Conv2D(
        filters,
        kernel,
        stride,
        padding="valid" if stride > 1 else "same",
        use_bias=False,
        kernel_initializer=_conv_initializer(),
        name=conv_name,
    )(x)
    x = FusedBatchNormalization(name=bn_name)(x)
    return ops.relu(x) if relu else x


def _stem(image, row: HRNetVariant):
    """Normalization, two strided convolutions and stage 1: (B, H, W, 3) to (B, H/4, W/4, C)."""
    x = keras.layers.Rescaling(
        scale=[1 / (255 * std) for std in IMAGENET_STD],
        offset=[-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)],
        dtype="float32",
        name="normalize_image",
    )(image)
    x = _conv_bn(x, row.stem_channels, 3, "conv1", "bn1", stride=2)
    x = _conv_bn(x, row.stem_channels, 3, "conv2", "bn2", stride=2)
    for unit in range(row.bottlenecks):
        x = _bottleneck(x, row.bottleneck_channels, f"layer1_{unit}")
    return x


def _bottleneck(x, channels: int, prefix: str):
    """1 x 1, 3 x 3, 1 x 1 convolutions to four times the channels, added to the input."""
    shortcut = x
    if x.shape[-1] != 4 * channels:
        shortcut = _conv_bn(x, 4 * channels, 1, f"{prefix}_downsample_0", f"{prefix}_downsample_1", relu=False)
    x = _conv_bn(x, channels, 1, f"{prefix}_conv1", f"{prefix}_bn1")
    x = _conv_bn(x, channels, 3, f"{prefix}_conv2", f"{prefix}_bn2")
    x = _conv_bn(x, 4 * channels, 1, f"{prefix}_conv3", f"{prefix}_bn3", relu=False)
    return ops.relu(ops.add(x, shortcut))


def _basic_unit(x, prefix: str):
    """Two 3 x 3 convolutions, added to the input."""
    channels = x.shape[-1]
    y = _conv_bn(x, channels, 3, f"{prefix}_conv1", f"{prefix}_bn1")
    y = _conv_bn(y, channels, 3, f"{prefix}_conv2", f"{prefix}_bn2", relu=False)
    return ops.relu(ops.add(y, x))


def _transition(branches: list, row: HRNetVariant, stage: int) -> list:
    """Adds a branch at half the lowest resolution; before stage 2, it also brings the first branch to its width."""
    prefix = f"transition{stage - 1}"
    if stage == 2:
        (x,) = branches
        branches = [_conv_bn(x, row.channels, 3, f"{prefix}_0_0", f"{prefix}_0_1")]
    else:
        x = branches[-1]
    i = len(branches)
    added = _conv_bn(x, row.widths[i], 3, f"{prefix}_{i}_0_0", f"{prefix}_{i}_0_1", stride=2)
    return [*branches, added]


def _residual_branches(branches: list, row: HRNetVariant, prefix: str) -> list:
    outputs = []
    for i, x in enumerate(branches):
        for unit in range(row.units):
            x = _basic_unit(x, f"{prefix}_branches_{i}_{unit}")
        outputs.append(x)
    return outputs


def _fuse(branches: list, row: HRNetVariant, prefix: str, num_outputs: int) -> list:
    """Each of the first `num_outputs` resolutions becomes the sum of all branches, brought to its size and width."""
    outputs = []
    for i in range(num_outputs):
        total = None
        for j, x in enumerate(branches):
            part = _to_branch(x, j, i, row, f"{prefix}_fuse_layers_{i}_{j}", branches[i].shape[1:3])
            total = part if total is None else ops.add(total, part)
        outputs.append(ops.relu(total))
    return outputs


def _to_branch(x, source: int, target: int, row: HRNetVariant, prefix: str, size: tuple[int, int]):
    """Branch `source`, brought to the (height, width) `size` and the channels of branch `target`."""
    channels = row.widths[target]
    if source > target:
        x = _conv_bn(x, channels, 1, f"{prefix}_0", f"{prefix}_1", relu=False)
        return ops.image.resize(x, size, interpolation="nearest", data_format="channels_last")
    for step in range(target - source):
        last = step == target - source - 1
        filters = channels if last else x.shape[-1]
        x = _conv_bn(x, filters, 3, f"{prefix}_{step}_0", f"{prefix}_{step}_1", stride=2, relu=not last)
    return x
