"""Garments in MakeHuman's format: a mesh (.obj) and its attachment to the base mesh (.mhclo)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.synthetic.body.wavefront import ObjMesh, read_obj

_AXES = ("x_scale", "y_scale", "z_scale")


@dataclass
class Garment:
    """A garment that fits any body.

    Attributes:
        mesh: the triangles and texture coordinates; its own vertices are not used.
        anchors: (V, 3) the base vertices that each garment vertex is attached to.
        weights: (V, 3) of the anchors.
        offsets: (V, 3) from the weighted anchors, on the body that the garment was designed for.
        scales: per axis, two base vertices and their distance along the axis on that body.
        covers: (base V,) bool, the skin to hide below the garment.
        tags: its maker's labels, in lower case ("female", "shoes", ...).
    """

    name: str
    mesh: ObjMesh
    anchors: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray
    scales: tuple[tuple[int, int, float], ...]
    covers: np.ndarray
    tags: frozenset[str]

    def fit(self, base_mm: np.ndarray) -> np.ndarray:
        """(V, 3) float32 mm: the garment's vertices on a body of (base V, 3) vertices (MakeHuman's mhclo rule)."""
        scale = [
            abs(base_mm[a, axis] - base_mm[b, axis]) / distance for axis, (a, b, distance) in enumerate(self.scales)
        ]
        anchors = np.einsum("vk,vkd->vd", self.weights, base_mm[self.anchors])
        return (anchors + self.offsets * np.array(scale)).astype(np.float32)

    def skin_weights(self, base_weights: np.ndarray) -> np.ndarray:
        """(V, T) skin weights, from those of its anchors, (base V, T)."""
        weights = np.einsum("vk,vkt->vt", np.maximum(self.weights, 0), base_weights[self.anchors])
        return weights / weights.sum(1, keepdims=True)


def read_garment(path: Path, base_vertices: int) -> Garment:
    """Reads a .mhclo file and its .obj file.

    Raises UserError that names the file if either cannot be read, or if they do not fit each other or the base mesh.
    """
    covers = np.zeros(base_vertices, bool)
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        fields, tags, rows = _parse(lines, covers)
        table = np.array(rows, np.float64).reshape(-1, 9)
        scales = tuple(_scale(fields, axis) for axis in _AXES)
        obj = path.parent / fields["obj_file"][0]
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise UserError(f"{path} is not a garment in .mhclo format ({error}); fetch the file again") from error
    mesh = read_obj(obj)
    anchors = table[:, :3].astype(np.int32)
    used = [anchors.max(initial=-1), *(index for a, b, _ in scales for index in (a, b))]
    if len(table) != len(mesh.vertices) or max(used) >= base_vertices or anchors.min(initial=0) < 0:
        raise UserError(f"{path} does not fit {obj.name} or the base mesh; fetch both files again")
    return Garment(path.stem, mesh, anchors, table[:, 3:6], table[:, 6:], scales, covers, frozenset(tags))


def _parse(lines: list[str], covers: np.ndarray) -> tuple[dict[str, list[str]], set[str], list[list[float]]]:
    """Fields by their first word, tags, and a row of nine numbers per vertex; sets `covers` (base V,)."""
    fields: dict[str, list[str]] = {}
    tags, rows, section = set(), [], ""
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            if words[0] in ("verts", "delete_verts"):
                section = words[0]
            elif section == "verts" and _is_number(words[0]):
                rows.append(_anchor(words))
            elif section == "delete_verts" and _is_number(words[0]):
                _mark_ranges(words, covers)
            elif words[0] == "tag":
                tags.add(" ".join(words[1:]).lower())
            else:
                fields[words[0]] = words[1:]
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return fields, tags, rows


def _scale(fields: dict[str, list[str]], axis: str) -> tuple[int, int, float]:
    """Two base vertices and their distance; without the field, offsets have no effect."""
    first, second, distance = fields.get(axis, ("0", "0", "inf"))
    return int(first), int(second), float(distance)


def _is_number(word: str) -> bool:
    return word.lstrip("-").isdigit()


def _anchor(words: list[str]) -> list[float]:
    """Three vertices, three weights, three offsets; a line with one number attaches to that vertex alone."""
    if len(words) == 1:
        return [float(words[0])] * 3 + [1.0] + [0.0] * 5
    if len(words) < 9:
        raise ValueError(f"{len(words)} numbers, 9 expected")
    return [float(word) for word in words[:9]]


def _mark_ranges(words: list[str], covers: np.ndarray) -> None:
    """Sets `covers` (base V,) for indices and ranges: `3 5 - 8` marks 3, 5, 6, 7 and 8."""
    first = None
    ranged = False
    for word in words:
        if word == "-":
            ranged = True
            continue
        index = int(word)
        covers[first + 1 if ranged and first is not None else index : index + 1] = True
        first, ranged = index, False
