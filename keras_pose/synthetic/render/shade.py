"""Shades a raster: textures, sky light, sun with shadows, and the mean over the samples of each pixel."""

from dataclasses import dataclass

import numba
import numpy as np

from keras_pose.synthetic.render.light import Light, ShadowMap, lit_share, sky_light
from keras_pose.synthetic.render.mesh import Mesh
from keras_pose.synthetic.render.raster import Raster, smooth_normals

_ONE, _INVERSE_PI = np.float32(1), np.float32(1 / np.pi)  # an int would make all dependent values float64
_WHITE = np.float32(2.8)  # exposed radiance that becomes white
_SHADOW_BIAS_MM = np.float32(14.0)
_GLOSS = np.float32(24.0)  # exponent of the highlights

SRGB_TO_LINEAR = np.array(
    [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in np.arange(256) / 255], np.float32
)


@dataclass(frozen=True)
class Solids:
    """Meshes joined for drawing; vertices, faces, uv and material are as in `Mesh`.

    Attributes:
        normals: (V, 3) float32 unit normals of the vertices.
        object_of_face: (F,) int32 index of each face's mesh.
        texels: (N,) uint8, all textures concatenated.
        texture_of_material: (M, 3) offset in `texels`, height and width of each texture.
        specular: (M,) float32.
    """

    vertices_mm: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    material: np.ndarray
    object_of_face: np.ndarray
    texels: np.ndarray
    texture_of_material: np.ndarray
    specular: np.ndarray


def join_meshes(meshes: list[Mesh]) -> Solids:
    """Joins meshes into one."""
    first_vertex = np.cumsum([0] + [len(m.vertices_mm) for m in meshes])
    first_material = np.cumsum([0] + [len(m.materials) for m in meshes])
    materials = [material for mesh in meshes for material in mesh.materials]
    sizes = [m.texture.size for m in materials]
    offsets = np.cumsum([0] + sizes[:-1])
    vertices = np.concatenate([m.vertices_mm for m in meshes]).astype(np.float32, copy=False)
    faces = np.concatenate([m.faces + np.int32(v) for m, v in zip(meshes, first_vertex, strict=False)])
    return Solids(
        vertices_mm=vertices,
        normals=smooth_normals(vertices, faces),
        faces=faces,
        uv=np.concatenate([m.uv for m in meshes]).astype(np.float32, copy=False),
        material=np.concatenate([m.material + np.int32(k) for m, k in zip(meshes, first_material, strict=False)]),
        object_of_face=np.repeat(np.arange(len(meshes), dtype=np.int32), [len(m.faces) for m in meshes]),
        texels=np.concatenate([np.ascontiguousarray(m.texture).reshape(-1) for m in materials]),
        texture_of_material=np.array(
            [[o, *m.texture.shape[:2]] for o, m in zip(offsets, materials, strict=True)], np.int32
        ),
        specular=np.array([m.specular for m in materials], np.float32),
    )


