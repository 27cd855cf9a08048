"""Sizes from headers, which keep some images from being decoded."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from keras_pose import PosePredictor
from keras_pose.core.errors import UserError
from keras_pose.io import images
from tests.faults.memory import peak_growth_mb
from tests.oracles import dot_model

SUFFIXES = (".jpg", ".png", ".bmp", ".webp")


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def encoded(image: np.ndarray, suffix: str, *options: int) -> bytes:
    return cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def png(height: int, width: int) -> bytes:
    """A whole black PNG; a large one repeats the packed form of its first rows."""
    repeated = 200 if height % 200 == 0 else 1
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    count = height * (1 + 3 * width)  # zeros, with a filter byte a row
    part = packer.compress(bytes(count // repeated)) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = struct.pack(">I", (count % 65521) << 16 | 1)  # Adler-32 of zeros
    rows = b"\x78\x01" + part * repeated + packer.flush() + checksum
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    parts = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def claiming(suffix: str, height: int, width: int) -> bytes:
    """A small image whose header says another size."""
    content = bytearray(encoded(picture(16, 24), suffix))
    if suffix == ".jpg":
        struct.pack_into(">HH", content, content.index(b"\xff\xc0") + 5, height, width)
    elif suffix == ".png":
        struct.pack_into(">II", content, 16, width, height)
    else:
        struct.pack_into("<ii", content, 18, width, height)
    return bytes(content)


@pytest.mark.parametrize("before", [b"", b"\0" * 9000])
def test_transparent_pixels_of_a_palette_are_white(before):
    """A profile of 9 kB stands before the chunk that says which color of the palette is transparent."""
    stream = io.BytesIO()
    image = Image.new("P", (12, 16), 0)
    image.putpalette([10, 20, 30])
    image.save(stream, "PNG", transparency=0, icc_profile=np.random.default_rng(0).bytes(9000) if before else None)
    content = stream.getvalue()
    assert (content.index(b"tRNS") > 4096) == bool(before)
    assert (images.decode(content, "a", turn=False) == 255).all()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("size", [(8, 300), (211, 8), (96, 64)])
def test_the_header_has_the_decoded_size(suffix, size):
    content = encoded(picture(*size), suffix)
    assert images.header_size(content) == size
    assert images.decode(content, "a", turn=True).shape == (*size, 3)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)), (".webp", (cv2.IMWRITE_WEBP_QUALITY, 80))],
)
def test_other_kinds_of_a_format(suffix, options):
    assert images.header_size(encoded(picture(40, 56), suffix, *options)) == (40, 56)


def test_the_size_of_a_jpeg_with_a_thumbnail_and_stray_bytes_is_its_own():
    thumbnail = encoded(picture(16, 16), ".jpg")
    app1 = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    content = encoded(picture(48, 64), ".jpg")
    content = content[:2] + app1 + b"stray\xff\xff" + content[3:]
    assert images.header_size(content) == (48, 64)
    assert images.decode(content, "a", turn=True).shape == (48, 64, 3)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_cut_file_is_refused(suffix):
    content = encoded(picture(40, 56), suffix)
    for end in range(0, 40):
        with pytest.raises(UserError, match="a.jpg does not decode as an image"):
            images.decode(content[:end], "a.jpg", turn=True)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
@pytest.mark.parametrize("size", [(20000, 20000), (8, 40000), (1, 1), (0, 50)])
def test_an_impossible_size_is_refused_from_the_header_alone(suffix, size):
    with pytest.raises(UserError, match=r"a is \d+ x \d+ pixels, (too small|over the limit)"):
        images.decode(claiming(suffix, *size), "a", turn=True)


def test_a_whole_image_of_400_megapixels_takes_no_memory(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(png(20000, 20000))

    def refuse():
        with pytest.raises(UserError, match="large.png is 20000 x 20000 pixels.*make it smaller"):
            images.read(path, turn=True)

    assert path.stat().st_size > 1e6 and peak_growth_mb(refuse) < 32  # decoded it is 1,200 MB
    small = tmp_path / "small.png"
    small.write_bytes(png(1, 1))
    with pytest.raises(UserError, match="small.png is 1 x 1 pixels, too small for a person"):
        images.read(small, turn=True)


@pytest.mark.parametrize(("size", "other"), [((8192, 8192), (8192, 8193)), ((8, 32766), (8, 32767)), ((8, 8), (8, 7))])
def test_the_limits_themselves_are_allowed(size, other):
    images.check_size(size, "a")
    with pytest.raises(UserError, match="too small|make it smaller"):
        images.check_size(other, "a")


@pytest.mark.parametrize("size", [(1, 1), (7, 900), (8, 40000)])
def test_the_predictor_refuses_arrays_of_such_sizes(size):
    with pytest.raises(UserError, match="too small|make it smaller"):
        PosePredictor(dot_model())(np.zeros((*size, 3), np.uint8))


def test_the_predictor_refuses_400_megapixels_without_touching_them():
    huge = np.broadcast_to(np.zeros(3, np.uint8), (20000, 20000, 3))
    predictor = PosePredictor(dot_model())

    def refuse():
        with pytest.raises(UserError, match="20000 x 20000 pixels"):
            predictor(huge)

    assert peak_growth_mb(refuse) < 32
