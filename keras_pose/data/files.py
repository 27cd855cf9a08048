"""Reads the files of data sets: local ones with plain Python, `gs://...` and similar with `tf.io.gfile`.

It imports TensorFlow only for remote files, so processes that write shards start fast.
"""

import contextlib
import glob as local_glob
import hashlib
import os
from collections.abc import Iterator

from keras_pose.core.errors import UserError

WILDCARDS = frozenset("*?[")
CHUNK_BYTES = 1 << 24


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path has the form `scheme://...`, which needs `tf.io.gfile`."""
    return "://" in str(path)


def is_pattern(path: str | os.PathLike) -> bool:
    return not WILDCARDS.isdisjoint(str(path))


def join(directory: str | os.PathLike, name: str) -> str:
    return f"{str(directory).rstrip('/')}/{name}"


def size(path: str | os.PathLike) -> int | None:
    """The size of a file in bytes; None if it does not exist."""
    if not is_remote(path):
        return os.stat(path).st_size if os.path.isfile(path) else None
    with _remote(path) as gfile:
        return gfile.stat(str(path)).length if gfile.exists(str(path)) else None


def read(path: str | os.PathLike) -> bytes:
    """The content of a file; raises UserError if it cannot be read."""
    return b"".join(_chunks(path))


def start(path: str | os.PathLike) -> bytes:
    """The first bytes of a file, at most `CHUNK_BYTES`; raises UserError if they cannot be read."""
    return next(_chunks(path), b"")


def sha256(path: str | os.PathLike) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def matching(pattern: str) -> list[str]:
    """The matching paths, sorted; `*`, `?` and `[...]` match within a name."""
    if not is_remote(pattern):
        return sorted(local_glob.glob(pattern))
    with _remote(pattern) as gfile:
        return sorted(path.rstrip("/") for path in gfile.glob(pattern))


def _chunks(path: str | os.PathLike) -> Iterator[bytes]:
    if is_remote(path):
        with _remote(path) as gfile, gfile.GFile(str(path), "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
        return
    try:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the path and its permissions") from error


@contextlib.contextmanager
def _remote(path) -> Iterator:
    """`tf.io.gfile`, with its errors as one-line UserErrors."""
    import tensorflow as tf

    try:
        yield tf.io.gfile
    except tf.errors.OpError as error:
        reason = str(error.message).splitlines()[0]
        raise UserError(f"cannot read {path}: {reason}; check the address, and that TensorFlow may open it") from error
