"""The finder: a whole image in, people out, as a map of centres and a map of boxes (CenterNet, arXiv 1904.07850).

The network sees a square image of `INPUT_SIZE` pixels, into which any picture fits with black bars. A cell of the maps
covers `STRIDE` pixels. As in FCOS (arXiv 1904.01355) each cell tells how far the sides of its person's box lie from
the cell's own centre, so that a peak that is one cell off still gives the right box.
"""

import keras
from keras import ops

from keras_pose.models.batch_norm import FusedBatchNormalization
from keras_pose.models.hrnet import IMAGENET_MEAN, IMAGENET_STD

INPUT_SIZE = 160
STRIDE = 8
CHANNELS = (16, 24, 40, 56, 72)  # at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input
UNITS = (0, 0, 2, 1, 1)  # residual units at each
# A map of centres starts at this score everywhere, or the first steps are spent on all the cells without anyone.
FIRST_SCORE = 0.02


def build_finder(
    input_size: int = INPUT_SIZE, channels: tuple[int, ...] = CHANNELS, batch_size: int | None = None
) -> keras.Model:
    """The finder as a functional model.

    Args:
        input_size: side of the square input in pixels, a multiple of 32.
        channels: width at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input.
        batch_size: fixed batch, for export; None leaves it open.

    Returns:
        A model from (B, S, S, 3) RGB in 0..255 to `centers` (B, S/8, S/8, 1), scores in [0, 1], and `boxes`
        (B, S/8, S/8, 4), the distances from a cell's centre to the left, top, right and bottom side of the box, in
        shares of the input's side.
    """
    image = keras.Input((input_size, input_size, 3), batch_size=batch_size, dtype="float32", name="image")
    x = keras.layers.Rescaling(
        scale=[1 / (255 * std) for std in IMAGENET_STD],
        offset=[-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)],
        dtype="float32",
        name="normalize_image",
    )(image)
    levels = []
    for level, (width, units) in enumerate(zip(channels, UNITS, strict=True)):
        x = ops.relu(_conv_bn(x, width, 3, f"down{level}", stride=2))
        for unit in range(units):
            x = _residual(x, width, f"level{level}_unit{unit}")
        levels.append(x)  # (B, S / 2^(level + 1), S / 2^(level + 1), width)
    x = levels[4]
    for level in (3, 2):
        size = levels[level].shape[1:3]
        x = _conv_bn(x, channels[level], 1, f"up{level}")
        x = ops.image.resize(x, size, interpolation="nearest", data_format="channels_last")
        x = _residual(ops.relu(ops.add(x, levels[level])), channels[level], f"merge{level}")
    hidden = ops.relu(_conv_bn(x, channels[2], 3, "head"))  # (B, S/8, S/8, C)
    centers = keras.layers.Conv2D(
        1,
        1,
        activation="sigmoid",
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        bias_initializer=keras.initializers.Constant(float(ops.log(FIRST_SCORE / (1 - FIRST_SCORE)))),
        dtype="float32",
        name="centers",
    )(hidden)
    boxes = keras.layers.Conv2D(
        4, 1, bias_initializer=keras.initializers.Constant(0.15), dtype="float32", name="boxes"
    )(hidden)
    return keras.Model(image, {"boxes": boxes, "centers": centers}, name="finder")


def _conv_bn(x, width: int, kernel: int, name: str, stride: int = 1):
    if stride > 1:  # padded (1, 1): Keras' `same` would pad (0, 1)
        x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = keras.layers.Conv2D(
        width, kernel, stride, padding="valid" if stride > 1 else "same", use_bias=False, name=f"{name}_conv",
        kernel_initializer="he_normal",
    )(x)  # fmt: skip
    return FusedBatchNormalization(name=f"{name}_bn")(x)


def _residual(x, width: int, name: str):
    inner = ops.relu(_conv_bn(x, width, 3, f"{name}_0"))
    return ops.relu(ops.add(x, _conv_bn(inner, width, 3, f"{name}_1")))
