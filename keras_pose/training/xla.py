"""XLA for the network's forward and backward pass."""

from collections.abc import Callable

import tensorflow as tf

NEAREST_GRADIENT = "KerasPoseNearestUpsampling"


def compile_forward(forward: Callable[[dict], dict]) -> Callable[[dict], dict]:
    """`forward`, and its gradient, as one XLA program each, compiled at the first call."""

    @tf.function(jit_compile=True, autograph=False)
    def compiled(batch):
        # XLA has HRNet's nearest-neighbor upsampling, but not the gradient that TensorFlow gives it.
        with tf.compat.v1.get_default_graph().gradient_override_map({"ResizeNearestNeighbor": NEAREST_GRADIENT}):
            return forward(batch)

    return compiled


@tf.RegisterGradient(NEAREST_GRADIENT)
def _nearest_upsampling_gradient(op, gradient):
    """Each pixel has made a block of them: its gradient is the block's sum. Sizes grow by whole factors."""
    _, height, width, channels = op.inputs[0].shape
    tall, wide = gradient.shape[1] // height, gradient.shape[2] // width
    if (height * tall, width * wide) != tuple(gradient.shape[1:3]):
        raise ValueError(f"upsampling from {op.inputs[0].shape} to {gradient.shape} is by no whole factor")
    blocks = tf.reshape(gradient, (-1, height, tall, width, wide, channels))
    return tf.reduce_sum(blocks, (2, 4)), None
