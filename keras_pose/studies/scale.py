"""The limits of training at scale: measured decoding and gradients, assumed machines, and the arithmetic."""

import itertools
import math
import time
from dataclasses import dataclass

from keras_pose.data.dataset import DatasetInfo
from keras_pose.data.pipeline import make_batches
from keras_pose.models.hrnet import build_hrnet

MEASURED_BATCH = 32
MEASURED_EXAMPLES = 512
GRADIENT_BYTES_A_PARAMETER = 4  # gradients are summed in float32 in every precision


@dataclass(frozen=True)
class Measured:
    """Measurements of a data set, a model and this machine.

    Attributes:
        example_bytes: mean size of an example in a shard.
        picture_bytes: size of a decoded image.
        decode_images_per_core_second: images read, checked, parsed, decoded and batched per second on one core.
        gradient_bytes: size of the model's gradients.
    """

    example_bytes: float
    picture_bytes: int
    decode_images_per_core_second: float
    gradient_bytes: int


@dataclass(frozen=True)
class Machines:
    """The assumptions; see the flags of the same names."""

    gpus: int
    nodes: int
    batch_per_gpu: int
    gpu_images_per_second: float
    network_gbit: float


def measure(dataset: DatasetInfo, variant: str) -> Measured:
    """Reads and decodes training examples, and builds the model."""
    entries = [entry for part in dataset.parts for entry in part.manifest.splits.get("train", ())]
    height, width = dataset.image_size
    batch_size = min(MEASURED_BATCH, dataset.count("train"))
    epochs = (make_batches(dataset, "train", batch_size, training=True, epoch=i) for i in itertools.count())
    batches = (batch for epoch in epochs for batch in epoch)
    next(batches)  # starts the pipeline
    count, start = 0, time.process_time()
    while count < MEASURED_EXAMPLES:
        next(batches)
        count += batch_size
    rate = count / (time.process_time() - start)
    model = build_hrnet(variant, dataset.skeleton.num_joints, dataset.image_size)
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return Measured(
        example_bytes=sum(entry.bytes for entry in entries) / sum(entry.count for entry in entries),
        picture_bytes=height * width * 3,
        decode_images_per_core_second=rate,
        gradient_bytes=parameters * GRADIENT_BYTES_A_PARAMETER,
    )


def compute_bounds(measured: Measured, machines: Machines, examples: int) -> dict[str, float]:
    """What GPUs at full speed require of processors, disks and network, with units in the names.

    A ring sums gradients by sending 2 (n - 1) / n of them from each node: twice all parts except its own.
    """
    node_rate = machines.gpus * machines.gpu_images_per_second
    step_s = machines.batch_per_gpu / machines.gpu_images_per_second
    sent = 2 * (machines.nodes - 1) / machines.nodes * measured.gradient_bytes
    network = machines.network_gbit * 1e9 / 8  # bytes a second
    read_mb = node_rate * measured.example_bytes / 1e6
    return {
        "images_per_second": machines.nodes * node_rate,
        "epoch_s": examples / (machines.nodes * node_rate),
        "global_batch": machines.nodes * machines.gpus * machines.batch_per_gpu,
        "step_ms": 1000 * step_s,
        "decoding_cores_per_gpu": machines.gpu_images_per_second / measured.decode_images_per_core_second,
        "decoding_cores_per_node": node_rate / measured.decode_images_per_core_second,
        "data_set_gb": examples * measured.example_bytes / 1e9,
        "read_mb_per_second_and_node_by_examples": machines.nodes * read_mb,
        "read_mb_per_second_and_node_by_files": read_mb,
        "data_service_mb_per_second_and_node": node_rate * measured.picture_bytes / 1e6,
        "gradient_mb_sent_per_step_and_node": sent / 1e6,
        "gradient_ms_per_step": 1000 * sent / network,
        "gradient_share_of_step_if_not_overlapped": sent / network / step_s,
    }
