"""Rotation matrices and what bones need of them. Matrices act on column vectors."""

import numpy as np


def about(axis: np.ndarray, angle: float | np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotations by `angle` (...) radians about the unit vector `axis` (3,) (Rodrigues)."""
    x, y, z = np.asarray(axis, np.float64)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.asarray(angle, np.float64)[..., None, None]
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def from_vector(vectors: np.ndarray) -> np.ndarray:
    """(..., 3) rotation vectors (axis times angle, radians) to (..., 3, 3) rotations."""
    vectors = np.asarray(vectors, np.float64)
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)
    # np.sinc(t) is sin(pi t) / (pi t): finite at zero
    half = np.sinc(angle / (2 * np.pi))
    return np.eye(3) + np.sinc(angle / np.pi) * cross + 0.5 * half**2 * (cross @ cross)


def frame(direction: np.ndarray, side: np.ndarray) -> np.ndarray:
    """(3, 3) orthonormal columns: along `direction`, along `side` made perpendicular to it, and their product."""
    first = np.asarray(direction, np.float64) / np.linalg.norm(direction)
    second = np.asarray(side, np.float64) - first * (first @ np.asarray(side, np.float64))
    second /= np.linalg.norm(second)
    return np.stack([first, second, np.cross(first, second)], axis=1)


def between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(3, 3) the smallest rotation that takes direction `start` to direction `end` (not opposite ones)."""
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    axis = np.cross(start, end)
    sine, cosine = np.linalg.norm(axis), start @ end
    return np.eye(3) if sine < 1e-12 else about(axis / sine, np.arctan2(sine, cosine))


def twist_angle(rotations: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """(...) radians in [-pi, pi] by which (..., 3, 3) `rotations` turn about the unit vectors `axis` (..., 3).

    The rest of the rotation, the swing, is the smallest one that takes `axis` where the rotation takes it.
    """
    vector, scalar = _quaternion(rotations)
    angle = 2 * np.arctan2((vector * axis).sum(-1), scalar)
    return np.where(angle > np.pi, angle - 2 * np.pi, angle)


def to_global(local: np.ndarray, parents: tuple[int, ...]) -> np.ndarray:
    """(..., B, 3, 3) local rotations to rotations of the world; parents come before their children."""
    turns = np.array(local, np.float64)
    for b, parent in enumerate(parents):
        if parent >= 0:
            turns[..., b, :, :] = turns[..., parent, :, :] @ turns[..., b, :, :]
    return turns


def to_local(turns: np.ndarray, parents: tuple[int, ...]) -> np.ndarray:
    """The inverse of `to_global`."""
    local = np.array(turns)
    for b, parent in enumerate(parents):
        if parent >= 0:
            local[..., b, :, :] = np.swapaxes(turns[..., parent, :, :], -1, -2) @ turns[..., b, :, :]
    return local


def mirrored(rotations: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotations seen in a mirror that swaps left (+x) and right."""
    return rotations * np.array([[1, -1, -1], [-1, 1, 1], [-1, 1, 1]], rotations.dtype)


def to_vector(rotations: np.ndarray) -> np.ndarray:
    """The inverse of `from_vector`, for angles up to pi."""
    vector, scale = _quaternion(rotations)
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    angle = 2 * np.arctan2(length, scale[..., None])
    return vector * np.where(length > 1e-12, angle / np.maximum(length, 1e-12), 0)


def _quaternion(rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vector (..., 3) and scalar part (...) >= 0 of the unit quaternions of (..., 3, 3) rotations.

    Takes the longest column of the quaternion's outer product with itself, so no rotation is ill-conditioned.
    """
    r = np.asarray(rotations, np.float64)
    trace = np.trace(r, axis1=-2, axis2=-1)
    table = np.empty((*r.shape[:-2], 4, 4))  # 4 q q^T, q = (x, y, z, w)
    table[..., :3, :3] = r + np.swapaxes(r, -1, -2)
    for i in range(3):
        table[..., i, i] = 1 - trace + 2 * r[..., i, i]
        j, k = (i + 1) % 3, (i + 2) % 3
        table[..., i, 3] = table[..., 3, i] = r[..., k, j] - r[..., j, k]
    table[..., 3, 3] = 1 + trace
    best = np.einsum("...ii->...i", table).argmax(-1)
    q = np.take_along_axis(table, best[..., None, None], axis=-2)[..., 0, :]
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    q = np.where(q[..., 3:] < 0, -q, q)
    return q[..., :3], q[..., 3]
