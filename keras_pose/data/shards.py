"""Shards: PoseExamples in TFRecord files, and the manifest that describes a folder of them.

A data set is a folder with `manifest.json` and `<split>-00000-of-00012.tfrecord` files. This module writes and checks
them without TensorFlow, so worker processes start fast; `pipeline.py` reads them. A shard gets its name only when it is
complete. Its entry is stored beside it as `<shard>.json` until the manifest contains all entries, so an interrupted job
knows which shards are finished.
"""

import concurrent.futures
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton, register_skeleton
from keras_pose.data import files, records
from keras_pose.data.example import PoseExample
from keras_pose.io.atomic import write_atomically, write_json

# Format 1 has 3D labels only for whole poses: `has_pose_3d` in records, a single `pose_count` in manifests.
FORMAT_VERSION = 2
READ_VERSIONS = (1, 2)
SPLITS = ("train", "validation", "test")
MANIFEST = "manifest.json"
PARALLEL_CHECKS = 16


@dataclass(frozen=True)
class ShardEntry:
    """The manifest's entry for one shard: `count` examples, `bytes` long; `sums` are the moments for the statistics."""

    file: str
    count: int
    bytes: int
    sha256: str
    sums: dict


@dataclass(frozen=True)
class Manifest:
    """The description of a data set folder.

    `splits` maps a split to its shard entries; `image_size` is (height, width), None for poses without images;
    `generator` has the name and version of the program that wrote the data, and how it was called; `licences` has
    `part`, `licence` and `source` of each part of the data.
    """

    name: str
    skeleton: Skeleton
    image_size: tuple[int, int] | None
    splits: dict[str, tuple[ShardEntry, ...]]
    generator: dict
    licences: tuple[dict, ...] = ()

    def count(self, split: str) -> int:
        """The number of examples in a split; raises UserError if it has no shards."""
        entries = self.splits.get(split, ())
        if not entries:
            present = ", ".join(name for name, shards in self.splits.items() if shards)
            raise UserError(f"data set {self.name} has no split {split!r}; it has {present}")
        return sum(entry.count for entry in entries)

    @property
    def statistics(self) -> dict:
        """Means and standard deviations over the training split; see `statistics`."""
        return statistics(self.splits.get("train", ()))

    def digest(self) -> str:
        """A hash of the names and hashes of all shards; data sets with the same digest contain the same bytes."""
        hashes = [f"{split}:{e.file}:{e.sha256}" for split in sorted(self.splits) for e in self.splits[split]]
        return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


# --- writing ---------------------------------------------------------------------------------------------------


def shard_name(split: str, index: int, count: int) -> str:
    """The file name of shard `index` of `count`."""
    return f"{split}-{index:05d}-of-{count:05d}.tfrecord"


def write_shard(path: str | os.PathLike, examples: Iterable[PoseExample]) -> ShardEntry:
    """Writes examples to one shard, completely or not at all, and its entry beside it; returns the entry.

    Raises UserError for an invalid example, or if the shard cannot be written.
    """
    path = Path(path)
    framed, moments = [], _Moments()
    for example in examples:
        moments.add(example.validate())
        framed.append(records.frame(records.serialize(example)))
    content = b"".join(framed)
    write_atomically(path, content)
    entry = ShardEntry(path.name, len(framed), len(content), hashlib.sha256(content).hexdigest(), moments.sums)
    write_json(_entry_path(path), asdict(entry))
    return entry


def finished_shard(path: str | os.PathLike) -> ShardEntry | None:
    """The entry of a shard that an earlier job finished; None if the shard is missing or damaged."""
    path = Path(path)
    try:
        entry = ShardEntry(**json.loads(_entry_path(path).read_text()))
        return entry if path.stat().st_size == entry.bytes and files.sha256(path) == entry.sha256 else None
    except (OSError, ValueError, TypeError):
        return None


def write_manifest(directory: str | os.PathLike, manifest: Manifest) -> None:
    """Writes the manifest, then removes the entries beside the shards."""
    directory = Path(directory)
    values = {
        "format_version": FORMAT_VERSION,
        "name": manifest.name,
        "skeleton": manifest.skeleton.to_dict(),
        "image_size": list(manifest.image_size) if manifest.image_size else None,
        "counts": {split: sum(e.count for e in entries) for split, entries in manifest.splits.items()},
        "splits": {split: [asdict(entry) for entry in entries] for split, entries in manifest.splits.items()},
        "statistics": manifest.statistics,
        "generator": manifest.generator,
        "licences": list(manifest.licences),
    }
    write_json(directory / MANIFEST, values)
    for entries in manifest.splits.values():
        for entry in entries:
            _entry_path(directory / entry.file).unlink(missing_ok=True)


def _entry_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


