"""What bounds training at scale: decoding and a gradient as measured here, machines as assumed, and the arithmetic."""

import itertools
import math
import time
from dataclasses import dataclass

from keras_pose.data.dataset import DatasetInfo
from keras_pose.data.pipeline import make_batches
from keras_pose.models.hrnet import build_hrnet

MEASURED_BATCH = 32
MEASURED_EXAMPLES = 512
GRADIENT_BYTES_A_PARAMETER = 4  # gradients are added up in float32 under every precision


@dataclass(frozen=True)
class Measured:
    """Of a data set, a model and this machine.

    Attributes:
        example_bytes: of an example in a shard, in the mean.
        image_bytes: of a decoded image.
        decode_images_per_core_second: read, checked, parsed, decoded and batched in a second of one core.
        gradient_bytes: that every node gives and gets in a step.
    """

    example_bytes: float
    picture_bytes: int
    decode_images_per_core_second: float
    gradient_bytes: int


@dataclass(frozen=True)
class Machines:
    """What is assumed; see the flags of the same names."""

    gpus: int
    nodes: int
    batch_per_gpu: int
    gpu_images_per_second: float
    network_gbit: float


def measure(dataset: DatasetInfo, variant: str) -> Measured:
    """Reads and decodes some training examples, and builds the model."""
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
    """What GPUs at their full rate ask of processors, disks and network; units stand in the names.

    A ring adds gradients up by sending, from each node, 2 (n - 1) / n of them: twice all parts but its own.
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
