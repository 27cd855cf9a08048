"""Transfers weights to a wider network with the same layers, which then computes the same (arXiv:1511.05641).

Old channels come first in every tensor, new ones after them. Old channels do not read from new ones, so the outputs do
not change. New channels start with random weights; training learns to read them.
"""

from collections.abc import Sequence

import numpy as np

Shape = tuple[int, ...]


def can_widen(shapes: dict[str, list[Shape]], wider: dict[str, list[Shape]]) -> bool:
    """Whether weights of `shapes`, by layer name, fit into `wider`: the same layers, all at least as wide."""
    return shapes.keys() == wider.keys() and all(_fit(ours, wider[name]) for name, ours in shapes.items())


def _fit(ours: list[Shape], wider: list[Shape]) -> bool:
    if [len(shape) for shape in ours] != [len(shape) for shape in wider]:
        return False
    return all(a[:-2] == b[:-2] and np.all(np.array(a) <= b) for a, b in zip(ours, wider, strict=True))


def widen(weights: Sequence[np.ndarray], initial: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Weights of one convolution or batch norm for a wider layer.

    Args:
        weights: of the narrow layer: kernels (H, W, C_in, C_out), or vectors (C,).
        initial: the random weights of the wider layer, used for its new channels. Those of a kernel are rescaled to the
            standard deviation of the narrow kernel, so that all channels learn equally fast.

    Returns:
        Arrays with the shapes of `initial`.
    """
    return [_widen(ours, wider) for ours, wider in zip(weights, initial, strict=True)]


def _widen(ours: np.ndarray, wider: np.ndarray) -> np.ndarray:
    wider = np.array(wider)
    if ours.ndim == 1:
        wider[: len(ours)] = ours
        return wider
    channels_in, channels_out = ours.shape[2:]
    wider *= ours.std() / max(wider.std(), 1e-12)
    wider[:, :, channels_in:, :channels_out] = 0
    wider[:, :, :channels_in, :channels_out] = ours
    return wider
