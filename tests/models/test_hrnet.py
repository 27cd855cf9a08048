import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_pose.core.errors import UserError
from keras_pose.models import hrnet, widening

SIZE = (64, 96)


@pytest.fixture(scope="module")
def tiny():
    return hrnet.build_hrnet("w8_tiny", 5, SIZE)


@pytest.fixture(scope="module")
def inference_graph(tiny):
    specification = tf.TensorSpec((1, *SIZE, 3), tf.uint8)
    return tf.function(lambda image: tiny(image, training=False)).get_concrete_function(specification).graph


@pytest.mark.parametrize("variant", hrnet.VARIANTS)
def test_heatmaps_are_a_quarter_of_the_input(variant):
    model = hrnet.build_hrnet(variant, 16, SIZE)
    assert model.output_shape == (None, 16, 24, 16)
    names = {layer.name for layer in model.layers}
    # The last module of stage 4 fuses to the highest resolution only.
    last = f"stage4_{hrnet.VARIANTS[variant].modules[2] - 1}_fuse_layers"
    assert {f"{last}_0_1_0", f"{last}_0_3_0"} <= names and f"{last}_1_0_0_0" not in names
    if variant == "w32":
        check_published_w32(model)


def test_a_narrow_last_branch_is_cheap_and_still_widens_w20_small():
    narrow, slim = (hrnet.build_hrnet(name, 17, SIZE) for name in ("w20_small", "w32_slim"))
    shapes = [
        {layer.name: [w.shape for w in layer.weights] for layer in m.layers if layer.weights} for m in (narrow, slim)
    ]
    assert widening.can_widen(*shapes)
    assert hrnet.VARIANTS["w32_slim"].widths == (32, 64, 128, 160)
    assert slim.get_layer("stage4_0_branches_3_1_conv2").output.shape == (None, 2, 3, 160)
    assert slim.count_params() < 4.3e6  # 5.8 million with 256 channels there


def check_published_w32(model):
    """The parameters of the official W32 with 16 joints, and its names (a sample of each kind)."""
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == 28_536_080
    official = """conv1 bn2 layer1.0.conv3 layer1.0.downsample.1 layer1.3.bn3 transition1.0.0 transition1.1.0.1
        transition2.2.0.0 transition3.3.0.0 stage2.0.branches.1.3.conv2 stage3.3.fuse_layers.2.0.1.1
        stage4.1.fuse_layers.3.0.2.0 stage4.2.branches.3.3.bn2 final_layer"""
    assert {name.replace(".", "_") for name in official.split()} <= {layer.name for layer in model.layers}


def test_whole_and_floating_numbers_give_the_same(tiny, rng):
    image = rng.integers(0, 256, (2, *SIZE, 3)).astype(np.uint8)
    np.testing.assert_array_equal(tiny(image), tiny(image.astype(np.float32)))


def test_normalisation_and_strided_convolution_are_the_official_ones(tiny, rng):
    image = rng.integers(0, 256, (1, *SIZE, 3)).astype(np.uint8)
    first = keras.Model(tiny.input, tiny.get_layer("conv1").output)(image)
    normalized = (image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    padded = np.pad(normalized, ((0, 0), (1, 1), (1, 1), (0, 0)))  # PyTorch's padding=1
    kernel = tiny.get_layer("conv1").kernel.numpy()
    for row, column in ((0, 0), (0, 47), (31, 0), (31, 47), (10, 20)):
        window = padded[0, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        np.testing.assert_allclose(first[0, row, column], np.einsum("hwc,hwco->o", window, kernel), atol=1e-5)


def test_graph_is_small_and_fit_for_phones(inference_graph):
    operations = inference_graph.get_operations()
    assert not {"ArgMax", "GatherNd", "Tile"} & {op.type for op in operations}
    assert max(len(out.shape) for op in operations for out in op.outputs if out.shape.rank is not None) <= 4
    counts = {kind: sum(op.type == kind for op in operations) for kind in ("Conv2D", "FusedBatchNormV3", "Rsqrt")}
    assert counts["FusedBatchNormV3"] == counts["Conv2D"] - 1 and counts["Rsqrt"] == 0
    # One nearest resize for each fusion from below: 1 in stage 2, 3 in stage 3, 3 in the last module of stage 4.
    assert sum(op.type == "ResizeNearestNeighbor" for op in operations) == 7


def test_every_weight_learns(tiny, rng):
    image = rng.integers(0, 256, (2, *SIZE, 3)).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((tiny(image, training=True) - 1.0) ** 2)
    for gradient, weight in zip(tape.gradient(loss, tiny.trainable_weights), tiny.trainable_weights, strict=True):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, weight.path


def test_fixed_batch():
    assert hrnet.build_hrnet("w8_tiny", 3, SIZE, batch_size=1).input_shape == (1, *SIZE, 3)


@pytest.mark.parametrize("size", [(60, 96), (64, 100), (0, 64), (-32, 64)])
def test_bad_size(size):
    with pytest.raises(UserError, match="multiples of 32"):
        hrnet.build_hrnet("w8_tiny", 3, size)


def test_unknown_variant():
    with pytest.raises(UserError, match="w16_small, w16_tiny, w18"):
        hrnet.build_hrnet("w99", 3, SIZE)
