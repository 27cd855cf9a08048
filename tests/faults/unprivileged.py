"""Folders that cannot be written, even by root, who may write anywhere."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

NOBODY = 65534


@contextlib.contextmanager
def read_only_folder() -> Iterator[Path]:
    """A folder without permission to write, while this process has the rights of nobody."""
    folder = Path(tempfile.mkdtemp(prefix="read_only_"))
    folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if user == 0:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)
