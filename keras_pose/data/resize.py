"""The command `python -m keras_pose.data.resize`: resizes the images of a data set.

    python -m keras_pose.data.resize --input=embedded --image_size=256 --output=embedded_256

2D labels and cameras are scaled too; splits, names and 3D stay the same. Training and evaluation resize images while
reading them; this command saves that work, and brings data sets to one size so that they can be mixed.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from absl import flags

import keras_pose
from keras_pose.core import command, geometry
from keras_pose.core.errors import UserError
from keras_pose.core.progress import progress
from keras_pose.data import shards
from keras_pose.data.dataset import DatasetInfo, open_dataset
from keras_pose.data.example import PoseExample, encode_jpeg
from keras_pose.data.pipeline import read_examples
from keras_pose.data.prepare import parse_image_size

FLAGS = flags.FLAGS
SHARD_SIZE = 1000


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("input", None, "Data set: embedded, or a folder with manifest.json.", flag_values=values)
    flags.DEFINE_string("output", None, "Folder for the resized data set: new or empty.", flag_values=values)
    flags.DEFINE_string("image_size", "256", "Size in pixels: one number, or HEIGHTxWIDTH.", flag_values=values)
    flags.DEFINE_integer(
        "limit", None, "Keep only this many examples per split, from its start.", lower_bound=1, flag_values=values
    )


def main(arguments: list[str], values: flags.FlagValues = FLAGS) -> None:
    """Runs the command."""
    if arguments or not (values.input and values.output):
        raise UserError("give the data set with --input=FOLDER, the new folder with --output=FOLDER and nothing else")
    manifest = resize(
        open_dataset(values.input), Path(values.output), parse_image_size(values.image_size), values.limit
    )
    counts = ", ".join(f"{split} {manifest.count(split)}" for split in manifest.splits)
    print(f"{values.output}: {counts}")


def resize(data: DatasetInfo, output: Path, image_size: tuple[int, int], limit: int | None = None) -> shards.Manifest:
    """Writes the data set at (height, width) to a folder; `limit` keeps only that many first examples per split.

    Raises UserError for poses without images, another aspect ratio, or a folder that is not empty.
    """
    old, (height, width) = data.image_size, image_size
    if old is None:
        raise UserError(f"data set {data.spec} holds poses without images, which have no size; train on it as it is")
    if old[0] * width != old[1] * height:
        raise UserError(
            f"data set {data.spec} has images of {old[0]}x{old[1]}, which {height}x{width} would stretch; "
            "keep height : width"
        )
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UserError(f"{output} already exists; choose a new folder, or remove it")
    splits = {}
    manifests = [manifest for _, manifest in data.folders]
    for split in [name for name in shards.SPLITS if any(name in manifest.splits for manifest in manifests)]:
        count = min(limit or data.count(split), data.count(split))
        examples = progress(islice(read_examples(data, split), count), count, "pictures", description=split)
        splits[split] = tuple(_write(output, split, (resize_example(e, image_size) for e in examples), count))
    first = manifests[0]
    licences = tuple({str(entry): entry for manifest in manifests for entry in manifest.licences}.values())
    generator = {"name": "keras_pose.data.resize", "version": keras_pose.__version__, "of": data.manifest_hash}
    manifest = shards.Manifest(first.name, first.skeleton, image_size, splits, generator, licences)
    shards.write_manifest(output, manifest)
    return manifest


def _write(output: Path, split: str, examples: Iterator[PoseExample], count: int) -> Iterator[shards.ShardEntry]:
    total = -(-count // SHARD_SIZE)
    for i in range(total):
        yield shards.write_shard(output / shards.shard_name(split, i, total), islice(examples, SHARD_SIZE))


def resize_example(example: PoseExample, image_size: tuple[int, int]) -> PoseExample:
    """The example with its image, 2D joints and camera at (height, width)."""
    height, width = example.image_size
    affine = geometry.crop_affine(np.array([width / 2, height / 2]), (height, width), image_size)
    moved = geometry.apply_affine(affine, example.keypoints_2d_px)
    return replace(
        example,
        image_jpeg=encode_jpeg(geometry.warp_image(example.decode_image(), affine, image_size)),
        image_size=image_size,
        keypoints_2d_px=np.where(example.keypoint_valid[:, None], moved, 0),
        intrinsics=geometry.crop_intrinsics(example.intrinsics, affine) if example.has_pose_3d else example.intrinsics,
    )


if __name__ == "__main__":
    define_flags()
    command.run(main)
