"""An open data set: its parts, skeleton, size and statistics."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import tensorflow as tf

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton
from keras_pose.data import audit, files, records, shards
from keras_pose.data.locate import locate

# Smaller local data sets are verified by checksum whenever they are opened, which takes about a second.
ALWAYS_VERIFIED_BYTES = 1 << 30
READ_ERRORS = (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.FailedPreconditionError,  # fewer records than in the manifest
    UnicodeDecodeError,  # TensorFlow's message quotes the bytes of a broken record
)


@dataclass(frozen=True)
class Part:
    """One data set of a mix, and its weight."""

    directory: str
    manifest: shards.Manifest
    weight: float


@dataclass(frozen=True)
class DatasetInfo:
    """The result of `open_dataset`. A mix has several `parts`, which share skeleton and size.

    Images are read in the size they are stored in, in the size `resized` (see `at_size`), or not at all (see
    `without_pictures`).
    """

    spec: str
    parts: tuple[Part, ...]
    resized: tuple[int, int] | None = None
    has_pictures: bool = True

    @property
    def skeleton(self) -> Skeleton:
        return self.parts[0].manifest.skeleton

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) of the images; None for poses without images."""
        return (self.resized or self.parts[0].manifest.image_size) if self.has_pictures else None

    @cached_property
    def crop_size(self) -> tuple[int, int]:
        """(height, width) of the stored crops; for poses without images, that of the first example."""
        manifest = self.parts[0].manifest
        if manifest.image_size:
            return manifest.image_size
        names = [entry.file for entries in manifest.splits.values() for entry in entries]
        if not names:
            raise UserError(f"data set {self.spec} has no examples; prepare it again into a new folder")
        try:  # without a TensorFlow operation: in distributed training, workers must connect before the first one
            record = records.first_record(files.start(files.join(self.parts[0].directory, names[0])))
            height, width = tf.train.Example.FromString(record).features.feature["image_size"].int64_list.value
        except Exception:  # a broken record may raise almost anything
            audit.name_fault(self.folders)
            raise
        return height, width

    def at_size(self, image_size: tuple[int, int]) -> "DatasetInfo":
        """The same data with images of (height, width), resized as they are read.

        Raises UserError if the aspect ratio differs from that of the stored images, or if there are no images.
        """
        stored = self.parts[0].manifest.image_size
        if not stored or stored[0] * image_size[1] != stored[1] * image_size[0]:
            have = "images of {}x{}".format(*stored) if stored else "no images"
            raise UserError(
                f"data set {self.spec} has {have}, the model sees {image_size[0]}x{image_size[1]}; "
                "prepare the data in that shape, or leave --input_size out"
            )
        return replace(self, resized=None if image_size == stored else tuple(image_size))

    def without_pictures(self) -> "DatasetInfo":
        """The same examples without reading their images, for models that learn only from joints."""
        return replace(self, has_pictures=False)

    @cached_property
    def statistics(self) -> dict:
        """Means and standard deviations over the training splits of all parts; see `shards.statistics`."""
        entries = [entry for part in self.parts for entry in part.manifest.splits.get("train", ())]
        if not entries:
            raise UserError(f"data set {self.spec} has no training split to compute statistics from")
        return shards.statistics(entries)

    @property
    def folders(self) -> list[tuple[str, shards.Manifest]]:
        """Folder and manifest of each part."""
        return [(part.directory, part.manifest) for part in self.parts]

    @property
    def manifest_hash(self) -> str:
        """Hashes that identify the exact bytes of the data, one per part."""
        return "+".join(part.manifest.digest()[:16] for part in self.parts)

    def count(self, split: str) -> int:
        """The number of examples in a split, over all parts; raises UserError if no part has the split."""
        return sum(part.manifest.count(split) for part in self.parts_with(split))

    def label_counts(self, split: str) -> tuple[float, float]:
        """The numbers of labeled 2D joints and of examples with a (possibly partial) 3D pose in a split."""
        keypoints = sum(sum(entry.sums["keypoint_count"]) for entry in self._entries(split))
        return keypoints, float(self.pose_counts(split).max(initial=0))  # the root has 3D whenever any joint has

    def pose_counts(self, split: str) -> np.ndarray:
        """(J,) number of 3D labels per joint in a split, over all parts."""
        return shards.pose_counts(self._entries(split))

    def _entries(self, split: str) -> list[shards.ShardEntry]:
        entries = [entry for part in self.parts_with(split) for entry in part.manifest.splits.get(split, ())]
        return [entry for entry in entries if entry.count]

    def parts_with(self, split: str) -> tuple[Part, ...]:
        """The parts that have the split (photos often have only a training split), or all parts if none has it."""
        return tuple(part for part in self.parts if part.manifest.splits.get(split)) or self.parts


def open_dataset(spec: str, verify: bool = False) -> DatasetInfo:
    """Opens `spec`: anything that `locate` accepts (a folder, a pattern), or a weighted mix like `a:0.7,b:0.3`.

    Checks that every shard exists and has the right size; for local data under 1 GiB, or with `verify`, also its
    checksum. Raises UserError for a missing folder, a broken shard, or parts with different skeletons or sizes.
    """
    parts = tuple(_open_part(word, verify) for word in spec.split(",") if word)
    if not parts:
        raise UserError("the data set's name is empty; name a folder, or embedded")
    first = parts[0].manifest
    for part in parts[1:]:
        if part.manifest.skeleton != first.skeleton or part.manifest.image_size != first.image_size:
            raise UserError(
                f"{part.directory} has {part.manifest.skeleton.name} at {part.manifest.image_size}, "
                f"{parts[0].directory} has {first.skeleton.name} at {first.image_size}; prepare both alike to mix them"
            )
    return DatasetInfo(spec, parts)


def _open_part(word: str, verify: bool) -> Part:
    name, _, weight_text = word.rpartition(":") if _is_weight(word.rpartition(":")[2]) else (word, "", "1")
    directory, manifest = locate(name)
    small = sum(entry.bytes for entries in manifest.splits.values() for entry in entries) < ALWAYS_VERIFIED_BYTES
    shards.check_shards(directory, manifest, checksums=verify or (small and not files.is_remote(directory)))
    return Part(directory, manifest, float(weight_text))


def _is_weight(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return float(text) > 0
    return False


@contextlib.contextmanager
def naming_broken_shards(info: DatasetInfo, when: Callable[[], str] = str) -> Iterator[None]:
    """Turns TensorFlow's read errors inside the block into a UserError that names the broken shard and record.

    The message begins with the result of `when`. If no shard is broken, the original error is raised.
    """
    try:
        yield
    except READ_ERRORS as error:
        try:
            audit.name_fault(info.folders)
        except UserError as fault:
            raise UserError(f"{when()}{fault}") from error
        raise error
