"""What is wrong with the shards of a data set: found once something has gone wrong, and told by file and record."""

import concurrent.futures
import os
from collections.abc import Iterable, Iterator

import tensorflow as tf

from keras_pose.core.errors import UserError
from keras_pose.data import files, shards
from keras_pose.data.parsing import parse_example, to_example
from keras_pose.data.shards import Manifest, ShardEntry

MEND = "mend it where it was made, or leave that shard out"


def name_fault(folders: Iterable[tuple[str, Manifest]]) -> None:
    """Raises UserError that names the first shard that is not what its manifest says, or holds a bad example.

    It reads everything: checksums, and every label and image.
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
        except (tf.errors.OpError, UnicodeDecodeError) as error:  # TensorFlow quotes a record's bytes
            reason = " ".join(str(getattr(error, "message", "its bytes are none")).split())[:160]
            raise UserError(f"{where} is no example of {manifest.skeleton.name} ({reason}); {MEND}") from error
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
    """Notices shards that change under a run that reads them.

    What the file system says of each file is compared, whether later or earlier; where it differs, the bytes are.
    """

    def __init__(self, folders: Iterable[tuple[str, Manifest]]):
        self._folders = list(folders)
        self._known = dict(self._fingerprints())

    def check(self) -> None:
        """Raises UserError that names a shard which is another than when the watch, or the last check, began."""
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
    """What changes with a file's bytes: for local ones also its number, and times to the nanosecond."""
    if files.is_remote(path):
        return (files.size(path),)
    try:
        state = os.stat(path)
    except OSError:
        return ()
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
