"""One writer per folder: a lock that ends with its process, however that ends."""

import contextlib
import errno
import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from keras_pose.core.errors import UserError
from keras_pose.io.atomic import cannot_write

LOCK = "writer.lock"
_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


@contextlib.contextmanager
def locked(directory: str | os.PathLike) -> Iterator[None]:
    """Keeps other processes from writing to a folder while the block runs. Creates the folder if needed.

    The lock is the system's, on the file `writer.lock`, which also names its owner. A file left by a killed process
    does not lock anything. On file systems without locks, a warning is printed and the block runs anyway.

    Raises UserError if another process holds the lock, or the folder is not writable.
    """
    path = Path(directory) / LOCK
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+")
    except OSError as error:
        raise cannot_write(path, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UserError(
                f"{directory} is being written by {file.read().strip() or 'another process'}; "
                "wait for it, stop it, or choose another --output"
            ) from None
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise cannot_write(path, error) from error
            print(f"warning: no file locks on {directory}; do not start a second run there", file=sys.stderr)
        _tell_owner(file)
        yield


def _tell_owner(file: IO[str]) -> None:
    with contextlib.suppress(OSError):  # the lock holds even on a full disk
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
