"""Finds what limits training at scale: measures decoding and a model's gradient on this machine, then extrapolates.

    python -m keras_pose.scale --dataset=people --variant=w32 --gpus=8 --nodes=4 --examples=3600000

Decoding is measured as processor time on one core, which other load disturbs little. The size of the gradient is
exact. The speed of a GPU is an assumption (--gpu_images_per_second): measure yours with `python -m
keras_pose.benchmark` and give it here.
"""

from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.data.dataset import open_dataset
from keras_pose.flags import parse_size
from keras_pose.io import atomic
from keras_pose.models.hrnet import VARIANTS
from keras_pose.studies.scale import Machines, compute_bounds, measure

FLAGS = flags.FLAGS


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("dataset", "embedded", "Data set whose images are decoded.", flag_values=values)
    flags.DEFINE_string("input_size", None, "HEIGHTxWIDTH of the crops; default: the data's.", flag_values=values)
    flags.DEFINE_enum("variant", "w32", sorted(VARIANTS), "Size of the HRNet backbone.", flag_values=values)
    flags.DEFINE_integer("examples", 0, "Examples per epoch; 0 takes the data set's number.", 0, flag_values=values)
    flags.DEFINE_integer("gpus", 8, "GPUs per node.", 1, flag_values=values)
    flags.DEFINE_integer("nodes", 1, "Nodes.", 1, flag_values=values)
    flags.DEFINE_integer("batch_per_gpu", 32, "Examples per GPU and step.", 1, flag_values=values)
    flags.DEFINE_float("gpu_images_per_second", 300.0, "ASSUMED: training speed of one GPU.", 1e-3, flag_values=values)
    flags.DEFINE_float("network_gbit", 100.0, "ASSUMED: network speed of a node, Gbit/s.", 1e-3, flag_values=values)
    flags.DEFINE_string("json", None, "File to write the numbers to.", flag_values=values)


def main(arguments: list[str]) -> None:
    """Runs the command."""
    if arguments:
        raise UserError(f"unknown argument {arguments[0]!r}; flags are written --name=value")
    dataset = open_dataset(FLAGS.dataset)
    if dataset.image_size is None:
        raise UserError(f"data set {dataset.spec} has no images to decode; name one with images")
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
        atomic.write_json(FLAGS.json, settings | vars(measured) | vars(machines) | bounds)


def _print(values: dict) -> None:
    for name, value in values.items():
        print(f"  {name:44s} {value:18,.3f}".rstrip("0").rstrip("."))


if __name__ == "__main__":
    define_flags()
    command.run(main)
