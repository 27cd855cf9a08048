"""Reads Wavefront .obj meshes."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_pose.core.errors import UserError


@dataclass
class ObjMesh:
    """A mesh whose polygons are cut into triangles.

    Attributes:
        vertices: (V, 3) float32, the file's unit.
        uv: (T, 2) float32 texture coordinates, (0, 0) at the lower left as in the file.
        faces: (F, 3) int32 vertex indices.
        face_uv: (F, 3) int32 indices into `uv`.
        group: (F,) the name of each triangle's group.
        polygon: (F,) int32, the polygon of the file that each triangle is part of.
    """

    vertices: np.ndarray
    uv: np.ndarray
    faces: np.ndarray
    face_uv: np.ndarray
    group: np.ndarray
    polygon: np.ndarray


def read_obj(path: str | os.PathLike) -> ObjMesh:
    """Reads a file; raises UserError that names it if it is not an .obj mesh or refers to missing vertices."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
        mesh = _parse(lines)
    except (OSError, ValueError, IndexError, OverflowError) as error:  # OverflowError: an index exceeds int32
        raise UserError(f"{path} is not a mesh in .obj format ({error}); fetch the file again") from error
    bad_vertex = len(mesh.faces) and not 0 <= mesh.faces.min() <= mesh.faces.max() < len(mesh.vertices)
    bad_uv = len(mesh.faces) and not 0 <= mesh.face_uv.min() <= mesh.face_uv.max() < len(mesh.uv)
    if not len(mesh.faces) or bad_vertex or bad_uv:
        raise UserError(f"{path} has no faces, or faces with missing vertices; fetch the file again")
    return mesh


def _parse(lines: list[str]) -> ObjMesh:
    vertices, uv, corners, groups, polygons = [], [(0.0, 0.0)], [], [], []
    group, count = "", 0
    for line in lines:
        words = line.split()
        if not words:
            continue
        if words[0] == "v":
            vertices.append((float(words[1]), float(words[2]), float(words[3])))
        elif words[0] == "vt":
            uv.append((float(words[1]), float(words[2])))
        elif words[0] == "g":
            group = words[1] if len(words) > 1 else ""
        elif words[0] == "f":
            polygon = [_corner(word) for word in words[1:]]
            for i in range(1, len(polygon) - 1):
                corners.append((polygon[0], polygon[i], polygon[i + 1]))
                groups.append(group)
                polygons.append(count)
            count += 1
    index = np.array(corners, np.int32).reshape(-1, 3, 2)
    return ObjMesh(
        np.array(vertices, np.float32).reshape(-1, 3),
        np.array(uv, np.float32),
        np.ascontiguousarray(index[..., 0]) - 1,
        np.ascontiguousarray(index[..., 1]),  # 0 is a placeholder for corners without a coordinate
        np.array(groups, str),
        np.array(polygons, np.int32),
    )


def _corner(word: str) -> tuple[int, int]:
    parts = word.split("/")
    return int(parts[0]), int(parts[1]) if len(parts) > 1 and parts[1] else 0


def polygon_means(values: np.ndarray, faces: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """(F,) for each triangle, the mean of (V,) `values` over the corners of all triangles of its polygon.

    A cut by these means follows the edges of polygons, which keeps hems from fraying.
    """
    sums = np.bincount(polygon, values[faces].sum(1))
    return (sums / np.maximum(3 * np.bincount(polygon), 1))[polygon]
