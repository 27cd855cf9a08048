"""Picture files to pixels. How large a picture is, its header tells: too small or too large ones are never decoded."""

import os
import struct
from pathlib import Path

import cv2
import numpy as np

from keras_pose.core.errors import UserError

SMALLEST_SIDE = 8  # pixels; in less nobody can be told from a stain
LARGEST_PIXELS = 1 << 26  # 67 megapixels, 200 MB decoded; phones' sensors have up to 64
LARGEST_SIDE = 32766  # cv2.warpAffine counts the source's rows and columns in 16 bits
LARGEST_FILE = 1 << 29  # bytes; what decodes to 200 MB needs no more
FORMATS = "JPEG, PNG, BMP or WebP"

_JPEG_STANDALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def check_size(size: tuple[int, int], name: str | os.PathLike) -> None:
    """Raises UserError that names the picture where (height, width) are too small or too large to work on."""
    height, width = size
    if min(height, width) < SMALLEST_SIDE:
        raise UserError(
            f"{name} is {width} x {height} pixels, too small for a person; give pictures of at least "
            f"{SMALLEST_SIDE} x {SMALLEST_SIDE}"
        )
    if height * width > LARGEST_PIXELS or max(height, width) > LARGEST_SIDE:
        raise UserError(
            f"{name} is {width} x {height} pixels, more than {LARGEST_PIXELS / 1e6:.0f} megapixels or {LARGEST_SIDE} "
            "a side; make it smaller"
        )


def read(path: str | os.PathLike, turn: bool) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a picture file; `turn` turns it as its EXIF says. Raises UserError that names the file."""
    try:
        if os.stat(path).st_size > LARGEST_FILE:
            raise UserError(f"{path} has over {LARGEST_FILE >> 20} MiB, which no picture needs; save it as JPEG")
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return decode(content, path, turn)


def decode(content: bytes, name: str | os.PathLike, turn: bool) -> np.ndarray:
    """As `read`, of the bytes of a file; `name` stands in messages."""
    size = header_size(content)
    if size is None:
        raise UserError(f"{name} does not decode as a picture; it is damaged or no {FORMATS}")
    check_size(size, name)
    flags = cv2.IMREAD_COLOR if turn else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise UserError(f"{name} does not decode as a picture; it is damaged or no {FORMATS}")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def check_video(video: cv2.VideoCapture, name: str | os.PathLike) -> None:
    """As `check_size`, of the frames of an open video."""
    height, width = int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(video.get(cv2.CAP_PROP_FRAME_WIDTH))
    if height > 0 and width > 0:  # else it does not say
        check_size((height, width), f"a frame of {name}")


# --- headers ---------------------------------------------------------------------------------------------------


def header_size(content: bytes) -> tuple[int, int] | None:
    """(height, width) as the header of a JPEG, PNG, BMP or WebP says; None where it is none or cut short."""
    try:
        if content.startswith(b"\xff\xd8"):
            return jpeg_size(content)
        if content.startswith(b"\x89PNG\r\n\x1a\n") and content[12:16] == b"IHDR":
            return struct.unpack_from(">II", content, 16)[::-1]
        if content.startswith(b"BM"):
            return _bmp_size(content)
        if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
            return _webp_size(content)
    except struct.error:
        pass
    return None


def jpeg_size(content: bytes) -> tuple[int, int] | None:
    """(height, width) by the frame header; None where there is none."""
    place = 2 if content.startswith(b"\xff\xd8") else len(content)
    while True:
        place = content.find(b"\xff", place)  # decoders skip what stands between segments, too
        while place >= 0 and content[place : place + 1] == b"\xff":
            place += 1
        if place < 0 or place + 8 > len(content):
            return None
        marker = content[place]
        place += 1
        if marker in _JPEG_FRAMES:
            return struct.unpack_from(">HH", content, place + 3)
        if marker and marker not in _JPEG_STANDALONE:
            place += max(2, struct.unpack_from(">H", content, place)[0])


def _bmp_size(content: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", content, 14)[0] == 12:
        width, height = struct.unpack_from("<HH", content, 18)
    else:
        width, height = struct.unpack_from("<ii", content, 18)
    return abs(height), abs(width)


def _webp_size(content: bytes) -> tuple[int, int] | None:
    kind = content[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return height & 0x3FFF, width & 0x3FFF
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", content, 21)[0]
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8X":
        low = struct.unpack_from("<IHBHB", content + b"\0", 20)
        return (low[3] | low[4] << 16) + 1, (low[1] | low[2] << 16) + 1
    return None
