"""Draws a `background.Backdrop`: casts one ray for each pixel that nothing nearer covers completely."""

import numba
import numpy as np

from keras_pose.synthetic.render.light import lit_share, sky_light
from keras_pose.synthetic.render.shade import texel, tone
from keras_pose.synthetic.scene.surfaces import LEVELS, SIZE

_FADE_FROM_MM, _FADE_TO_MM = np.float32(9000.0), np.float32(30000.0)  # outdoors, the floor fades into the panorama
_SHADE_OF_PANORAMA = np.float32(0.55)  # how much the sun's shadow darkens a panorama's floor
_FARTHEST = np.float32(6.0)  # (distance / radius)^2 at which a soft shadow ends
_ZERO, _HALF, _ONE, _TWO = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(2.0)
_TURN, _INVERSE_PI = np.float32(2 * np.pi), np.float32(1 / np.pi)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def draw_background(
    face, rays, eye, pixel, radiance, zoom, middle_azimuth, box, surface, tint, repeat, contacts,
    grain, grain_strength, texels, level_start, linear, sky, sun_direction, sun, exposure, shadow_depth, shadow_matrix,
):  # fmt: skip
    """(H, W, 3) float32 linear in [0, 1]; `background.draw_backdrop` prepares the inputs."""
    height, width = face.shape[0] // 2, face.shape[1] // 2
    image = np.zeros((height, width, 3), np.float32)
    room = surface[0] >= 0 or surface[1] >= 0 or surface[4] >= 0 or surface[5] >= 0
    for row in range(height):
        for column in range(width):
            if _is_covered(face, row, column):
                continue
            u, v = np.float32(column) + _HALF, np.float32(row) + _HALF
            x = rays[0, 0] * u + rays[0, 1] * v + rays[0, 2]
            y = rays[1, 0] * u + rays[1, 1] * v + rays[1, 2]
            z = rays[2, 0] * u + rays[2, 1] * v + rays[2, 2]
            plane, reach = _nearest_plane(eye, x, y, z, box, surface)
            open_sky, lit = _ONE, _ONE
            if y < 0 and (plane == 2 or plane < 0):
                ground = -eye[1] / y
                open_sky, lit = _floor_light(
                    eye[0] + ground * x, eye[2] + ground * z, sun_direction, contacts, shadow_depth, shadow_matrix
                )
            flat = np.sqrt(x * x + z * z)
            share = _ZERO  # of the plane; the rest is the panorama
            if plane >= 0:
                faded = (reach * flat - _FADE_FROM_MM) / (_FADE_TO_MM - _FADE_FROM_MM)
                share = _ONE if room else _ONE - min(max(faded, _ZERO), _ONE)
            if share < 1:
                turn = np.arctan2(x, -z) - middle_azimuth
                turn -= _TURN * np.floor(turn / _TURN + _HALF)
                elevation = min(max(np.arctan2(y, flat) * zoom, np.float32(-1.5)), np.float32(1.5))
                far = _look_up(radiance, middle_azimuth + turn * zoom, elevation)
                rough = _grain(
                    grain, grain_strength, x, y, z, turn, elevation, eye, pixel, repeat, texels, level_start, linear
                )
                dimmed = rough * open_sky * (_ONE - _SHADE_OF_PANORAMA * (_ONE - lit)) * (_ONE - share)
                for k in range(3):
                    image[row, column, k] = far[k] * dimmed
            if share > 0:
                near = _plane_color(
                    plane, reach, x, y, z, eye, pixel, open_sky, lit, surface, repeat, texels, level_start, linear,
                    sky, sun_direction, sun,
                )  # fmt: skip
                for k in range(3):
                    image[row, column, k] += near[k] * tint[plane, k] * share
            for k in range(3):
                image[row, column, k] = tone(image[row, column, k] * exposure)
    return image


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _is_covered(face, row, column):
    y, x = 2 * row, 2 * column
    return face[y, x] >= 0 and face[y, x + 1] >= 0 and face[y + 1, x] >= 0 and face[y + 1, x + 1] >= 0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _nearest_plane(eye, x, y, z, box, surface):
    """The first textured plane that a ray meets (-1 if none), and the depth in mm along the camera's axis."""
    plane, nearest = -1, np.float32(1e9)
    direction = (x, y, z)
    for axis in range(3):
        side = 2 * axis + (1 if direction[axis] > 0 else 0)
        if surface[side] < 0 or direction[axis] == 0:
            continue
        reach = (box[side] - eye[axis]) / direction[axis]
        if 0 < reach < nearest:
            plane, nearest = side, reach
    return plane, nearest


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _floor_light(x, z, sun_direction, contacts, shadow_depth, shadow_matrix):
    """Shares of the sky and of the sun that reach a point on the floor; `contacts` hold inverse squared radii."""
    open_sky = _ONE
    for i in range(len(contacts)):
        dx, dz = x - contacts[i, 0], z - contacts[i, 1]
        closeness = (dx * dx + dz * dz) * contacts[i, 2]
        if closeness < _FARTHEST:
            open_sky *= _ONE - contacts[i, 3] * np.exp(-closeness)
    lit = _ZERO
    if sun_direction[1] > 0:
        lit = lit_share(shadow_depth, shadow_matrix, x, _ZERO, z, np.float32(10.0))
    return open_sky, lit


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _plane_color(
    plane, reach, x, y, z, eye, pixel, open_sky, lit, surface, repeat, texels, level_start, linear,
    sky, sun_direction, sun,
):  # fmt: skip
    """The radiance of a point on a plane, from the texture level whose pixels are about as large as the image's."""
    axis, side = plane // 2, _ONE if plane % 2 == 0 else -_ONE
    if axis == 0:
        a, b, across = eye[2] + reach * z, -eye[1] - reach * y, abs(x)  # walls are upright: v runs down
    elif axis == 1:
        a, b, across = eye[2] + reach * z, eye[0] + reach * x, abs(y)
    else:
        a, b, across = eye[0] + reach * x, -eye[1] - reach * y, abs(z)
    length = np.sqrt(x * x + y * y + z * z)
    footprint = reach * pixel * np.sqrt(length / max(across, np.float32(1e-4)))
    level = _level(footprint * SIZE / repeat[plane])
    albedo = _texture(surface[plane], level, a / repeat[plane], b / repeat[plane], texels, level_start, linear)
    nx = side if axis == 0 else _ZERO
    ny = side if axis == 1 else _ZERO
    nz = side if axis == 2 else _ZERO
    arriving = sky_light(sky, nx, ny, nz)
    direct = max(nx * sun_direction[0] + ny * sun_direction[1] + nz * sun_direction[2], _ZERO) * lit
    return (
        albedo[0] * (arriving[0] * open_sky + sun[0] * direct) * _INVERSE_PI,
        albedo[1] * (arriving[1] * open_sky + sun[1] * direct) * _INVERSE_PI,
        albedo[2] * (arriving[2] * open_sky + sun[2] * direct) * _INVERSE_PI,
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _level(ratio):
    """The level of a texture for a pixel that covers `ratio` pixels of it."""
    return min(int(np.log2(max(ratio, _ONE)) + np.float32(0.3)), LEVELS - 1)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _texture(surface, level, u, v, texels, level_start, linear):
    size = SIZE >> level
    return texel(texels, level_start[level] + surface * size * size * 3, size, size, u, v, linear)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _grain(surface, strength, x, y, z, turn, elevation, eye, pixel, repeat, texels, level_start, linear):
    """A factor around 1: a texture's brightness relative to its mean, on the floor or, above the horizon, 10 m away."""
    if y < 0:
        reach, scale = -eye[1] / y, repeat[2]
        a, b = eye[0] + reach * x, eye[2] + reach * z
        length = np.sqrt(x * x + y * y + z * z)
        footprint = reach * pixel * np.sqrt(length / -y)
    else:
        distance, scale = np.float32(10000.0), repeat[0] * _TWO
        a, b, footprint = turn * distance, -elevation * distance, pixel * distance
    level = _level(footprint * SIZE / scale)
    here = _texture(surface, level, a / scale, b / scale, texels, level_start, linear)[1]
    mean = _texture(surface, LEVELS - 1, a, b, texels, level_start, linear)[1]
    ratio = min((here + np.float32(0.02)) / (mean + np.float32(0.02)), np.float32(2.5))
    return _ONE + strength * (ratio - _ONE)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _look_up(radiance, azimuth, elevation):
    """A panorama's radiance (red, green, blue) in a direction, interpolated between four pixels."""
    height, width = radiance.shape[:2]
    around = azimuth / _TURN
    x = (around - np.floor(around)) * np.float32(width) - _HALF
    y = (_HALF - elevation * _INVERSE_PI) * np.float32(height) - _HALF
    y = min(max(y, _ZERO), np.float32(height) - np.float32(1.001))
    column, row = int(np.floor(x)), int(y)
    fx, fy = x - np.float32(column), y - np.float32(row)
    x0 = column if column >= 0 else width - 1
    x1 = column + 1 if column + 1 < width else 0
    wa, wb, wc, wd = (_ONE - fx) * (_ONE - fy), fx * (_ONE - fy), (_ONE - fx) * fy, fx * fy
    return (
        _mixed(radiance, row, x0, x1, 0, wa, wb, wc, wd),
        _mixed(radiance, row, x0, x1, 1, wa, wb, wc, wd),
        _mixed(radiance, row, x0, x1, 2, wa, wb, wc, wd),
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _mixed(radiance, row, x0, x1, k, wa, wb, wc, wd):
    above = radiance[row, x0, k] * wa + radiance[row, x1, k] * wb
    return above + radiance[row + 1, x0, k] * wc + radiance[row + 1, x1, k] * wd
