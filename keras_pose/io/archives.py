"""Zip archives that others made (.npz, .keras, .tflite's metadata, motion capture): what they unpack to is bounded."""

import os
import zipfile

from keras_pose.core.errors import UserError

LARGEST_UNPACKED = 1 << 33  # bytes of a whole archive
ALWAYS_TAKEN = 1 << 26  # a part as small as this may be packed as tightly as it likes
MOST_PACKED = 100  # times: text and numbers pack to a tenth or so, a bomb to a thousandth


def check_archive(archive: zipfile.ZipFile, name: str | os.PathLike, largest: int = LARGEST_UNPACKED) -> None:
    """Raises UserError, before anything is unpacked, for an archive that would unpack to absurdly much."""
    parts = archive.infolist()
    bomb = next((p for p in parts if p.file_size > max(ALWAYS_TAKEN, MOST_PACKED * p.compress_size)), None)
    if bomb or sum(part.file_size for part in parts) > largest:
        raise UserError(
            f"{name} would unpack to {sum(part.file_size for part in parts) / 1e6:.0f} MB, far more than it holds; "
            "do not trust it"
        )
