"""Faces: a texture wrapped around the head like a label around a can, with brows, eyes, lips, beard and hair.

Texture coordinates are the angle about the head's vertical axis and the height, both on the unshaped base mesh, so one
face layout fits all bodies.
"""

from functools import cache

import numpy as np

from keras_pose.synthetic.body.assets import BodyAssets
from keras_pose.synthetic.body.textures import to_uint8

_HEIGHT, _WIDTH = 96, 128
_TOP_DM, _BOTTOM_DM, _AXIS_Z_DM = 8.6, 5.6, 0.45
# Positions of features: (degrees from the middle of the face, height in dm on the base mesh, half width, half height).
_BROWS = (20.0, 7.55, 13.0, 0.055)
_LIPS = (0.0, 6.56, 14.0, 0.085)
_NOSTRILS = (5.0, 6.86, 4.0, 0.05)
# The hairline: degrees from the middle of the face -> height in dm.
_HAIRLINE = ((0, 8.0), (35, 7.95), (55, 7.6), (75, 7.35), (88, 7.05), (105, 6.95), (125, 6.6), (180, 6.35))


def face_uv(assets: BodyAssets, faces: np.ndarray) -> np.ndarray:
    """(F, 3, 2) float32 texture coordinates of (F, 3) triangles of the head."""
    vertices = assets.mesh.vertices[faces]
    u = 0.5 + np.arctan2(vertices[..., 0], vertices[..., 2] - _AXIS_Z_DM) / (2 * np.pi)
    u += (u.max(1, keepdims=True) - u > 0.5) * 1.0  # the texture repeats across the seam at the back
    v = (_TOP_DM - vertices[..., 1]) / (_TOP_DM - _BOTTOM_DM)
    return np.stack([u, np.clip(v, 0.0, 0.999)], -1).astype(np.float32)


def scalp(assets: BodyAssets) -> np.ndarray:
    """(V,) float, 0 at and below the hairline of the base mesh, rising to 1 within 3 cm above it."""
    x, y, z = assets.mesh.vertices.T
    degrees = np.abs(np.rad2deg(np.arctan2(x, z - _AXIS_Z_DM)))
    return np.clip((y - _hairline(degrees)) / 0.3, 0, 1)


def face_texture(skin: np.ndarray, hair: np.ndarray | None, bearded: bool, rng: np.random.Generator) -> np.ndarray:
    """(96, 128, 3) uint8: a face with skin color (3,) and hair color (3,), both 0 to 1; None for a bald head."""
    masks = _masks()
    image = np.full((_HEIGHT, _WIDTH, 3), skin, np.float32)
    dark = skin * 0.35
    brow = (skin * 0.45 if hair is None else hair * 0.8) * rng.uniform(0.5, 1)
    _blend(image, masks["cheeks"], skin * (1.05, 0.8, 0.78), rng.uniform(0, 0.6))
    _blend(image, masks["sockets"], skin * 0.62, rng.uniform(0.3, 0.9))
    _blend(image, masks["lips"], skin * (0.85, 0.5, 0.5) + (rng.uniform(0, 0.15), 0, 0.03), rng.uniform(0.4, 1))
    _blend(image, masks["nostrils"], dark, rng.uniform(0.3, 0.8))
    if bearded:
        colour = skin * 0.4 if hair is None else hair
        _blend(image, masks["beard"], colour, rng.uniform(0.25, 1))
        _blend(image, masks["lips"], skin * (0.8, 0.5, 0.5), 0.6)
    _blend(image, masks["brows"], brow, rng.uniform(0.5, 1))
    _blend(image, masks["lashes"], dark, rng.uniform(0.5, 1))
    if hair is not None:
        _blend(image, masks["hair"], hair, 1.0)
    return to_uint8(image * (1 + 0.02 * rng.standard_normal((_HEIGHT, _WIDTH, 1), np.float32)))


