"""High dynamic range panoramas: reading them, procedural substitutes, and their light.

A panorama is an (H, W, 3) float32 linear RGB image of all directions: column 0 looks along -z, the column at a quarter
along +x, and the first row straight up (+y). Brightness is scaled to a mean of 1, with the brightest percent clipped.
"""

import base64
import binascii
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from keras_pose.core.errors import UserError

SUFFIXES = (".exr.js", ".exr", ".hdr")
_SUN_RADIUS_DEG = 14.0
_BRIGHTEST = 40.0  # times the mean; clipped there, because compressed panoramas ring around the sun


@dataclass(frozen=True)
class Panorama:
    """A panorama and its light.

    Attributes:
        radiance: (H, W, 3) float32, linear RGB.
        sky: (9, 3) float32, coefficients c with irradiance(n) = sum_i c_i basis_i(n), without the sun's part; see
            `irradiance_basis`.
        sun_direction: (3,) float32 unit vector toward the strongest light.
        sun: (3,) float32 irradiance of a surface that faces it; near 0 under an overcast sky.
    """

    name: str
    radiance: np.ndarray
    sky: np.ndarray
    sun_direction: np.ndarray
    sun: np.ndarray


def list_panoramas(directory: str) -> list[Path]:
    """The panorama files of a folder, sorted by name; raises UserError if there are none."""
    folder = Path(directory)
    if not folder.is_dir():
        raise UserError(f"--panoramas: {directory} is not a folder; name one with .exr, .hdr or .exr.js files")
    paths = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIXES))
    if not paths:
        raise UserError(f"--panoramas: {directory} has no .exr, .hdr or .exr.js file")
    return paths


def load_panorama(path: Path) -> Panorama:
    """Reads a panorama; raises UserError that names the file if it cannot be read."""
    try:
        pixels = _read_hdr(path) if path.name.endswith(".hdr") else _read_exr(path)
    except (OSError, ValueError, KeyError, RuntimeError, cv2.error) as error:
        raise UserError(f"panorama {path} cannot be read ({error}); fetch it again or remove it") from error
    if pixels.ndim != 3 or pixels.shape[2] < 3 or min(pixels.shape[:2]) < 8 or not pixels.any():
        raise UserError(f"panorama {path} is not an RGB image (shape {pixels.shape}); remove it")
    return make_panorama(path.name.split(".")[0], pixels[..., :3])


def _read_exr(path: Path) -> np.ndarray:
    """Reads an `.exr` file, or one in base64 within a JavaScript module (`.exr.js`)."""
    try:
        import OpenEXR
    except ImportError as error:
        raise UserError("reading .exr panoramas needs OpenEXR; run: pip install OpenEXR") from error
    if path.name.endswith(".exr"):
        return _exr_pixels(OpenEXR.File(str(path)))
    encoded = re.search(r"base64,([A-Za-z0-9+/=]+)", path.read_text(errors="replace"))
    if not encoded:
        raise ValueError("no base64 data in it")
    try:
        content = base64.b64decode(encoded.group(1), validate=True)
    except binascii.Error as error:
        raise ValueError(f"bad base64: {error}") from error
    with tempfile.NamedTemporaryFile(suffix=".exr") as file:
        file.write(content)
        file.flush()
        return _exr_pixels(OpenEXR.File(file.name))


def _exr_pixels(file) -> np.ndarray:
    channels = file.channels()
    if "RGB" in channels or "RGBA" in channels:
        return np.asarray((channels.get("RGB") or channels["RGBA"]).pixels, np.float32)
    return np.stack([np.asarray(channels[name].pixels, np.float32) for name in "RGB"], axis=-1)


def _read_hdr(path: Path) -> np.ndarray:
    pixels = cv2.imread(str(path), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError("not a Radiance image")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.float32)


# --- light -----------------------------------------------------------------------------------------------------