def shade(
    raster: Raster, solids: Solids, background: np.ndarray, light: Light, shadows: ShadowMap, eye_mm: np.ndarray
) -> np.ndarray:
    """(H, W, 3) float32 linear in [0, 1]: the shaded raster over a background of the same shape and range.

    The raster is twice as large as the image.
    """
    return _resolve(
        *(raster.face, raster.barycentric, background),
        *(solids.vertices_mm, solids.normals, solids.faces, solids.uv, solids.material),
        *(solids.texels, solids.texture_of_material, solids.specular, SRGB_TO_LINEAR),
        *(light.sky, light.sun_direction, light.sun, np.float32(light.exposure)),
        *(shadows.depth_mm, shadows.matrix, eye_mm.astype(np.float32)),
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def tone(radiance):
    """Reinhard's curve from exposed radiance to linear [0, 1]: nearly straight in the dark, white from `_WHITE` on."""
    return min(radiance * (_ONE + radiance / (_WHITE * _WHITE)) / (_ONE + radiance), _ONE)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def texel(texels, offset, height, width, u, v, linear):
    """A repeated texture's linear color (red, green, blue) at (u, v), interpolated between pixel centers."""
    x = (u - np.floor(u)) * np.float32(width) - np.float32(0.5)
    y = (v - np.floor(v)) * np.float32(height) - np.float32(0.5)
    column, row = int(np.floor(x)), int(np.floor(y))
    fx, fy = x - np.float32(column), y - np.float32(row)
    x0 = column if column >= 0 else column + width
    y0 = row if row >= 0 else row + height
    x1 = column + 1 if column + 1 < width else 0
    y1 = row + 1 if row + 1 < height else 0
    a, b = offset + 3 * (y0 * width + x0), offset + 3 * (y0 * width + x1)
    c, d = offset + 3 * (y1 * width + x0), offset + 3 * (y1 * width + x1)
    wa, wb, wc, wd = (_ONE - fx) * (_ONE - fy), fx * (_ONE - fy), (_ONE - fx) * fy, fx * fy
    red = linear[texels[a]] * wa + linear[texels[b]] * wb + linear[texels[c]] * wc + linear[texels[d]] * wd
    a, b, c, d = a + 1, b + 1, c + 1, d + 1
    green = linear[texels[a]] * wa + linear[texels[b]] * wb + linear[texels[c]] * wc + linear[texels[d]] * wd
    a, b, c, d = a + 1, b + 1, c + 1, d + 1
    blue = linear[texels[a]] * wa + linear[texels[b]] * wb + linear[texels[c]] * wc + linear[texels[d]] * wd
    return red, green, blue


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _frame(vertices, normals, a, b, c, w0, w1, w2, eye):
    """A sample's point and unit normal, facing the side from which its triangle is seen (clothes are open)."""
    px = w0 * vertices[a, 0] + w1 * vertices[b, 0] + w2 * vertices[c, 0]
    py = w0 * vertices[a, 1] + w1 * vertices[b, 1] + w2 * vertices[c, 1]
    pz = w0 * vertices[a, 2] + w1 * vertices[b, 2] + w2 * vertices[c, 2]
    nx = w0 * normals[a, 0] + w1 * normals[b, 0] + w2 * normals[c, 0]
    ny = w0 * normals[a, 1] + w1 * normals[b, 1] + w2 * normals[c, 1]
    nz = w0 * normals[a, 2] + w1 * normals[b, 2] + w2 * normals[c, 2]
    x1, y1, z1 = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
    x2, y2, z2 = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
    facing = (y1 * z2 - z1 * y2) * (eye[0] - px) + (z1 * x2 - x1 * z2) * (eye[1] - py)
    facing += (x1 * y2 - y1 * x2) * (eye[2] - pz)
    scale = _ONE / max(np.sqrt(nx * nx + ny * ny + nz * nz), np.float32(1e-6))
    if facing < 0:
        scale = -scale
    return px, py, pz, nx * scale, ny * scale, nz * scale


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _highlight(px, py, pz, nx, ny, nz, eye, sun_direction):
    """The Blinn-Phong highlight, (normal . half vector)^_GLOSS."""
    vx, vy, vz = eye[0] - px, eye[1] - py, eye[2] - pz
    scale = _ONE / np.sqrt(vx * vx + vy * vy + vz * vz)
    hx, hy, hz = vx * scale + sun_direction[0], vy * scale + sun_direction[1], vz * scale + sun_direction[2]
    length = max(np.sqrt(hx * hx + hy * hy + hz * hz), np.float32(1e-6))
    return max((nx * hx + ny * hy + nz * hz) / length, np.float32(0.0)) ** _GLOSS


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _is_plain(face, material, y, x):
    """Whether all four samples of a pixel show one material."""
    a, b, c, d = face[2 * y, 2 * x], face[2 * y, 2 * x + 1], face[2 * y + 1, 2 * x], face[2 * y + 1, 2 * x + 1]
    if a < 0 or b < 0 or c < 0 or d < 0:
        return False
    return material[a] == material[b] == material[c] == material[d]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _resolve(
    face, barycentric, background, vertices, normals, faces, uv, material, texels, textures, specular, linear,
    sky, sun_direction, sun, exposure, shadow_depth, shadow_matrix, eye,
):  # fmt: skip
    height, width = background.shape[:2]
    image = np.zeros_like(background)
    for y in range(height):
        for x in range(width):
            plain = _is_plain(face, material, y, x)  # then two samples on the diagonal suffice
            weight = np.float32(0.5 if plain else 0.25)
            for sample in range(0, 4, 3 if plain else 1):
                sy, sx = 2 * y + sample // 2, 2 * x + sample % 2
                f = face[sy, sx]
                if f < 0:
                    for k in range(3):
                        image[y, x, k] += background[y, x, k] * weight
                    continue
                w0, w1 = barycentric[sy, sx, 0], barycentric[sy, sx, 1]
                w2 = _ONE - w0 - w1
                a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                px, py, pz, nx, ny, nz = _frame(vertices, normals, a, b, c, w0, w1, w2, eye)
                u = w0 * uv[f, 0, 0] + w1 * uv[f, 1, 0] + w2 * uv[f, 2, 0]
                v = w0 * uv[f, 0, 1] + w1 * uv[f, 1, 1] + w2 * uv[f, 2, 1]
                cosine = nx * sun_direction[0] + ny * sun_direction[1] + nz * sun_direction[2]
                direct, shine = np.float32(0.0), np.float32(0.0)
                m = material[f]
                if cosine > 0:
                    direct = cosine * lit_share(shadow_depth, shadow_matrix, px, py, pz, _SHADOW_BIAS_MM)
                    if specular[m] > 0 and direct > 0:
                        shine = specular[m] * _highlight(px, py, pz, nx, ny, nz, eye, sun_direction) * direct
                albedo = texel(texels, textures[m, 0], textures[m, 1], textures[m, 2], u, v, linear)
                arriving = sky_light(sky, nx, ny, nz)
                for k in range(3):
                    radiance = albedo[k] * (arriving[k] + sun[k] * direct) * _INVERSE_PI + sun[k] * shine
                    image[y, x, k] += tone(radiance * exposure) * weight
    return image
