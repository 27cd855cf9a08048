import keras
import pytest
import tensorflow as tf
import torch
from torch.utils.flop_counter import FlopCounterMode

from keras_pose.models.hrnet import VARIANTS, build_hrnet
from keras_pose.studies.benchmark import kernels, torch_hrnet


@pytest.mark.parametrize("size", [(64, 96), (96, 64)])
def test_operations_are_those_that_pytorch_counts(size):
    network = torch_hrnet.build(VARIANTS["w8_tiny"], 17)
    image = torch.zeros(1, 3, *size)
    model = build_hrnet("w8_tiny", 17, size)
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        network(image)
    assert kernels.forward_flops(model) == forward.get_total_flops()
    with FlopCounterMode(display=False) as training:
        network(image).sum().backward()
    assert kernels.training_flops(model) == training.get_total_flops()


def test_operations_of_a_convolution_by_hand():
    image = keras.Input((8, 6, 3))
    model = keras.Model(image, keras.layers.Conv2D(5, 3, padding="same", use_bias=False)(image))
    assert kernels.forward_flops(model) == 2 * 8 * 6 * 5 * 27
    assert kernels.training_flops(model) == 2 * kernels.forward_flops(model)  # the image needs no gradient


def test_operations_are_timed_by_kind(tmp_path):
    @tf.function
    def work(x):
        return tf.nn.relu(tf.matmul(x, x))

    x = tf.ones((300, 300))
    work(x)
    tf.profiler.experimental.start(str(tmp_path))
    work(x)
    tf.profiler.experimental.stop()
    times = kernels.operation_times(str(tmp_path))
    assert 0.3 < kernels.matrix_share(times) < 1, times


def test_matrix_kernels_are_known_by_name():
    assert kernels.matrix_share({"_MklNativeConv2DBackpropFilter": 2, "aten::addmm": 1, "Relu": 1}) == 0.75
    assert kernels.matrix_share({"aten::mkldnn_convolution": 1, "aten::bmm": 1, "aten::add": 2}) == 0.5
    assert kernels.matrix_peak_flops("mixed_bfloat16", side=32, seconds=0.01) > 1e3
