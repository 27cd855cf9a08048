"""Objects around people, in their hands or in front of them: boxes, balls and rods with procedural textures."""

import functools

import numpy as np

from keras_pose.core.geometry import Camera
from keras_pose.synthetic.render.camera import camera_position
from keras_pose.synthetic.render.mesh import Material, Mesh

_WRISTS, _ANKLES = (13, 16), (3, 6)


@functools.cache
def _box() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (24, 3) in [-1, 1], faces (12, 3) and uv (12, 3, 2); corners are not shared, which keeps edges sharp."""
    vertices, faces, uv = [], [], []
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)
    for axis in range(3):
        for sign in (-1, 1):
            corners = np.insert(square if sign > 0 else square[::-1], axis, sign, axis=1)
            if axis == 1:
                corners = corners[::-1]  # (x, z) has the opposite orientation of (y, z) and (x, y)
            faces += [[len(vertices) + k for k in triangle] for triangle in ((0, 1, 2), (0, 2, 3))]
            uv += [[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]]
            vertices += list(corners)
    return np.array(vertices, np.float32), np.array(faces, np.int32), np.array(uv, np.float32)


@functools.cache
def _turned(kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A ball or a rod along y in [-1, 1], a profile rotated about the y axis; vertices, faces and uv as in `_box`."""
    around = 14
    if kind == "ball":
        angle = np.linspace(0, np.pi, 9)
        radius, height = np.sin(angle), np.cos(angle)
    else:
        radius, height = np.array([0.0, 1.0, 1.0, 1.0, 1.0, 0.0]), np.array([1.0, 1.0, 1.0, -1.0, -1.0, -1.0])
    turn = np.linspace(0, 2 * np.pi, around + 1)
    grid = [radius[:, None] * np.sin(turn), np.repeat(height[:, None], around + 1, 1), radius[:, None] * np.cos(turn)]
    vertices = np.stack(grid, axis=-1).reshape(-1, 3)
    index = np.arange(len(vertices)).reshape(len(radius), around + 1)
    a, b, c, d = (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:])
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    coordinates = np.stack(np.broadcast_arrays(turn / 2 / np.pi, ((1 - height) / 2)[:, None]), -1).reshape(-1, 2)
    return vertices.astype(np.float32), faces.astype(np.int32), coordinates[faces].astype(np.float32)


def make_prop(
    rng: np.random.Generator, surfaces: np.ndarray, half_size_mm: np.ndarray, center_mm: np.ndarray, upright: bool
) -> Mesh:
    """A box, ball or rod with half sizes (3,), rotated about the vertical, or about any axis if not `upright`."""
    kind = rng.choice(["box", "box", "box", "rod", "ball"])
    vertices, faces, uv = _box() if kind == "box" else _turned(kind)
    rotation = random_rotation(rng, None if upright else 3.0)
    vertices = (vertices * half_size_mm) @ rotation.T + center_mm
    texture = surfaces[rng.integers(len(surfaces))]
    if rng.random() < 0.5:  # plain objects are common too
        texture = texture[:1, :1]
    texture = (texture * rng.uniform(0.5, 1.1, 3)).clip(0, 255).astype(np.uint8)
    material = Material(texture, float(max(rng.normal(0, 0.2), 0)))
    uv = uv * np.float32(np.exp(rng.uniform(-1, 1)))
    return Mesh(vertices.astype(np.float32), faces, uv, np.zeros(len(faces), np.int32), [material])


def random_rotation(rng: np.random.Generator, tilt_rad: float | None) -> np.ndarray:
    """(3, 3) any rotation about y, then a tilt of at most `tilt_rad` about a horizontal axis; None for no tilt."""
    cos, sin = np.cos(yaw := rng.uniform(0, 2 * np.pi)), np.sin(yaw)
    rotation = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    if tilt_rad is None:
        return rotation
    angle, axis_turn = rng.uniform(-tilt_rad, tilt_rad), rng.uniform(0, 2 * np.pi)
    axis = np.array([np.cos(axis_turn), 0.0, np.sin(axis_turn)])
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return (np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew) @ rotation


def furniture(rng: np.random.Generator, surfaces: np.ndarray, center_mm: np.ndarray, camera: Camera) -> list[Mesh]:
    """Up to six objects on the floor, beside or behind the person as the camera sees it, never in front."""
    towards = camera_position(camera) - center_mm
    props = []
    for _ in range(int(rng.integers(1, 7))):
        half = np.exp(rng.normal(np.log(280.0), 0.7, 3)).clip(20, 1500)
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(500.0, 5000.0)
        place = np.array([np.cos(angle) * distance, 0.0, np.sin(angle) * distance])
        if place @ towards > 0:
            place = -place
        place += center_mm
        place[1] = half[1]
        props.append(make_prop(rng, surfaces, half, place, upright=True))
    return props


def seat(rng: np.random.Generator, surfaces: np.ndarray, joints_mm: np.ndarray) -> list[Mesh]:
    """An object under a person who sits: pelvis at chair height, feet on the floor in front. Empty for other poses."""
    pelvis, ankles = joints_mm[0], joints_mm[list(_ANKLES)]
    before = np.linalg.norm((ankles - pelvis)[:, [0, 2]], axis=-1).min()
    if not (300.0 < pelvis[1] < 650.0 and ankles[:, 1].max() < 250.0 and before > 200.0):
        return []
    height = pelvis[1] - 95.0
    half = np.array([rng.uniform(120.0, 170.0), height / 2, rng.uniform(120.0, 170.0)])
    behind = (pelvis - ankles.mean(0)) * [0.15, 0.0, 0.15]
    return [make_prop(rng, surfaces, half, np.array([pelvis[0], height / 2, pelvis[2]]) + behind, upright=True)]


def held_thing(rng: np.random.Generator, surfaces: np.ndarray, joints_mm: np.ndarray) -> Mesh:
    """An object at a random hand, the size of a stick, a bag or a ball."""
    wrist = int(rng.choice(_WRISTS))
    hand = joints_mm[wrist] + 0.3 * (joints_mm[wrist] - joints_mm[wrist - 1])
    half = np.exp(rng.normal(np.log(60.0), 0.8, 3)).clip(8, 450)
    offset = rng.normal(0, 0.4, 3) * half
    return make_prop(rng, surfaces, half, hand + offset, upright=False)


def occluder(rng: np.random.Generator, surfaces: np.ndarray, joints_mm: np.ndarray, camera: Camera) -> Mesh:
    """A box, rod or ball between the camera and part of the person."""
    eye = camera_position(camera)
    target = joints_mm[rng.integers(len(joints_mm))] + rng.normal(0, 120.0, 3)
    share = rng.uniform(0.35, 0.85)
    center = eye + share * (target - eye)
    half = np.exp(rng.normal(np.log(150.0), 0.6, 3)).clip(25, 450) * share
    if rng.random() < 0.3:
        half[1] = half[1] + rng.uniform(200.0, 1500.0)  # a post, a door frame, a tree
    return make_prop(rng, surfaces, half, center, upright=rng.random() < 0.6)
