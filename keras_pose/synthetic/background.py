"""What lies behind everything: a panorama, a textured floor, the walls of a room, and the shadows on the floor."""

from dataclasses import dataclass

import numba
import numpy as np

from keras_pose.geometry import Camera
from keras_pose.synthetic.camera import camera_position
from keras_pose.synthetic.light import Light, ShadowMap, lit_share, sky_light
from keras_pose.synthetic.panorama import Panorama
from keras_pose.synthetic.shade import SRGB_TO_LINEAR, texel, tone
from keras_pose.synthetic.surfaces import SIZE

_FLOOR, _CEILING = 2, 3  # planes are -x, +x, floor, ceiling, -z, +z
_FADE_MM = (np.float32(9000.0), np.float32(30000.0))  # outdoors a floor's texture gives way to the panorama


@dataclass(frozen=True)
class Backdrop:
    """The background of one scene.

    Attributes:
        zoom: how many times more of the panorama is shown than the lens sees. Crops are 15 to 40 degrees wide, which
            is a few pixels of a panorama; its horizon stays where it is.
        box_mm: (6,) distances of the planes x0, x1, floor, ceiling, z0, z1 from the origin.
        surface: (6,) int32 texture of each plane, -1 where the panorama shows.
        tint: (6, 3) colour of each plane's texture.
        repeat_mm: (6,) size of one repeat of the texture.
        contacts_mm: (M, 4) x, z, radius and strength of soft dark spots on the floor, under what stands on it.
    """

    panorama: Panorama
    zoom: float
    box_mm: np.ndarray
    surface: np.ndarray
    tint: np.ndarray
    repeat_mm: np.ndarray
    contacts_mm: np.ndarray


def sample_backdrop(
    rng: np.random.Generator,
    panorama: Panorama,
    surfaces: np.ndarray,
    camera: Camera,
    center_mm: np.ndarray,
    contacts_mm: np.ndarray,
    difficulty: float,
) -> Backdrop:
    """Draws one: the panorama alone, with a floor of its own, or a room around camera and person."""
    eye = camera_position(camera)
    low, high = np.minimum(eye, center_mm), np.maximum(eye, center_mm)
    box = np.array([low[0], high[0], 0.0, high[1], low[2], high[2]], np.float32)
    gap = np.exp(rng.uniform(np.log(500.0), np.log(5000.0), 6))
    box += gap * np.array([-1, 1, 0, 1, -1, 1])
    surface = np.full(6, -1, np.int32)
    kind = rng.random()
    if kind < 0.2 + 0.3 * difficulty:  # a room
        surface[:] = rng.integers(len(surfaces))
        surface[[_FLOOR, _CEILING]] = rng.integers(0, len(surfaces), 2)
        windows = rng.random(6) < 0.15
        surface[windows] = -1
        if rng.random() < 0.5:
            surface[[0, 1, 4, 5]] = rng.integers(0, len(surfaces), 4)
    elif kind < 0.65:
        surface[_FLOOR] = rng.integers(len(surfaces))
    tint = np.exp(rng.normal(0, 0.15, (6, 3)) + rng.normal(-0.1, 0.3, (6, 1))).clip(0.2, 1.4)
    forward = camera.rotation[2]
    steepest = max(abs(np.arcsin(np.clip(forward[1], -1, 1))), 0.1)
    zoom = min(np.exp(rng.uniform(0.0, np.log(4.0))), max(1.0, 1.2 / steepest))
    repeat = np.exp(rng.uniform(np.log(600.0), np.log(4000.0), 6))
    return Backdrop(
        panorama,
        float(zoom),
        box,
        surface,
        tint.astype(np.float32),
        repeat.astype(np.float32),
        contacts_mm.astype(np.float32),
    )


def draw_backdrop(
    backdrop: Backdrop,
    surfaces: np.ndarray,
    camera: Camera,
    size: tuple[int, int],
    light: Light,
    shadows: ShadowMap,
) -> np.ndarray:
    """(height, width, 3) float32 linear in [0, 1]."""
    rays = (camera.rotation.T @ np.linalg.inv(camera.intrinsics)).astype(np.float32)
    middle = rays @ np.array([size[1] / 2, size[0] / 2, 1.0], np.float32)
    return _draw(
        *(size[0], size[1], rays, camera_position(camera).astype(np.float32)),
        *(backdrop.panorama.radiance, np.float32(backdrop.zoom), np.float32(np.arctan2(middle[0], -middle[2]))),
        *(backdrop.box_mm, backdrop.surface, backdrop.tint, backdrop.repeat_mm, backdrop.contacts_mm),
        *(surfaces.reshape(-1), SRGB_TO_LINEAR, np.float32(1 / camera.intrinsics[0, 0])),
        *(light.sky, light.sun_direction, light.sun, np.float32(light.exposure), shadows.depth_mm, shadows.matrix),
    )


@numba.njit(cache=True, nogil=True)
def _nearest_plane(eye, direction, box, surface):
    """The plane with a texture that a ray meets first, and how far along; -1 where there is none."""
    plane, nearest = -1, np.float32(1e9)
    for axis in range(3):
        side = 2 * axis + (1 if direction[axis] > 0 else 0)
        if surface[side] < 0 or direction[axis] == 0:
            continue
        reach = (box[side] - eye[axis]) / direction[axis]
        if 0 < reach < nearest:
            plane, nearest = side, reach
    return plane, nearest


