"""Images and videos as written by phones, scanners and office programs."""

import io

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from keras_pose.core.errors import UserError
from keras_pose.io import images, media

pillow_heif.register_heif_opener()
SIZE = (48, 64)


def picture() -> np.ndarray:
    """Red left of green, with a blue lower half: smooth, so that lossy formats keep it."""
    image = np.zeros((*SIZE, 3), np.uint8)
    image[:, :32] = (200, 30, 30)
    image[:, 32:] = (30, 200, 30)
    image[24:] = (30, 30, 200)
    return image


def saved(image: Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


RGB = Image.fromarray(picture())
FORMS = {
    "HEIC": lambda: saved(RGB, "HEIF", quality=95),
    "AVIF": lambda: saved(RGB, "AVIF", quality=95),
    "TIFF": lambda: saved(RGB, "TIFF"),
    "TIFF, LZW": lambda: saved(RGB, "TIFF", compression="tiff_lzw"),
    "TIFF, CMYK": lambda: saved(RGB.convert("CMYK"), "TIFF"),
    "GIF": lambda: saved(RGB, "GIF"),
    "GIF, animated": lambda: saved(RGB, "GIF", save_all=True, append_images=[Image.new("RGB", SIZE[::-1])]),
    "JPEG 2000": lambda: saved(RGB, "JPEG2000"),
    "PPM": lambda: saved(RGB, "PPM"),
    "PNG, palette": lambda: saved(RGB.convert("P"), "PNG"),
    "PNG, opaque alpha": lambda: saved(RGB.convert("RGBA"), "PNG"),
    "WebP, opaque alpha": lambda: saved(RGB.convert("RGBA"), "WEBP", lossless=True),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_pixels(form):
    found = images.decode(FORMS[form](), "a", turn=True)
    assert found.dtype == np.uint8 and found.shape == (*SIZE, 3)
    for y, x in ((8, 8), (8, 56), (40, 30)):
        assert np.abs(found[y, x].astype(int) - picture()[y, x]).max() < 60
    assert images.decode(FORMS[form](), "a", turn=False).shape == (*SIZE, 3)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "GIF", "HEIF", "AVIF"])
def test_alpha_lies_over_white(form):
    rgba = np.dstack([picture(), np.full(SIZE, 255, np.uint8)])
    rgba[:, 40:] = 0
    options = {"lossless": True} if form == "WEBP" else {}
    found = images.decode(saved(Image.fromarray(rgba), form, **options), "a", turn=True)
    assert found[8, 60].min() > 245 and found[8, 8, 0] > 150


def test_half_alpha_is_half_white():
    rgba = np.full((*SIZE, 4), [100, 0, 200, 128], np.uint8)
    found = images.decode(saved(Image.fromarray(rgba), "PNG"), "a", turn=True)
    assert np.abs(found[0, 0].astype(int) - [177, 127, 227]).max() <= 1


@pytest.mark.parametrize("form", ["TIFF", "PNG"])
def test_16_bits_are_scaled(form):
    grey = np.linspace(0, 65535, SIZE[1]).astype(np.uint16)[None].repeat(SIZE[0], 0)
    found = images.decode(saved(Image.fromarray(grey), form), "a", turn=True)
    assert np.abs(found[0, :, 0].astype(int) - np.linspace(0, 255, SIZE[1])).max() <= 1


@pytest.mark.parametrize("values", [1.0, 255.0])
def test_floating_point_tiffs_are_scaled(values):
    grey = np.linspace(0, values, SIZE[1]).astype(np.float32)[None].repeat(SIZE[0], 0)
    found = images.decode(saved(Image.fromarray(grey), "TIFF"), "a", turn=True)
    assert np.abs(found[0, :, 0].astype(int) - np.linspace(0, 255, SIZE[1])).max() <= 1


@pytest.mark.parametrize("form", ["TIFF", "AVIF", "PNG"])
def test_images_are_rotated_by_their_exif(form):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = saved(RGB, form, exif=exif)
    assert images.decode(content, "a", turn=True).shape == (*SIZE[::-1], 3)


@pytest.mark.parametrize("form", ["TIFF", "GIF", "HEIF", "AVIF"])
def test_damaged_small_and_large_ones_are_named(form):
    content = saved(RGB, form)
    with pytest.raises(UserError, match="a does not decode as an image; it is damaged or not JPEG"):
        images.decode(content[: len(content) // 2], "a", turn=True)
    if form in ("TIFF", "GIF"):
        with pytest.raises(UserError, match="a is 4 x 4 pixels, too small"):
            images.decode(saved(RGB.resize((4, 4)), form), "a", turn=True)


@pytest.mark.parametrize("size", [(9000, 9000), (20000, 20000)])
def test_a_large_tiff_is_not_decoded(size):
    content = saved(Image.new("1", size), "TIFF", compression="group4")
    with pytest.raises(UserError, match="megapixels.*make it smaller"):
        images.decode(content, "a", turn=True)


def write_video(path, suffix: str, codec: str) -> None:
    writer = cv2.VideoWriter(str(path.with_suffix(suffix)), cv2.VideoWriter.fourcc(*codec), 10, SIZE[::-1])
    assert writer.isOpened()
    for _ in range(4):
        writer.write(picture())
    writer.release()
    path.with_suffix(suffix).rename(path)


@pytest.mark.parametrize(
    ("name", "suffix", "codec"),
    [
        ("a.mts", ".ts", "mp4v"),
        ("a.m2ts", ".ts", "mp4v"),
        ("a.ts", ".ts", "mp4v"),
        ("a.wmv", ".avi", "MJPG"),
        ("a.vob", ".avi", "MJPG"),
        ("a.flv", ".mkv", "MJPG"),
        ("a", ".mp4", "mp4v"),
        ("a.clip", ".mp4", "mp4v"),
    ],
)
def test_the_decoder_says_what_is_a_video(tmp_path, name, suffix, codec):
    write_video(tmp_path / name, suffix, codec)
    assert media.kind_of(tmp_path / name) == "video"


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.heic", b"", "image"),
        ("a.GIF", FORMS["GIF"](), "image"),
        ("a.gif", FORMS["GIF, animated"](), "video"),
        ("photo", saved(RGB, "JPEG"), "image"),
        ("photo.unknown", FORMS["AVIF"](), "image"),
        ("notes.txt", b"the sea, the sea\n" * 50, None),
        ("code.ts", b"export const a = 1;\n", None),
        ("a.npz", b"PK\3\4" + bytes(500), None),
        ("a.bin", bytes(range(256)) * 8, None),
        ("empty", b"", None),
    ],
)
def test_other_files_are_recognized_by_their_content(tmp_path, name, content, kind):
    (tmp_path / name).write_bytes(content)
    assert media.kind_of(tmp_path / name) == kind
