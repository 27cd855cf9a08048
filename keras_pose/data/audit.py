"""Finds faults in the shards of a data set, and reports them by file and record."""

import concurrent.futures
import os
from collections.abc import Iterable, Iterator

import tensorflow as tf

from keras_pose.core.errors import UserError
from keras_pose.data import files, shards
from keras_pose.data.parsing import parse_example, to_example
from keras_pose.data.shards import Manifest, ShardEntry

MEND = "fix it where it was made, or leave that shard out"


def name_fault(folders: Iterable[tuple[str, Manifest]]) -> None:
    """Raises UserError that names the first shard that differs from its manifest or holds a bad example.

    Reads everything (checksums, labels and images), so it is called only after a failure. Returns if it finds no fault.
    """
    folders = list(folders)
    for directory, manifest in folders:
        shards.check_shards(directory, manifest, checksums=True)
    for directory, manifest in folders:
        for entries in manifest.splits.values():
            for entry in entries:
                _check_shard(files.join(directory, entry.file), entry, manifest)


def _check_shard(path: str, entry: ShardEntry, manifest: Manifest) -> None:
    records, count = iter(tf.data.TFRecordDataset(path)), 0
    while True:
        where = f"shard {path}, record {count}"
        try:
            record = next(records, None)
            if record is None:
                break
            fields = parse_example(record, manifest.skeleton.num_joints)
        except (tf.errors.OpError, UnicodeDecodeError) as error:  # TensorFlow quotes the record's bytes
            reason = " ".join(str(getattr(error, "message", "its bytes are none")).split())[:160]
            raise UserError(f"{where} is not an example of {manifest.skeleton.name} ({reason}); {MEND}") from error
        _check_example({name: value.numpy() for name, value in fields.items()}, manifest, where)
        count += 1
    if count != entry.count:
        raise UserError(f"shard {path} holds {count} examples, its manifest says {entry.count}; prepare it again")


def _check_example(fields: dict, manifest: Manifest, where: str) -> None:
    example = to_example(fields)
    try:
        example.validate()
        if manifest.image_size and example.image_size != manifest.image_size:
            raise UserError(f"its image is {example.image_size}, the data set's are {manifest.image_size}")
        if manifest.image_size:
            example.decode_image()
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


# --- changes while a run reads ---------------------------------------------------------------------------------


class ShardWatch:
    """Detects shards that change while a run reads them.

    It compares each file's size, times and inode (remote files: the size) with earlier ones; only if they differ, it
    computes the checksum.
    """

    def __init__(self, folders: Iterable[tuple[str, Manifest]]):
        self._folders = list(folders)
        self._known = dict(self._fingerprints())

    def check(self) -> None:
        """Raises UserError that names a shard whose content is no longer that of the manifest."""
        for path, found in self._fingerprints():
            if found != self._known[path]:
                directory, entry = self._places[path]
                one = shards.Manifest("", None, None, {"": (entry,)}, {})
                shards.check_shards(directory, one, checksums=True)
                self._known[path] = found

    @property
    def _places(self) -> dict[str, tuple[str, ShardEntry]]:
        return {
            files.join(directory, entry.file): (directory, entry)
            for directory, manifest in self._folders
            for entries in manifest.splits.values()
            for entry in entries
        }

    def _fingerprints(self) -> Iterator[tuple[str, tuple]]:
        paths = list(self._places)
        with concurrent.futures.ThreadPoolExecutor(shards.PARALLEL_CHECKS) as pool:
            yield from zip(paths, pool.map(_fingerprint, paths), strict=True)


def _fingerprint(path: str) -> tuple:
    """Values that change with a file's content: the size; for local files also the inode, and times in nanoseconds."""
    if files.is_remote(path):
        return (files.size(path),)
    try:
        state = os.stat(path)
    except OSError:
        return ()
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
