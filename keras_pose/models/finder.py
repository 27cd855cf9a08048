"""The finder: a whole image in, people out, as a map of centers and a map of boxes (CenterNet, arXiv 1904.07850).

The network sees a square of `INPUT_SIZE` pixels, into which any image fits with black bars. A cell of the maps covers
`STRIDE` pixels. As in FCOS (arXiv 1904.01355), each cell predicts the distances from its own center to the sides of
its person's box, so a peak that is one cell off still gives the right box.

The trunk is HRNet, so that training can start from a pose network, which already knows what people look like. From
random weights, the same training finds nobody.
"""

import keras
from keras import ops

from keras_pose.models.batch_norm import FusedBatchNormalization
from keras_pose.models.hrnet import hrnet_branches

VARIANT = "w20_small"
INPUT_SIZE = 192
STRIDE = 8
CHANNELS = 64  # of the head
# The initial score of every cell. With 0.5, the first steps would mainly lower the scores of cells without a person.
FIRST_SCORE = 0.02


def build_finder(
    input_size: int = INPUT_SIZE, variant: str = VARIANT, channels: int = CHANNELS, batch_size: int | None = None
) -> keras.Model:
    """The finder as a functional model.

    Args:
        input_size: side of the square input in pixels, a multiple of 32.
        variant: the trunk, a key of `hrnet.VARIANTS`.
        channels: width of the head.
        batch_size: fixed batch, for export; None leaves it open.

    Returns:
        A model from (B, S, S, 3) RGB in 0..255 to `centers` (B, S/8, S/8, 1), scores in [0, 1], and `boxes`
        (B, S/8, S/8, 4), the distances from a cell's center to the left, top, right and bottom side of the box, as
        shares of the input's side.

    Raises:
        UserError: unknown variant, or a size that is not a multiple of 32.
    """
    image, (fine, *coarse) = hrnet_branches(variant, (input_size, input_size), batch_size)
    x = _conv_bn(ops.pad(fine, ((0, 0), (1, 1), (1, 1), (0, 0))), channels, 3, "merge0", stride=2)  # (B, S/8, S/8, C)
    size = x.shape[1:3]
    for i, branch in enumerate(coarse, start=1):
        part = _conv_bn(branch, channels, 1, f"merge{i}")
        x = ops.add(x, ops.image.resize(part, size, interpolation="nearest", data_format="channels_last"))
    x = ops.relu(x)
    inner = ops.relu(_conv_bn(x, channels, 3, "head0"))
    hidden = ops.relu(ops.add(x, _conv_bn(inner, channels, 3, "head1")))
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
    """Convolution and batch norm; a strided convolution expects a padded input."""
    x = keras.layers.Conv2D(
        width, kernel, stride, padding="valid" if stride > 1 else "same", use_bias=False, name=f"{name}_conv",
        kernel_initializer="he_normal",
    )(x)  # fmt: skip
    return FusedBatchNormalization(name=f"{name}_bn")(x)


def start_from(finder: keras.Model, trained: keras.Model) -> list[str]:
    """Copies weights by layer name from another finder, or from the HRNet of a pose model.

    Returns the names of the finder's layers that stay as they were, because `trained` lacks them or has another shape.
    """
    nested = [layer for layer in trained.layers if isinstance(layer, keras.Model)]
    known = {layer.name: layer for model in (*nested, trained) for layer in model.layers if layer.weights}
    untrained = []
    for layer in finder.layers:
        if not layer.weights:
            continue
        weights = known[layer.name].get_weights() if layer.name in known else []
        if [w.shape for w in weights] == [tuple(w.shape) for w in layer.weights]:
            layer.set_weights(weights)
        else:
            untrained.append(layer.name)
    return untrained