def directions(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) unit vectors of the pixel centers, and (H, 1) their solid angles."""
    elevation = (0.5 - (np.arange(height) + 0.5) / height) * np.pi
    azimuth = (np.arange(width) + 0.5) / width * 2 * np.pi
    cos, sin = np.cos(elevation)[:, None], np.sin(elevation)[:, None]
    vectors = np.stack(np.broadcast_arrays(cos * np.sin(azimuth), sin, -cos * np.cos(azimuth)), axis=-1)
    return vectors.astype(np.float32), cos * (np.pi / height) * (2 * np.pi / width)


def irradiance_basis(normals: np.ndarray) -> np.ndarray:
    """(..., 3) unit normals to (..., 9): 1, x, y, z, xy, yz, zx, x^2 - y^2, 3z^2 - 1."""
    x, y, z = normals[..., 0], normals[..., 1], normals[..., 2]
    return np.stack([np.ones_like(x), x, y, z, x * y, y * z, z * x, x * x - y * y, 3 * z * z - 1], axis=-1)


# Squared factors of the real spherical harmonics on that basis, times the cosine lobe's pi, 2 pi / 3 and pi / 4
# (Ramamoorthi and Hanrahan 2001, "An efficient representation for irradiance environment maps").
_BAND = np.array([1 / 4] + [1 / 2] * 3 + [15 / 16] * 3 + [15 / 64, 5 / 64], np.float32)


def sky_irradiance(radiance: np.ndarray) -> np.ndarray:
    """(9, 3) coefficients of the irradiance from an (H, W, 3) panorama."""
    vectors, solid_angle = directions(*radiance.shape[:2])
    basis = irradiance_basis(vectors) * solid_angle[..., None]
    return (np.einsum("hwi,hwc->ic", basis, radiance) * _BAND[:, None]).astype(np.float32)


def make_panorama(name: str, pixels: np.ndarray) -> Panorama:
    """Cleans (H, W, 3) linear RGB, scales its mean to 1, and splits its light into one sun and the rest."""
    radiance = np.nan_to_num(np.asarray(pixels, np.float32), posinf=6e4, neginf=0.0).clip(0.0)
    vectors, solid_angle = directions(*radiance.shape[:2])
    mean = (np.minimum(radiance, np.quantile(radiance, 0.99)) * solid_angle[..., None]).sum() / (12 * np.pi)
    radiance = radiance / np.float32(max(mean, 1e-9))
    bright = radiance.max(-1) > _BRIGHTEST / 2  # lossy files lose the color here, so it becomes a warm white
    radiance[bright] = np.minimum(radiance[bright].max(-1, keepdims=True), _BRIGHTEST) * np.float32([1.0, 0.95, 0.85])

    small = cv2.GaussianBlur(radiance.mean(-1), (0, 0), radiance.shape[0] / 64)
    row, column = np.unravel_index((small * (vectors[..., 1] > -0.1)).argmax(), small.shape)
    sun_direction = vectors[row, column]
    near = vectors @ sun_direction > np.cos(np.deg2rad(_SUN_RADIUS_DEG))
    ambient = np.median(radiance[near], axis=0)
    excess = np.where(near[..., None], radiance - ambient, 0.0).clip(0.0)
    sun = (excess * solid_angle[..., None]).sum((0, 1)).astype(np.float32)
    sun = (sun + sun.mean()) / 2  # half the saturation, because the hue of the brightest pixels is unreliable
    return Panorama(name, radiance, sky_irradiance(radiance - excess), sun_direction, sun)


# --- procedural panoramas --------------------------------------------------------------------------------------


def drawn_panorama(name: str, rng: np.random.Generator, height: int = 128) -> Panorama:
    """A procedural panorama: a sky with clouds and a skyline, or a hall with lamps and windows."""
    vectors, _ = directions(height, 2 * height)
    pixels = _draw_sky(vectors, rng) if rng.random() < 0.6 else _draw_hall(vectors, rng)
    return make_panorama(name, pixels)


def _clouds(shape: tuple[int, int], rng: np.random.Generator, octaves: int = 5) -> np.ndarray:
    """(H, W) noise of several scales, mean about 0, deviation 1."""
    noise = np.zeros(shape, np.float32)
    for octave in range(octaves):
        coarse = rng.standard_normal((3 * 2**octave, 6 * 2**octave)).astype(np.float32)
        coarse[:, -1] = coarse[:, 0]
        noise += cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC) * 0.6**octave
    return noise / noise.std()


def _draw_sky(vectors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    shape = vectors.shape[:2]
    up = vectors[..., 1:2]
    horizon, zenith = _color(rng, 0.5, 1.2), np.array([0.25, 0.45, 0.9]) * rng.uniform(0.3, 1.2)
    sky = zenith + (horizon - zenith) * np.exp(-np.abs(up) * rng.uniform(2, 6))
    cloud = (_clouds(shape, rng)[..., None] * rng.uniform(0.5, 2) + rng.uniform(-1.5, 1)).clip(0, 1)
    sky = sky + (rng.uniform(0.5, 1.5) - sky) * cloud
    ground = _color(rng, 0.08, 0.5) * (1 + 0.3 * _clouds(shape, rng, 7)[..., None]).clip(0.2)
    skyline = 0.05 + 0.12 * np.abs(_clouds((1, shape[1]), rng, 7)) * rng.random()
    houses = _color(rng, 0.02, 0.5) * (1 + 0.4 * _clouds(shape, rng, 7)[..., None])
    sky = np.where(up < skyline[..., None], houses, sky)
    pixels = np.where(up < 0, ground, sky.clip(0.01))
    sun = _random_direction(rng, lowest=0.15)
    disk = vectors @ sun > np.cos(np.deg2rad(3.0))
    pixels[disk] += rng.uniform(0.0, 300.0) * np.array([1.0, 0.9, 0.75])
    return pixels


def _draw_hall(vectors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The inside of a box, with a color per wall and bright rectangles on the walls."""
    size = np.array([rng.uniform(2, 6), rng.uniform(1.2, 3), rng.uniform(2, 6)])
    reach = size / np.maximum(np.abs(vectors), 1e-6)
    axis = reach.argmin(-1)  # (H, W), the wall in each direction
    point = vectors * reach.min(-1)[..., None]
    wall = 2 * axis + (np.take_along_axis(vectors, axis[..., None], -1)[..., 0] > 0)
    pixels = np.array([_color(rng, 0.15, 0.8) for _ in range(6)])[wall] * (
        1 + 0.15 * _clouds(vectors.shape[:2], rng, 6)[..., None]
    )
    for _ in range(rng.integers(2, 9)):
        side = rng.choice([0, 1, 3, 3, 4, 5])
        others = [k for k in range(3) if k != side // 2]
        centre, half = rng.uniform(-0.8, 0.8, 2) * size[others], rng.uniform(0.1, 0.8, 2)
        inside = (np.abs(point[..., others] - centre) < half).all(-1) & (wall == side)
        pixels[inside] = rng.uniform(0.7, 1, 3) * np.exp(rng.uniform(0, 3.5))
    return pixels


def _color(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """(3,) linear RGB around a gray in [low, high], more often warm than cold."""
    warmth = rng.normal(0.1, 0.2)
    return rng.uniform(low, high) * np.array([1 + warmth, 1.0, 1 - warmth]).clip(0.3) * np.exp(rng.normal(0, 0.12, 3))


def _random_direction(rng: np.random.Generator, lowest: float) -> np.ndarray:
    """(3,) a unit vector whose y is at least `lowest`."""
    y, azimuth = rng.uniform(lowest, 1.0), rng.uniform(0, 2 * np.pi)
    radius = np.sqrt(1 - y * y)
    return np.array([radius * np.sin(azimuth), y, radius * np.cos(azimuth)])
