"""The interface between the body side and the scene side of the generator.

World frame of the generator: y up, ground at y = 0, millimeters, right-handed. A person at rest faces +z, so the
person's left is at +x.
"""

from dataclasses import dataclass

import numpy as np


@dataclass
class Material:
    """A surface material: `texture` (h, w, 3) uint8 sRGB, repeated outside [0, 1]; `specular` 0 to 1."""

    texture: np.ndarray
    specular: float = 0.0


@dataclass
class Mesh:
    """Triangles, each with texture coordinates and a material.

    Attributes:
        vertices_mm: (V, 3) float32, world frame.
        faces: (F, 3) int32 vertex indices, counter-clockwise seen from outside.
        uv: (F, 3, 2) float32 texture coordinates of each corner; (0, 0) is the corner of the first pixel.
        material: (F,) int32 index into `materials`.
    """

    vertices_mm: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    material: np.ndarray
    materials: list[Material]


@dataclass
class PosedPerson:
    """A dressed person in a pose.

    `joints_mm` (J, 3) are the joints of `keras_pose.core.skeleton.HUMAN36M_17`, world frame.
    """

    mesh: Mesh
    joints_mm: np.ndarray
