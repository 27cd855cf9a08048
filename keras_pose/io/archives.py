"""Limits what foreign zip archives (.npz, .keras, .tflite metadata, motion capture) may unpack to."""

import os
import zipfile

from keras_pose.core.errors import UserError

LARGEST_UNPACKED = 1 << 33  # bytes of a whole archive
ALWAYS_TAKEN = 1 << 26  # parts up to this size may have any compression ratio
MOST_PACKED = 100  # compression ratio: text and numbers reach about 10, a zip bomb 1,000


def check_archive(archive: zipfile.ZipFile, name: str | os.PathLike, largest: int = LARGEST_UNPACKED) -> None:
    """Raises UserError if an archive would unpack to an absurd size; reads only its directory, unpacks nothing."""
    parts = archive.infolist()
    bomb = next((p for p in parts if p.file_size > max(ALWAYS_TAKEN, MOST_PACKED * p.compress_size)), None)
    if bomb or sum(part.file_size for part in parts) > largest:
        raise UserError(
            f"{name} would unpack to {sum(part.file_size for part in parts) / 1e6:.0f} MB, far more than it holds; "
            "do not trust it"
        )