@numba.njit(cache=True, nogil=True)
def _look_up(radiance, azimuth, elevation, channel):
    """A panorama's radiance in a direction, between four pixels."""
    height, width = radiance.shape[:2]
    x = azimuth / np.float32(2 * np.pi) * width - np.float32(0.5)
    y = (np.float32(0.5) - elevation / np.float32(np.pi)) * height - np.float32(0.5)
    y = min(max(y, np.float32(0.0)), np.float32(height - 1.001))
    column, row = int(np.floor(x)), int(y)
    fx, fy = np.float32(x - column), np.float32(y - row)
    x0, x1 = column % width, (column + 1) % width
    top = radiance[row, x0, channel] * (1 - fx) + radiance[row, x1, channel] * fx
    bottom = radiance[row + 1, x0, channel] * (1 - fx) + radiance[row + 1, x1, channel] * fx
    return top * (1 - fy) + bottom * fy


@numba.njit(cache=True, nogil=True)
def _floor_light(x, z, direction, sun_direction, contacts, shadow_depth, shadow_matrix):
    """(share of the sky, share of the sun) that reach a point of the floor."""
    open_sky = np.float32(1.0)
    for i in range(len(contacts)):
        dx, dz = x - contacts[i, 0], z - contacts[i, 1]
        closeness = (dx * dx + dz * dz) / (contacts[i, 2] * contacts[i, 2])
        if closeness < 9:
            open_sky *= np.float32(1.0) - contacts[i, 3] * np.exp(-closeness)
    lit = lit_share(shadow_depth, shadow_matrix, x, np.float32(0.0), z, np.float32(10.0)) if sun_direction[1] > 0 else 0
    return open_sky, np.float32(lit)


@numba.njit(cache=True, nogil=True)
def _draw(
    height, width, rays, eye, radiance, zoom, middle_azimuth, box, surface, tint, repeat, contacts, texels, linear,
    pixel, sky, sun_direction, sun, exposure, shadow_depth, shadow_matrix,
):  # fmt: skip
    image = np.empty((height, width, 3), np.float32)
    normal = np.zeros(3, np.float32)
    d = np.zeros(3, np.float32)
    room = surface[1] >= 0 or surface[0] >= 0
    for row in range(height):
        for column in range(width):
            u, v = np.float32(column + 0.5), np.float32(row + 0.5)
            for k in range(3):
                d[k] = rays[k, 0] * u + rays[k, 1] * v + rays[k, 2]
            plane, reach = _nearest_plane(eye, d, box, surface)
            flat = np.sqrt(d[0] * d[0] + d[2] * d[2])
            turn = np.arctan2(d[0], -d[2]) - middle_azimuth
            turn -= np.float32(2 * np.pi) * np.round(turn / np.float32(2 * np.pi))
            elevation = np.arctan2(d[1], flat) * zoom
            elevation = min(max(elevation, np.float32(-1.5)), np.float32(1.5))
            azimuth = middle_azimuth + turn * zoom
            share = np.float32(0.0)  # of the textured plane; the panorama has the rest
            open_sky, lit = np.float32(1.0), np.float32(1.0)
            if plane >= 0:
                share = np.float32(1.0)
                if not room:
                    share -= min(max((reach * flat - _FADE_MM[0]) / (_FADE_MM[1] - _FADE_MM[0]), 0), 1)
            if d[1] < 0:
                ground = -eye[1] / d[1]
                if plane == 2 or plane < 0:
                    open_sky, lit = _floor_light(
                        *(eye[0] + ground * d[0], eye[2] + ground * d[2], d, sun_direction),
                        *(contacts, shadow_depth, shadow_matrix),
                    )
            if plane >= 0:
                axis = plane // 2
                a = eye[(axis + 1) % 3] + reach * d[(axis + 1) % 3]
                b = eye[(axis + 2) % 3] + reach * d[(axis + 2) % 3]
                if axis == 0:
                    a, b = b, a  # walls stand upright: v runs down along y
                if axis != 1:
                    b = -b
                normal[:] = 0
                normal[axis] = 1 if plane % 2 == 0 else -1
                cosine = normal[0] * sun_direction[0] + normal[1] * sun_direction[1] + normal[2] * sun_direction[2]
                direct = max(cosine, np.float32(0.0)) * lit
            for k in range(3):
                value = np.float32(0.0)
                if share < 1:
                    dimmed = open_sky * (np.float32(0.45) + np.float32(0.55) * lit)
                    value += (1 - share) * dimmed * _look_up(radiance, azimuth, elevation, k)
                if share > 0:
                    first = surface[plane] * SIZE * SIZE * 3
                    albedo = texel(texels, first, SIZE, SIZE, a / repeat[plane], b / repeat[plane], k, linear)
                    arriving = sky_light(sky, normal[0], normal[1], normal[2], k) * open_sky + sun[k] * direct
                    value += share * tint[plane, k] * albedo * arriving / np.float32(np.pi)
                image[row, column, k] = tone(value * exposure)
    return image
