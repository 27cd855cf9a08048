"""Files that are written whole or not at all."""

import contextlib
import json
import os
from pathlib import Path

from keras_pose.core.errors import UserError


def write_json(path: str | os.PathLike, values) -> None:
    """Writes `values` as indented JSON, whole or not at all."""
    write_atomically(path, (json.dumps(values, indent=2) + "\n").encode())


def write_atomically(path: str | os.PathLike, content: bytes) -> None:
    """Writes `content` under a temporary name beside `path` and onto the disk, then renames it.

    Raises UserError where the disk is full or the folder cannot be written.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the new name with nothing in it
        os.replace(partial, path)
    except OSError as error:
        discard(partial)
        raise cannot_write(path, error) from error


def discard(path: Path) -> None:
    """Removes what was half written, where that can be done."""
    with contextlib.suppress(OSError):
        path.unlink()


def cannot_write(path: str | os.PathLike, error: Exception) -> UserError:
    """The error for a file that could not be written: a full disk, a read-only folder, a file in the folder's place."""
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:160]
    return UserError(f"cannot write {path}: {reason}; free space or choose another folder")
