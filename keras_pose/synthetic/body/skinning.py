"""Linear blend skinning, compiled."""

import numpy as np
from numba import njit

INFLUENCES = 4


def sparse_weights(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(V, T) weights to indices and values (V, INFLUENCES) of the largest ones; rows sum to 1."""
    order = np.argpartition(-weights, INFLUENCES, axis=1)[:, :INFLUENCES]
    values = np.take_along_axis(weights, order, axis=1)
    values = np.maximum(values, 0)
    return order.astype(np.int32), (values / values.sum(1, keepdims=True)).astype(np.float32)


@njit(cache=True, fastmath=True)
def skin(
    rest: np.ndarray, indices: np.ndarray, weights: np.ndarray, matrices: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    """Moves (V, 3) resting vertices by weighted transforms (T, 3, 3) and (T, 3); see `sparse_weights`. All float32."""
    posed = np.empty_like(rest)
    for v in range(rest.shape[0]):
        x, y, z = rest[v, 0], rest[v, 1], rest[v, 2]
        px, py, pz = np.float32(0), np.float32(0), np.float32(0)
        for k in range(indices.shape[1]):
            w = weights[v, k]
            if w > 0:
                m, o = matrices[indices[v, k]], offsets[indices[v, k]]
                px += w * (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + o[0])
                py += w * (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + o[1])
                pz += w * (m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + o[2])
        posed[v, 0], posed[v, 1], posed[v, 2] = px, py, pz
    return posed
