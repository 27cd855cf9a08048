"""XLA for the network's forward and backward pass."""

from collections.abc import Callable

import tensorflow as tf

NEAREST_GRADIENT = "KerasPoseNearestUpsampling"


def compile_forward(forward: Callable[[dict], dict]) -> Callable[[dict], dict]:
    """Compiles `forward` and its gradient to one XLA program each, at the first call."""

    @tf.function(jit_compile=True, autograph=False)
    def compiled(batch):
        # XLA supports HRNet's nearest-neighbor upsampling, but not the gradient that TensorFlow uses for it.
        with tf.compat.v1.get_default_graph().gradient_override_map({"ResizeNearestNeighbor": NEAREST_GRADIENT}):
            return forward(batch)

    return compiled


@tf.RegisterGradient(NEAREST_GRADIENT)
def _nearest_upsampling_gradient(op, gradient):
    """Upsampling copies each pixel to a block of pixels, so its gradient is the block's sum.

    Raises ValueError if the factors are not whole numbers.
    """
    _, height, width, channels = op.inputs[0].shape
    tall, wide = gradient.shape[1] // height, gradient.shape[2] // width
    if (height * tall, width * wide) != tuple(gradient.shape[1:3]):
        raise ValueError(f"upsampling from {op.inputs[0].shape} to {gradient.shape} is not by a whole factor")
    blocks = tf.reshape(gradient, (-1, height, tall, width, wide, channels))
    return tf.reduce_sum(blocks, (2, 4)), None
