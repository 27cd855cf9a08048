"""Rotation matrices and their operations on bones. Matrices act on column vectors.

SciPy's `Rotation` converts between matrices, vectors and quaternions: it takes 10 to 20 microseconds for 31 rotations,
NumPy 38 to 50. `about`, `frame` and `between` use NumPy, because SciPy takes 13 microseconds where `about` takes 11,
and its `align_vectors` takes 81 where `between` takes 36. SciPy has no bone chains and no mirroring.
"""

import numpy as np
from scipy.spatial.transform import Rotation


def about(axis: np.ndarray, angle: float | np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotations by `angle` (...) radians about the unit vector `axis` (3,) (Rodrigues)."""
    x, y, z = np.asarray(axis, np.float64)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.asarray(angle, np.float64)[..., None, None]
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def from_vector(vectors: np.ndarray) -> np.ndarray:
    """(..., 3) rotation vectors (axis times angle, radians) to (..., 3, 3) rotations."""
    vectors = np.asarray(vectors, np.float64)
    return Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(*vectors.shape, 3)


def frame(direction: np.ndarray, side: np.ndarray) -> np.ndarray:
    """(3, 3) orthonormal columns: along `direction`, along `side` made perpendicular to it, and their product."""
    first = np.asarray(direction, np.float64) / np.linalg.norm(direction)
    second = np.asarray(side, np.float64) - first * (first @ np.asarray(side, np.float64))
    second /= np.linalg.norm(second)
    return np.stack([first, second, np.cross(first, second)], axis=1)


def between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(3, 3) the smallest rotation from direction `start` to direction `end` (which must not be opposite)."""
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    axis = np.cross(start, end)
    sine, cosine = np.linalg.norm(axis), start @ end
    return np.eye(3) if sine < 1e-12 else about(axis / sine, np.arctan2(sine, cosine))


def twist_angle(rotations: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """(...) radians in [-pi, pi] by which (..., 3, 3) `rotations` turn about the unit vectors `axis` (..., 3).

    The rest of the rotation, the swing, is the smallest one that moves `axis` to where the rotation moves it.
    """
    quaternions = _rotation(rotations).as_quat(canonical=True).reshape(*rotations.shape[:-2], 4)  # scalar last, >= 0
    angle = 2 * np.arctan2((quaternions[..., :3] * axis).sum(-1), quaternions[..., 3])
    return np.where(angle > np.pi, angle - 2 * np.pi, angle)


def to_global(local: np.ndarray, parents: tuple[int, ...]) -> np.ndarray:
    """(..., B, 3, 3) local rotations to world rotations; in `parents`, -1 is no parent and parents come first."""
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
    """(..., 3, 3) rotations as seen in a mirror that swaps left (+x) and right."""
    return rotations * np.array([[1, -1, -1], [-1, 1, 1], [-1, 1, 1]], rotations.dtype)


def to_vector(rotations: np.ndarray) -> np.ndarray:
    """The inverse of `from_vector`, for angles up to pi."""
    return _rotation(rotations).as_rotvec().reshape(rotations.shape[:-1])


def _rotation(rotations: np.ndarray) -> Rotation:
    """(..., 3, 3) rotations for SciPy, flattened to (N, 3, 3); skips its check, because they are orthogonal."""
    return Rotation.from_matrix(np.asarray(rotations, np.float64).reshape(-1, 3, 3), assume_valid=True)
