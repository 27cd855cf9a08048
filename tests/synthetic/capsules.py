"""People made of capsules, for tests that need a body but no assets."""

import numpy as np

from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.synthetic.people import Appearance
from keras_pose.synthetic.render.mesh import Material, Mesh, PosedPerson

# Standing with the arms down, facing +z, the person's left at +x, y up.
STANDING_MM = np.array(
    [
        *([0, 950, 0], [-110, 930, 0], [-115, 500, 20], [-120, 80, 0], [110, 930, 0], [115, 500, 20], [120, 80, 0]),
        *([0, 1180, 0], [0, 1430, -20], [0, 1520, 10], [0, 1700, 20]),
        *([180, 1400, 0], [260, 1120, 0], [280, 870, 60], [-180, 1400, 0], [-260, 1120, 0], [-280, 870, 60]),
    ],
    float,
)
_RADIUS_MM = {"spine": 130.0, "thorax": 140.0, "head_top": 95.0, "neck_nose": 60.0}


def capsule_person(
    rng: np.random.Generator, joints_mm: np.ndarray = STANDING_MM, noise_mm: float = 60.0
) -> PosedPerson:
    """A person whose limbs are capsules of random colors; joints move by `noise_mm`, then stand on the floor."""
    joints = joints_mm + rng.normal(0, noise_mm, joints_mm.shape)
    joints[:, 1] += 60.0 - joints[:, 1].min()
    parts = [
        _capsule(joints[a], joints[b], _RADIUS_MM.get(HUMAN36M_17.joint_names[b], 55.0)) for a, b in HUMAN36M_17.bones
    ]
    count = len(parts[0][0])
    faces = np.concatenate([part[1] + i * count for i, part in enumerate(parts)])
    uv = np.zeros((len(faces), 3, 2), np.float32)
    material = np.repeat(np.arange(len(parts), dtype=np.int32), len(parts[0][1]))
    materials = [Material(rng.integers(0, 256, (2, 2, 3)).astype(np.uint8)) for _ in parts]
    vertices = np.concatenate([part[0] for part in parts]).astype(np.float32)
    return PosedPerson(Mesh(vertices, faces.astype(np.int32), uv, material, materials), joints)


class CapsulePeople:
    """Stands in for `people.People`; a class, so that worker processes find it by name."""

    def __init__(self, settings):
        self.settings = settings

    def sample(self, rng: np.random.Generator, split: str, index: int) -> Appearance:
        return Appearance(capsule_person(rng), f"{split}_capsule", "stand", index)


def _capsule(start, end, radius, around=12, along=8):
    """Vertices and faces of an ellipsoid-ended tube between two points."""
    axis = end - start
    length = np.linalg.norm(axis)
    axis = axis / length
    side = np.cross(axis, [0.3, 0.4, 0.86])
    side /= np.linalg.norm(side)
    other = np.cross(axis, side)
    angle = np.linspace(0, np.pi, along)
    height = length / 2 - np.cos(angle) * (length / 2 + radius)
    turn = np.linspace(0, 2 * np.pi, around + 1)
    ring = np.cos(turn)[:, None] * side + np.sin(turn)[:, None] * other
    vertices = start + height[:, None, None] * axis + (radius * np.sin(angle))[:, None, None] * ring
    index = np.arange(along * (around + 1)).reshape(along, around + 1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return vertices.reshape(-1, 3), faces