# --- reading and checking --------------------------------------------------------------------------------------


def read_manifest(directory: str | os.PathLike) -> Manifest:
    """Reads `manifest.json` and registers its skeleton.

    Raises UserError if the file is missing, broken or of an unknown format, or if a different skeleton has the name.
    """
    path = files.join(directory, MANIFEST)
    if files.size(path) is None:
        raise UserError(f"{directory} holds no {MANIFEST}; name a folder that prepare or synthetic has finished")
    try:
        values = json.loads(files.read(path).decode())
        if values["format_version"] not in READ_VERSIONS:
            raise UserError(
                f"{path} has format {values['format_version']}, this version reads 1 and {FORMAT_VERSION}; "
                "prepare the data again"
            )
        return Manifest(
            name=values["name"],
            skeleton=register_skeleton(Skeleton.from_dict(values["skeleton"])),
            image_size=tuple(values["image_size"]) if values["image_size"] else None,
            splits={split: tuple(ShardEntry(**e) for e in entries) for split, entries in values["splits"].items()},
            generator=values["generator"],
            licences=tuple(values["licences"]),
        )
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({error!r}); prepare the data set again") from error


def check_shards(directory: str | os.PathLike, manifest: Manifest, checksums: bool) -> None:
    """Raises UserError that names the first shard that is missing, of another size or, with `checksums`, altered."""
    entries = [entry for entries in manifest.splits.values() for entry in entries]
    with concurrent.futures.ThreadPoolExecutor(PARALLEL_CHECKS) as pool:  # remote files answer slowly
        for problem in pool.map(lambda entry: _problem(files.join(directory, entry.file), entry, checksums), entries):
            if problem:
                pool.shutdown(cancel_futures=True)
                raise UserError(f"shard {problem}")


def _problem(path: str, entry: ShardEntry, checksum: bool) -> str:
    size = files.size(path)
    if size is None:
        return f"{path} is missing; prepare the data set again into a new folder"
    if size != entry.bytes:
        return f"{path} has {size} bytes, not {entry.bytes}; copy or prepare it again"
    if checksum and files.sha256(path) != entry.sha256:
        return f"{path} was altered (its SHA-256 differs); copy or prepare it again"
    return ""


# --- statistics ------------------------------------------------------------------------------------------------


class _Moments:
    """Counts, sums and sums of squares of labeled 2D and 3D joints, as lists for JSON."""

    def __init__(self):
        self.sums: dict = {}

    def add(self, example: PoseExample) -> None:
        keypoints = geometry.normalize_keypoints(example.keypoints_2d_px, example.image_size).astype(np.float64)
        valid = example.keypoint_valid.astype(np.float64)[:, None]
        pose = example.pose_3d_mm.astype(np.float64)
        pose_valid = example.pose_3d_valid.astype(np.float64)[:, None]
        terms = {
            "keypoint_count": valid[:, 0],
            "keypoint_sum": keypoints * valid,
            "keypoint_square": keypoints**2 * valid,
            "pose_count": pose_valid[:, 0],
            "pose_sum": pose * pose_valid,
            "pose_square": pose**2 * pose_valid,
        }
        for name, term in terms.items():
            self.sums[name] = (np.asarray(self.sums.get(name, 0.0)) + term).tolist()


def pose_counts(entries: Iterable[ShardEntry]) -> np.ndarray:
    """(J,) number of 3D labels per joint; zero, of shape (), without examples.

    Entries of format 1 have one number instead, that of the whole poses.
    """
    counts = [np.broadcast_to(e.sums["pose_count"], len(e.sums["pose_sum"])) for e in entries if e.count]
    return np.sum(counts, axis=0)


def statistics(entries: Iterable[ShardEntry]) -> dict:
    """Means and standard deviations of the labeled joints in shards, as lists; {} without examples.

    The keys are `keypoints_2d_mean` and `keypoints_2d_std` (J, 2), in [0, 1] of the crop, `pose_3d_mean` and
    `pose_3d_std` (J, 3), in mm.
    """
    entries, totals = list(entries), {}
    for entry in entries:
        for name, value in entry.sums.items():
            totals[name] = totals.get(name, 0.0) + np.asarray(value)
    if not totals:
        return {}
    result = {}
    counts = {"keypoint": totals["keypoint_count"], "pose": pose_counts(entries)}
    for key, name in (("keypoint", "keypoints_2d"), ("pose", "pose_3d")):
        count = np.maximum(counts[key], 1.0)[:, None]
        mean = totals[f"{key}_sum"] / count
        variance = np.maximum(totals[f"{key}_square"] / count - mean**2, 0.0)
        result[f"{name}_mean"] = np.round(mean, 6).tolist()
        result[f"{name}_std"] = np.round(np.sqrt(variance), 6).tolist()
    return result