def eye_texture(rng: np.random.Generator) -> np.ndarray:
    """(32, 32, 3) uint8: an eyeball seen from the front, with white, iris and pupil."""
    ramp = (np.arange(32) + 0.5) / 16 - 1
    radius = np.hypot(ramp[:, None], ramp[None])[..., None]
    iris = np.array([[0.3, 0.18, 0.1], [0.2, 0.12, 0.07], [0.35, 0.45, 0.55], [0.35, 0.4, 0.25]])[rng.integers(4)]
    image = np.where(radius < 0.45, iris * rng.uniform(0.7, 1.2), np.array([0.88, 0.86, 0.84]) * rng.uniform(0.8, 1))
    return to_uint8(np.where(radius < 0.18, 0.03, image))


def eye_uv(assets: BodyAssets, faces: np.ndarray) -> np.ndarray:
    """(F, 3, 2) float32 texture coordinates of (F, 3) triangles of both eyeballs, seen from the front."""
    vertices = assets.mesh.vertices[faces]
    uv = np.empty((*faces.shape, 2), np.float32)
    left = vertices[..., 0].mean(1) > 0
    for side in (left, ~left):
        eye = vertices[side].reshape(-1, 3)
        centre, size = (eye.max(0) + eye.min(0)) / 2, np.ptp(eye, axis=0)
        uv[side] = np.clip(0.5 + (vertices[side] - centre)[..., :2] / size[:2], 0.02, 0.98)
    return uv


def _hairline(degrees: np.ndarray) -> np.ndarray:
    angles, heights = zip(*_HAIRLINE, strict=True)
    return np.interp(degrees, angles, heights)


def _blend(image: np.ndarray, spot: tuple[slice, slice, np.ndarray], colour: np.ndarray, strength: float) -> None:
    """Paints `colour` (3,) over `image` in place, weighted by the mask of `spot`."""
    rows, columns, mask = spot
    part = image[rows, columns]
    part += mask * np.float32(strength) * (np.asarray(colour, np.float32) - part)


@cache
def _masks() -> dict[str, tuple[slice, slice, np.ndarray]]:
    """For each feature, the rows and columns that it spans, and its mask (h, w, 1) from 0 to 1 within them."""
    degrees = ((np.arange(_WIDTH) + 0.5) / _WIDTH * 360 - 180)[None]
    height = (_TOP_DM - (np.arange(_HEIGHT) + 0.5) / _HEIGHT * (_TOP_DM - _BOTTOM_DM))[:, None]
    side = np.abs(degrees)  # faces are symmetric

    def spot(feature: tuple[float, float, float, float], growth: float = 1.0) -> np.ndarray:
        angle, level, half_width, half_height = feature
        distance = np.hypot((side - angle) / (half_width * growth), (height - level) / (half_height * growth))
        return np.clip(1.6 - distance, 0, 1)

    chin = (side < 75) & (height < 6.75 - 0.2 * (side < 20)) & (height > 6.0)
    upper_lip = (side < 18) & (np.abs(height - 6.72) < 0.06)
    ears = np.clip(1.6 - np.hypot((side - 97) / 12, (height - 7.15) / 0.3), 0, 1)
    hair = np.clip((height - _hairline(side)) / 0.06 + 0.5, 0, 1) * (1 - ears)
    masks = {
        "cheeks": spot((38.0, 6.9, 22.0, 0.25)),
        "sockets": spot((20.0, 7.36, 12.0, 0.14)),
        "lashes": spot((20.0, 7.37, 9.0, 0.035)),
        "brows": spot(_BROWS),
        "lips": spot(_LIPS),
        "nostrils": spot(_NOSTRILS),
        "beard": (chin | upper_lip) * 1.0,
        "hair": hair,
    }
    return {name: _cropped(mask) for name, mask in masks.items()}


def _cropped(mask: np.ndarray) -> tuple[slice, slice, np.ndarray]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return *part, mask[part].astype(np.float32)[..., None]
