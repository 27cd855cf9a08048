"""The cost of a network, the machine's speed at multiplying matrices, and where the time of a step goes."""

import re
import time
from collections import Counter
from pathlib import Path

# Parts of the names of TensorFlow's and PyTorch's convolutions and matrix products, forward and backward.
MATRIX_KERNELS = re.compile(r"conv|matmul|einsum|addmm|::mm$|::bmm$", re.IGNORECASE)
OPERATION = re.compile(r"^[^:]+:(\w+)$")  # the profiler's name for one: `model/conv1/Conv2D:Conv2D`
CALLS = re.compile(r"Call|^While$|^If$")  # their time includes the operations they call


def forward_flops(model) -> int:
    """Multiplications and additions in the convolutions of a Keras model, for one image."""
    return sum(_conv_flops(model))


def training_flops(model) -> int:
    """The same for a training step: forward, and backward to the weights and to all inputs except the image."""
    flops = _conv_flops(model)
    return 3 * sum(flops) - flops[0]


def _conv_flops(model) -> list[int]:
    """The operations of each convolution, forward, in layer order."""
    found = []
    for layer in model.layers:
        if type(layer).__name__ == "Conv2D":
            _, height, width, filters = layer.output.shape
            window = layer.kernel.shape[0] * layer.kernel.shape[1] * layer.kernel.shape[2]
            found.append(2 * height * width * filters * window)
    return found


def matrix_peak_flops(precision: str, side: int = 0, seconds: float = 2.0) -> float:
    """The operations per second that the machine reaches multiplying two large square matrices.

    Args:
        precision: one of `keras_pose.models.precision.PRECISIONS`.
        side: of the matrices; default 2048, on a GPU 8192.
        seconds: how long to time products; the fastest counts.
    """
    import tensorflow as tf

    side = side or (8192 if tf.config.list_physical_devices("GPU") else 2048)
    dtype = tf.as_dtype(precision.removeprefix("mixed_"))
    a, b = (tf.cast(tf.random.stateless_normal((side, side), (seed, 0)), dtype) for seed in (1, 2))

    @tf.function(autograph=False)
    def multiply(a, b):
        return tf.reduce_max(tf.matmul(a, b)[:1])  # a scalar, so reading it waits for the product

    float(multiply(a, b))
    fastest, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        float(multiply(a, b))
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * side**3 / fastest


def operation_times(directory: str) -> Counter:
    """The time of each kind of operation, summed over threads, from a TensorFlow profile."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    times: Counter = Counter()
    for path in Path(directory).rglob("*.xplane.pb"):
        space = xplane_pb2.XSpace()
        space.ParseFromString(path.read_bytes())
        for plane in space.planes:
            if plane.name != "/host:CPU":
                continue
            for line in plane.lines:
                for event in line.events:
                    match = OPERATION.match(plane.event_metadata[event.metadata_id].name)
                    if match and not CALLS.search(match[1]):
                        times[match[1]] += event.duration_ps
    return times


def matrix_share(times: dict[str, float]) -> float:
    """The share of convolutions and matrix products in the times of operations, by name."""
    matrix = sum(value for name, value in times.items() if MATRIX_KERNELS.search(name))
    return matrix / sum(times.values())
