"""One writer a folder: a lock that dies with its process, however that ends."""

import contextlib
import errno
import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from keras_pose.core.errors import UserError
from keras_pose.io.atomic import cannot_write

LOCK = "writer.lock"
_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


@contextlib.contextmanager
def locked(directory: str | os.PathLike) -> Iterator[None]:
    """Keeps other processes from writing into a folder, which is made where it is missing, while the block runs.

    The lock is the system's, on the file `writer.lock`, which also tells who holds it. What a killed process leaves of
    it does not count. On file systems without locks it warns and goes on.

    Raises UserError where another process holds it, and where the folder cannot be written.
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
            print(f"{directory} is on a file system without locks: start no second run there", file=sys.stderr)
        _tell_owner(file)
        yield


def _tell_owner(file) -> None:
    with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
