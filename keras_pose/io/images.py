"""Image files to pixels. Sizes are read from the header first: images that are too small or too large are not decoded.

OpenCV decodes JPEG, PNG, BMP and WebP, for speed. Pillow decodes all others (HEIC with pillow-heif) and all with alpha.
"""

import io
import os
import struct
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from keras_pose.core.errors import UserError

SMALLEST_SIDE = 8  # pixels; a person is not recognizable in fewer
LARGEST_PIXELS = 1 << 26  # 67 megapixels, 200 MB decoded; enough for 64-megapixel cameras
LARGEST_SIDE = 32766  # cv2.warpAffine indexes the source's rows and columns with 16 bits
LARGEST_FILE = 1 << 29  # bytes; enough for anything that decodes to 200 MB
FORMATS = "JPEG, PNG, WebP, HEIC, AVIF, TIFF, GIF or BMP"
# What Pillow may decode. Its other formats are left out; decoding EPS, for example, starts another program.
_PILLOW_FORMATS = ("PNG", "WEBP", "HEIF", "AVIF", "TIFF", "GIF", "JPEG2000", "PPM", "PSD", "SGI", "PCX", "DDS", "QOI")
# File endings of images; `keras_pose.io.media` recognizes all other files.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".heic", ".heif", ".hif", ".avif", ".tif", ".tiff"),
    *(".jp2", ".ppm", ".pgm", ".pnm", ".psd"),
)

_JPEG_STANDALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def check_size(size: tuple[int, int], name: str | os.PathLike) -> None:
    """Raises UserError that names the image if (height, width) is too small or too large to process."""
    height, width = size
    if min(height, width) < SMALLEST_SIDE:
        raise UserError(
            f"{name} is {width} x {height} pixels, too small for a person; give images of at least "
            f"{SMALLEST_SIDE} x {SMALLEST_SIDE}"
        )
    if height * width > LARGEST_PIXELS or max(height, width) > LARGEST_SIDE:
        raise UserError(
            f"{name} is {width} x {height} pixels, over the limit of {LARGEST_PIXELS / 1e6:.0f} megapixels or "
            f"{LARGEST_SIDE} pixels per side; make it smaller"
        )


def read(path: str | os.PathLike, turn: bool) -> np.ndarray:
    """Reads an image file as (H, W, 3) uint8 RGB; `turn` applies its EXIF rotation. Raises UserError naming it."""
    try:
        if os.stat(path).st_size > LARGEST_FILE:
            raise UserError(f"{path} is larger than {LARGEST_FILE >> 20} MiB; save it as JPEG")
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return decode(content, path, turn)


def decode(content: bytes, name: str | os.PathLike, turn: bool) -> np.ndarray:
    """Like `read`, from the bytes of a file; a UserError names it `name`."""
    size = header_size(content)
    if size is None or _has_alpha(content):
        return _decode_by_pillow(content, name, turn)
    check_size(size, name)
    flags = cv2.IMREAD_COLOR if turn else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise UserError(f"{name} does not decode as an image; it is damaged or not {FORMATS}")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def check_video(video: cv2.VideoCapture, name: str | os.PathLike) -> None:
    """Like `check_size`, for the frames of an open video."""
    height, width = int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(video.get(cv2.CAP_PROP_FRAME_WIDTH))
    if height > 0 and width > 0:  # otherwise unknown
        check_size((height, width), f"a frame of {name}")


# --- Pillow ----------------------------------------------------------------------------------------------------


def _decode_by_pillow(content: bytes, name: str | os.PathLike, turn: bool) -> np.ndarray:
    """Like `decode`: the first frame of animations, 16 bits scaled to 8, alpha over white."""
    from PIL import Image, ImageOps

    has_heif = _register_heif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata, and sizes that `check_size` refuses
            with Image.open(io.BytesIO(content), formats=_PILLOW_FORMATS) as image:
                check_size(image.size[::-1], name)
                return _to_rgb(ImageOps.exif_transpose(image) if turn else image)
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise UserError(f"{name} has more than {LARGEST_PIXELS / 1e6:.0f} megapixels; make it smaller") from error
    except Exception as error:  # decoders raise almost anything on damaged files
        if not has_heif and content[4:8] == b"ftyp":
            raise UserError(f"{name} may be HEIC, which needs pillow-heif; run: pip install pillow-heif") from error
        raise UserError(f"{name} does not decode as an image; it is damaged or not {FORMATS}") from error


def _register_heif() -> bool:
    """Registers HEIC with Pillow; returns whether the library is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _to_rgb(image: Any) -> np.ndarray:
    """(H, W, 3) uint8 from a Pillow image of any mode."""
    if image.has_transparency_data:
        values = np.asarray(image.convert("RGBA")).astype(np.uint16)
        alpha = values[..., 3:]
        return ((values[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    if image.mode.startswith(("I", "F")):  # gray of 16 or 32 bits
        values = np.nan_to_num(np.asarray(image, np.float64))
        top = float(values.max(initial=0))
        largest = next((most for most in (1.0, 255.0, 65535.0) if top <= most), top)
        if image.mode.startswith("I"):
            largest = 65535.0 if image.mode != "I" or top > 255 else 255.0
            largest = max(largest, top)
        grey = np.clip(values / largest * 255 + 0.5, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    return np.array(image.convert("RGB"))


def _has_alpha(content: bytes) -> bool:
    """Whether a PNG or WebP may have transparent pixels."""
    if content.startswith(b"\x89PNG"):
        return content[25:26] in (b"\x04", b"\x06") or _has_png_chunk(content, b"tRNS")
    if content.startswith(b"RIFF"):
        kind = content[12:16]
        return (kind == b"VP8X" and bool(content[20] & 0x10)) or (kind == b"VP8L" and bool(content[24] & 0x10))
    return False


def _has_png_chunk(content: bytes, kind: bytes) -> bool:
    """Whether a PNG has such a chunk before its pixels."""
    start = 8  # after the signature, each chunk is length, kind, data and checksum
    while (found := content[start + 4 : start + 8]) not in (kind, b"IDAT", b""):
        start += 12 + int.from_bytes(content[start : start + 4], "big")
    return found == kind


# --- headers ---------------------------------------------------------------------------------------------------


def header_size(content: bytes) -> tuple[int, int] | None:
    """(height, width) from the header of a JPEG, PNG, BMP or WebP; None for other formats or a truncated header."""
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
    """(height, width) from the frame header; None if there is none."""
    place = 2 if content.startswith(b"\xff\xd8") else len(content)
    while True:
        place = content.find(b"\xff", place)  # like decoders, skip anything between segments
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
