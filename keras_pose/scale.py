"""What bounds training at scale: measures this machine's decoding and a model's gradient, and does the arithmetic.

    python -m keras_pose.scale --dataset=people --variant=w32 --gpus=8 --nodes=4 --examples=3600000

Decoding is measured in processor time of one core, so that other work on the machine disturbs it little; the gradient's
size is exact. What a GPU does in a second is an assumption (--gpu_images_per_second): measure yours by
`python -m keras_pose.benchmark`, and give it here.
"""

import itertools
import math
import time
from dataclasses import dataclass

from absl import flags

from keras_pose import command
from keras_pose.data.dataset import DatasetInfo, open_dataset
from keras_pose.data.pipeline import make_batches
from keras_pose.errors import UserError
from keras_pose.flags import parse_size
from keras_pose.models.hrnet import VARIANTS, build_hrnet

FLAGS = flags.FLAGS
MEASURED_BATCH = 32
MEASURED_EXAMPLES = 512
GRADIENT_BYTES_A_PARAMETER = 4  # gradients are added up in float32 under every precision


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """The command's flags."""
    flags.DEFINE_string("dataset", "embedded", "The data set whose pictures are decoded.", flag_values=values)
    flags.DEFINE_string("input_size", None, "HEIGHTxWIDTH of the crops; by default the data's.", flag_values=values)
    flags.DEFINE_enum("variant", "w32", sorted(VARIANTS), "Size of the HRNet backbone.", flag_values=values)
    flags.DEFINE_integer("examples", 0, "Examples of an epoch; by default the data set's.", 0, flag_values=values)
    flags.DEFINE_integer("gpus", 8, "GPUs of a node.", 1, flag_values=values)
    flags.DEFINE_integer("nodes", 1, "Nodes.", 1, flag_values=values)
    flags.DEFINE_integer("batch_per_gpu", 32, "Examples a GPU works on in a step.", 1, flag_values=values)
    flags.DEFINE_float("gpu_images_per_second", 300.0, "ASSUMED: what one GPU trains on.", 1e-3, flag_values=values)
    flags.DEFINE_float("network_gbit", 100.0, "ASSUMED: a node's network, Gbit/s.", 1e-3, flag_values=values)
    flags.DEFINE_string("json", None, "Write the numbers to this file.", flag_values=values)


@dataclass(frozen=True)
class Measured:
    """Of a data set, a model and this machine.

    Attributes:
        example_bytes: of an example in a shard, in the mean.
        picture_bytes: of a decoded picture.
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


def main(arguments: list[str]) -> None:
    """Runs the command."""
    if arguments:
        raise UserError(f"unknown argument {arguments[0]!r}; flags are written --name=value")
    dataset = open_dataset(FLAGS.dataset)
    if dataset.image_size is None:
        raise UserError(f"data set {dataset.spec} has no pictures to decode; name one that has")
    if FLAGS.input_size:
        dataset = dataset.at_size(parse_size("input_size", FLAGS.input_size))
    machines = Machines(FLAGS.gpus, FLAGS.nodes, FLAGS.batch_per_gpu, FLAGS.gpu_images_per_second, FLAGS.network_gbit)
    measured = measure(dataset, FLAGS.variant)
    bounds = compute_bounds(measured, machines, FLAGS.examples or dataset.count("train"))
    height, width = dataset.image_size
    print(f"HRNet {FLAGS.variant}, {height}x{width}, {machines.nodes} nodes of {machines.gpus} GPUs\nmeasured")
    _print(vars(measured))
    print("assumed")
    _print(vars(machines))
    print("follows")
    _print(bounds)
    if FLAGS.json:
        settings = {"variant": FLAGS.variant, "input_size": [height, width]}
        command.write_json(FLAGS.json, settings | vars(measured) | vars(machines) | bounds)


def _print(values: dict) -> None:
    for name, value in values.items():
        print(f"  {name:44s} {value:18,.3f}".rstrip("0").rstrip("."))


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


if __name__ == "__main__":
    define_flags()
    command.run(main)
