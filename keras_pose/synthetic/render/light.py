"""The light of a scene: a panorama's sky and sun, with varied strength and tint, and a shadow map of the sun."""

from dataclasses import dataclass

import numba
import numpy as np

from keras_pose.core.geometry import Camera
from keras_pose.synthetic.render.camera import look_at
from keras_pose.synthetic.render.panorama import Panorama
from keras_pose.synthetic.render.raster import rasterize_depth, to_homogeneous_pixels

_SUN_DISTANCE_MM = 60000.0
_ONE, _HALF, _THREE = np.float32(1.0), np.float32(0.5), np.float32(3.0)
_MIDDLE_GREY = 0.55  # exposed radiance of an average surface with albedo 0.5, before the tone curve


@dataclass(frozen=True)
class Light:
    """The light in a scene; arrays are float32.

    Attributes:
        sky: (9, 3) irradiance coefficients; see `panorama.irradiance_basis`.
        sun_direction: (3,) unit vector toward the sun.
        sun: (3,) irradiance of a surface that faces the sun.
        exposure: factor from radiance to the input of the tone curve.
    """

    sky: np.ndarray
    sun_direction: np.ndarray
    sun: np.ndarray
    exposure: float


@dataclass(frozen=True)
class ShadowMap:
    """`depth_mm` (S, S) of the first surface seen from the sun; `matrix` (3, 4) maps world to homogeneous pixels."""

    depth_mm: np.ndarray
    matrix: np.ndarray


def sample_light(rng: np.random.Generator, panorama: Panorama, difficulty: float) -> Light:
    """A panorama's light with a sun of random strength.

    A lamp from above the horizon may replace the sun: half of the weak suns, and more suns in harder scenes. The
    exposure is less accurate in harder scenes.
    """
    sky, sun, direction = panorama.sky.copy(), panorama.sun * np.exp(rng.uniform(-0.5, 1.2)), panorama.sun_direction
    mean = max(float(sky[0].mean()), 1e-3)
    if sun.mean() < 0.15 * mean and rng.random() < 0.5 or rng.random() < 0.25 * difficulty:
        direction = _lamp_direction(rng)
        sun = mean * np.exp(rng.uniform(-2.0, 0.7)) * rng.uniform(0.8, 1.0, 3)
    grey = sky.mean(-1, keepdims=True)
    sky = grey + (sky - grey) * rng.uniform(0.3, 1.1)  # a camera's white balance, more or less complete
    bright = (sky[0].mean() + 0.5 * sun.mean()) * 0.5 / np.pi
    exposure = _MIDDLE_GREY / max(bright, 1e-6) * np.exp(rng.normal(0, 0.12 + 0.25 * difficulty))
    return Light(sky.astype(np.float32), direction.astype(np.float32), sun.astype(np.float32), float(exposure))


def _lamp_direction(rng: np.random.Generator) -> np.ndarray:
    y, azimuth = rng.uniform(0.1, 1.0), rng.uniform(0, 2 * np.pi)
    radius = np.sqrt(1 - y * y)
    return np.array([radius * np.sin(azimuth), y, radius * np.cos(azimuth)])


def cast_shadows(
    vertices_mm: np.ndarray, faces: np.ndarray, light: Light, center_mm: np.ndarray, radius_mm: float, size: int
) -> ShadowMap:
    """The shadow map (size, size) of everything within `radius_mm` of a point."""
    position = center_mm + light.sun_direction * _SUN_DISTANCE_MM
    rotation = look_at(position, center_mm)
    focal = size / 2 * _SUN_DISTANCE_MM / radius_mm
    intrinsics = np.array([[focal, 0.0, size / 2], [0.0, focal, size / 2], [0.0, 0.0, 1.0]])
    sun = Camera(intrinsics, rotation, -rotation @ position)
    depth = rasterize_depth(to_homogeneous_pixels(vertices_mm, sun), faces, (size, size))
    matrix = intrinsics @ np.concatenate([rotation, sun.translation_mm[:, None]], axis=1)
    return ShadowMap(depth, matrix.astype(np.float32))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def lit_share(depth, matrix, x, y, z, bias_mm):
    """The share of the sun that a world point sees: bilinear over four pixels of the map, and 1 outside the map."""
    w = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2] * z + matrix[2, 3]
    u = (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] * z + matrix[0, 3]) / w - _HALF
    v = (matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] * z + matrix[1, 3]) / w - _HALF
    height, width = depth.shape
    if not (u >= 0 and v >= 0 and u < width - 1 and v < height - 1):
        return _ONE
    column, row = int(u), int(v)
    fu, fv = u - np.float32(column), v - np.float32(row)
    limit = w - bias_mm
    lit = np.float32(0.0)
    if depth[row, column] > limit:
        lit += (_ONE - fu) * (_ONE - fv)
    if depth[row, column + 1] > limit:
        lit += fu * (_ONE - fv)
    if depth[row + 1, column] > limit:
        lit += (_ONE - fu) * fv
    if depth[row + 1, column + 1] > limit:
        lit += fu * fv
    return lit


@numba.njit(cache=True, nogil=True, error_model="numpy")
def sky_light(sky, x, y, z):
    """Irradiance (red, green, blue) of a surface with unit normal (x, y, z); see `panorama.irradiance_basis`."""
    xy, yz, zx, xx, zz = x * y, y * z, z * x, x * x - y * y, _THREE * z * z - _ONE
    return (
        _sky_channel(sky, 0, x, y, z, xy, yz, zx, xx, zz),
        _sky_channel(sky, 1, x, y, z, xy, yz, zx, xx, zz),
        _sky_channel(sky, 2, x, y, z, xy, yz, zx, xx, zz),
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _sky_channel(sky, k, x, y, z, xy, yz, zx, xx, zz):
    value = sky[0, k] + sky[1, k] * x + sky[2, k] * y + sky[3, k] * z + sky[4, k] * xy + sky[5, k] * yz
    return max(value + sky[6, k] * zx + sky[7, k] * xx + sky[8, k] * zz, np.float32(0.0))
