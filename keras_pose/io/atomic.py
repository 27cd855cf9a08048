"""Writes files completely or not at all."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_pose.core.errors import UserError


def write_json(path: str | os.PathLike, values: Any) -> None:
    """Writes `values` as indented JSON, completely or not at all."""
    write_atomically(path, (json.dumps(values, indent=2) + "\n").encode())


def write_atomically(path: str | os.PathLike, content: bytes) -> None:
    """Writes `content` to disk under a temporary name beside `path`, then renames it.

    Raises UserError if the disk is full or the folder is not writable.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # otherwise a power cut may leave an empty file under the new name
        os.replace(partial, path)
    except OSError as error:
        discard(partial)
        raise cannot_write(path, error) from error


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary name beside `path`, for libraries that write files by name; renames it after the block.

    The temporary name has the suffix of `path`, by which libraries choose the format. The folder is created. If the
    block fails, `path` stays as it was and the temporary file is removed. Raises UserError if the disk is full or the
    folder is not writable.
    """
    path = Path(path)
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        discard(partial)


def discard(path: Path) -> None:
    """Removes a partial file if possible."""
    with contextlib.suppress(OSError):
        path.unlink()


def cannot_write(path: str | os.PathLike, error: Exception) -> UserError:
    """The error for a file that cannot be written: a full disk, a read-only folder, or a file instead of a folder."""
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:160]
    return UserError(f"cannot write {path}: {reason}; free space or choose another folder")
