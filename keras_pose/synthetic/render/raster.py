"""A z-buffer for triangles, exact at the near plane and off the screen.

Triangles are drawn in homogeneous pixels (Olano and Greer 1997, "Triangle scan conversion using 2D homogeneous
coordinates"): the ray through pixel (u, v) meets the triangle's plane at depth det / s, with weights e_i / s of the
three corners q_i, where e_i = (u, v, 1) . (q_j x q_k), s = e_0 + e_1 + e_2 and det = q_0 . (q_1 x q_2). Weights are
perspective-correct by construction. A corner behind the camera needs no clipping, except for the bounding box of
visited pixels.
"""

from dataclasses import dataclass

import numba
import numpy as np

NEAR_MM = 60.0


@dataclass(frozen=True)
class Raster:
    """What each pixel of an (H, W) image shows.

    Attributes:
        face: (H, W) int32 index of the nearest triangle, -1 for none.
        depth_mm: (H, W) float32 along the camera's z axis; inf for none.
        barycentric: (H, W, 2) float32 weights of the first two corners in 3D; the third is 1 minus both.
    """

    face: np.ndarray
    depth_mm: np.ndarray
    barycentric: np.ndarray


def to_homogeneous_pixels(points_mm: np.ndarray, camera, scale: float = 1.0) -> np.ndarray:
    """(V, 3) world points to (u * z, v * z, z) float32 in the image of a `Camera`, drawn `scale` times as large."""
    intrinsics = camera.intrinsics * np.array([[scale], [scale], [1.0]])
    linear = (intrinsics @ camera.rotation).astype(np.float32)
    offset = (intrinsics @ camera.translation_mm).astype(np.float32)
    return np.ascontiguousarray(points_mm, np.float32) @ linear.T + offset


def rasterize(homogeneous_px: np.ndarray, faces: np.ndarray, size: tuple[int, int]) -> Raster:
    """Draws (F, 3) triangles of (V, 3) homogeneous pixels on a (height, width) raster; both sides are visible."""
    height, width = size
    face = np.full((height, width), -1, np.int32)
    depth = np.full((height, width), np.inf, np.float32)
    barycentric = np.zeros((height, width, 2), np.float32)
    _draw(homogeneous_px, faces, face, depth, barycentric)
    return Raster(face, depth, barycentric)


def rasterize_depth(homogeneous_px: np.ndarray, faces: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Computes only the (height, width) `depth_mm` of `rasterize`, for a shadow map."""
    depth = np.full(size, np.inf, np.float32)
    _draw(homogeneous_px, faces, np.empty((0, 0), np.int32), depth, np.empty((0, 0, 2), np.float32))
    return depth


@numba.njit(cache=True, nogil=True)
def smooth_normals(vertices, faces):
    """(V, 3) float32 unit normals: per vertex, the mean over its triangles, weighted by area."""
    normals = np.zeros_like(vertices)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0, z0 = vertices[a, 0], vertices[a, 1], vertices[a, 2]
        x1, y1, z1 = vertices[b, 0] - x0, vertices[b, 1] - y0, vertices[b, 2] - z0
        x2, y2, z2 = vertices[c, 0] - x0, vertices[c, 1] - y0, vertices[c, 2] - z0
        nx, ny, nz = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
        for corner in range(3):
            v = faces[f, corner]
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(len(normals)):
        x, y, z = normals[v, 0], normals[v, 1], normals[v, 2]
        scale = np.float32(1.0) / max(np.sqrt(x * x + y * y + z * z), np.float32(1e-12))
        normals[v, 0] = x * scale
        normals[v, 1] = y * scale
        normals[v, 2] = z * scale
    return normals


@numba.njit(cache=True, nogil=True)
def _box(q, a, b, c, width, height):
    """First and last pixel (x0, y0, x1, y1) whose center may be in the part of the triangle beyond the near plane."""
    u0, v0, u1, v1 = np.inf, np.inf, -np.inf, -np.inf
    corners = (a, b, c)
    for i in range(3):
        p, n = corners[i], corners[(i + 1) % 3]
        zp, zn = q[p, 2], q[n, 2]
        if zp >= NEAR_MM:
            u, v = q[p, 0] / zp, q[p, 1] / zp
            u0, v0, u1, v1 = min(u0, u), min(v0, v), max(u1, u), max(v1, v)
        if (zp >= NEAR_MM) != (zn >= NEAR_MM):
            t = (NEAR_MM - zp) / (zn - zp)
            u = (q[p, 0] + t * (q[n, 0] - q[p, 0])) / NEAR_MM
            v = (q[p, 1] + t * (q[n, 1] - q[p, 1])) / NEAR_MM
            u0, v0, u1, v1 = min(u0, u), min(v0, v), max(u1, u), max(v1, v)
    # clamped before the conversion, because a corner near the plane may be millions of pixels away
    x0 = int(np.ceil(min(max(u0 - 0.5, 0.0), width)))
    y0 = int(np.ceil(min(max(v0 - 0.5, 0.0), height)))
    x1 = int(np.floor(min(max(u1 - 0.5, -1.0), width - 1.0)))
    y1 = int(np.floor(min(max(v1 - 0.5, -1.0), height - 1.0)))
    return x0, y0, x1, y1


@numba.njit(cache=True, nogil=True)
def _draw(q, faces, face_buffer, depth_buffer, barycentric_buffer):
    height, width = depth_buffer.shape
    keeps_faces = face_buffer.shape[0] > 0
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0, x1, y1 = _box(q, a, b, c, width, height)
        if x0 > x1 or y0 > y1:
            continue
        ax, ay, az = np.float64(q[a, 0]), np.float64(q[a, 1]), np.float64(q[a, 2])
        bx, by, bz = np.float64(q[b, 0]), np.float64(q[b, 1]), np.float64(q[b, 2])
        cx, cy, cz = np.float64(q[c, 0]), np.float64(q[c, 1]), np.float64(q[c, 2])
        e0x, e0y, e0z = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
        e1x, e1y, e1z = cy * az - cz * ay, cz * ax - cx * az, cx * ay - cy * ax
        e2x, e2y, e2z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        det = ax * e0x + ay * e0y + az * e0z
        if det == 0.0:
            continue  # seen edge-on
        if det < 0.0:
            det = -det
            e0x, e0y, e0z = -e0x, -e0y, -e0z
            e1x, e1y, e1z = -e1x, -e1y, -e1z
            e2x, e2y, e2z = -e2x, -e2y, -e2z
        for y in range(y0, y1 + 1):
            v = y + 0.5
            r0, r1, r2 = e0y * v + e0z, e1y * v + e1z, e2y * v + e2z
            for x in range(x0, x1 + 1):
                u = x + 0.5
                w0, w1, w2 = e0x * u + r0, e1x * u + r1, e2x * u + r2
                if w0 < 0.0 or w1 < 0.0 or w2 < 0.0:
                    continue
                s = w0 + w1 + w2
                if s <= 0.0:
                    continue
                depth = det / s
                if depth < NEAR_MM or depth >= depth_buffer[y, x]:
                    continue
                depth_buffer[y, x] = depth
                if keeps_faces:
                    face_buffer[y, x] = f
                    barycentric_buffer[y, x, 0] = w0 / s
                    barycentric_buffer[y, x, 1] = w1 / s
