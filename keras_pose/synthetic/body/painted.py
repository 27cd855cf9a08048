"""Clothes without their own mesh: parts of the skin, puffed up and colored as cloth."""

from dataclasses import dataclass

import numpy as np

from keras_pose.synthetic.body.template import BodyTemplate
from keras_pose.synthetic.body.wavefront import polygon_means


@dataclass(frozen=True)
class Cut:
    """How far clothes reach, in the positions of `BodyTemplate`.

    Attributes:
        sleeve, leg: end of the sleeves and of the trouser legs: 0 shoulder or hip, 1 elbow or knee, 2 wrist or ankle.
        waist: border between top and trousers on the trunk: 0 hips, 1 base of the neck.
        shoe: where the shoes begin on the leg.
    """

    sleeve: float
    leg: float
    waist: float
    shoe: float


def sample_cut(rng: np.random.Generator) -> Cut:
    """Draws sleeves from none to the wrist, trousers from mid-thigh to the ankle, and low shoes or boots."""
    return Cut(
        sleeve=float(rng.choice([rng.uniform(0.0, 0.3), rng.uniform(0.35, 0.9), rng.uniform(1, 1.7), 2.5])),
        leg=float(rng.choice([rng.uniform(0.45, 0.95), rng.uniform(1, 1.6), 1.97], p=[0.3, 0.2, 0.5])),
        waist=float(rng.uniform(0.1, 0.35)),
        shoe=float(rng.choice([1.97, rng.uniform(1.5, 1.9)], p=[0.8, 0.2])),
    )


def is_top(template: BodyTemplate, cut: Cut) -> np.ndarray:
    """(F,) bool: which skin triangles a top covers."""
    on_arm = _mean(template, template.sleeve >= 0) > 0.99
    on_trunk = ~on_arm & (_mean(template, template.on_neck) == 0) & (_mean(template, template.leg < 0) > 0)
    above_waist = _mean(template, template.trunk) > cut.waist
    return (on_trunk & above_waist) | (on_arm & (_mean(template, template.sleeve) < cut.sleeve))


def is_bottom(template: BodyTemplate, cut: Cut) -> np.ndarray:
    """(F,) bool: which skin triangles trousers or shorts cover."""
    off_arm = _mean(template, template.sleeve < 0) > 0
    below_waist = _mean(template, template.trunk) <= cut.waist
    return off_arm & below_waist & (_mean(template, template.leg) < cut.leg)


def is_shoe(template: BodyTemplate, cut: Cut) -> np.ndarray:
    """(F,) bool: which skin triangles a shoe covers."""
    return _mean(template, template.leg) > cut.shoe


def _mean(template: BodyTemplate, values: np.ndarray) -> np.ndarray:
    """(F,) means of (V,) `values` over the skin's polygons."""
    return polygon_means(values.astype(np.float64), template.faces, template.polygon)


def puff(
    base_mm: np.ndarray, template: BodyTemplate, cloth: np.ndarray, thickness_mm: float, smoothing: int
) -> np.ndarray:
    """Moves the vertices of the skin triangles `cloth` (C, 3) outward; returns all (V, 3) base vertices.

    First, `smoothing` rounds of averaging over neighbors remove muscles and creases, which cloth spans.
    """
    moved = np.zeros(len(base_mm), bool)
    moved[cloth] = True
    smooth = base_mm.copy()
    first, second = template.edges.T
    count = np.bincount(template.edges.ravel(), minlength=len(base_mm))[:, None]
    for _ in range(smoothing):
        sums = np.zeros_like(smooth)
        for axis in range(3):
            sums[:, axis] = np.bincount(first, smooth[second, axis], len(smooth))
            sums[:, axis] += np.bincount(second, smooth[first, axis], len(smooth))
        smooth[moved] = (sums / np.maximum(count, 1))[moved]
    normals = vertex_normals(smooth, template.faces)
    # averaging may have sunk the cloth below the skin; `sunk` compensates for that
    sunk = np.maximum(((base_mm - smooth) * normals).sum(1, keepdims=True), 0)
    result = base_mm.copy()
    result[moved] = (smooth + normals * (sunk + thickness_mm))[moved]
    return result


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals; zero for vertices without a triangle."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    sums = np.zeros_like(vertices)
    for axis in range(3):
        sums[:, axis] = np.bincount(faces.ravel(), np.repeat(normal[:, axis], 3), len(vertices))
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
