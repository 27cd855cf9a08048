"""Published ways from heatmaps to keypoints: soft-argmax, argmax with a quarter offset, DARK; and the flip test.

NumPy; heatmaps are (B, H, W, J). `cell_center` is the position in a heatmap cell that a peak there stands for, from 0
to 1 of the cell. It is 0.5, the middle of the cell, for this project's targets. The official HRNet code maps pixel
index 4 i to cell i. In our convention, the center of that pixel is at 4 i + 0.5, which is 0.125 cells into cell i. A
published checkpoint read with 0.5 would be off by 1.5 pixels of the crop.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from keras_pose.core.errors import unknown_name
from keras_pose.core.skeleton import Skeleton
from keras_pose.io.model_info import OWN_CELL_CENTER

# In a softmax over thousands of cells, the peak must weigh e^20 times as much as the background.
SOFT_ARGMAX_SHARPNESS = 20.0
# DARK's Gaussian for targets with sigma 2: an 11 x 11 window.
DARK_KERNEL, DARK_SIGMA = 11, 2.0


def soft_argmax(heatmaps: np.ndarray, cell_center: float = OWN_CELL_CENTER) -> np.ndarray:
    """The expectation over the softmax of each map, which is first scaled to a peak of 20: (B, J, 2) in [0, 1]."""
    batch, height, width, joints = heatmaps.shape
    flat = np.asarray(heatmaps, np.float64).transpose(0, 3, 1, 2).reshape(batch, joints, -1)  # (B, J, H*W)
    peaks = flat.max(-1, keepdims=True)
    logits = SOFT_ARGMAX_SHARPNESS * (flat - peaks) / np.maximum(np.abs(peaks), 1e-6)
    shares = np.exp(logits)
    shares /= shares.sum(-1, keepdims=True)
    shares = shares.reshape(batch, joints, height, width)
    x = (shares.sum(-2) * np.arange(width)).sum(-1)
    y = (shares.sum(-1) * np.arange(height)).sum(-1)
    return _to_unit(np.stack([x, y], -1), heatmaps, cell_center)


def quarter_offset(heatmaps: np.ndarray, cell_center: float = OWN_CELL_CENTER) -> np.ndarray:
    """The highest cell, moved by a quarter cell toward the higher neighbor in x and in y: (B, J, 2) in [0, 1].

    As in the official code, a peak in the first two or the last row or column is not moved, and a map without positive
    values gives cell (0, 0).
    """
    cells, inner = _highest_cells(heatmaps, far_border=1)
    at = _values_around(heatmaps, cells)
    slope = np.stack([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)], -1)  # (B, J, 2)
    return _to_unit(cells + 0.25 * np.sign(slope) * inner[..., None], heatmaps, cell_center)


def dark(heatmaps: np.ndarray, cell_center: float = OWN_CELL_CENTER) -> np.ndarray:
    """DARK (Zhang et al. 2020, Eq. 2 to 10): the top of the paraboloid through the log of the smoothed map.

    Exact for a Gaussian. A peak in the outer two rows or columns is not moved. Returns (B, J, 2) in [0, 1].
    """
    cells, inner = _highest_cells(heatmaps, far_border=2)
    at = _values_around(np.log(np.maximum(_smooth(heatmaps), 1e-10)), cells)
    gradient = np.stack([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)], -1) / 2  # (B, J, 2)
    xx = (at(2, 0) - 2 * at(0, 0) + at(-2, 0)) / 4
    yy = (at(0, 2) - 2 * at(0, 0) + at(0, -2)) / 4
    xy = (at(1, 1) - at(-1, 1) - at(1, -1) + at(-1, -1)) / 4
    determinant = xx * yy - xy**2
    solvable = inner & (np.abs(determinant) > 1e-12)
    step_x = yy * gradient[..., 0] - xy * gradient[..., 1]
    step_y = xx * gradient[..., 1] - xy * gradient[..., 0]
    step = -np.stack([step_x, step_y], -1) / np.where(solvable, determinant, 1.0)[..., None]
    return _to_unit(cells + step * solvable[..., None], heatmaps, cell_center)


DECODERS: dict[str, Callable[..., np.ndarray]] = {
    "soft_argmax": soft_argmax,
    "quarter_offset": quarter_offset,
    "dark": dark,
}


@dataclass(frozen=True)
class HeatmapDecoder:
    """Reads keypoints from a model's heatmaps: (B, H, W, J) to (B, J, 2) in [0, 1] of the crop.

    `name` is a key of `DECODERS`; `cell_center` is the model's. Raises UserError for an unknown name.
    """

    name: str
    cell_center: float = OWN_CELL_CENTER

    def __post_init__(self):
        if self.name not in DECODERS:
            raise unknown_name("decoder", self.name, DECODERS)

    def __call__(self, heatmaps: np.ndarray) -> np.ndarray:
        return DECODERS[self.name](heatmaps, self.cell_center)


def flip_average(
    heatmaps: np.ndarray, of_mirrored: np.ndarray, skeleton: Skeleton, cell_center: float = OWN_CELL_CENTER
) -> np.ndarray:
    """The flip test: the mean of an image's heatmaps and those of the mirrored image, mirrored back.

    Peaks of the official code lie off the cell centers, so after mirroring back they are three quarters of a cell too
    far left. They are moved right by one cell, as in the official code. This project's heatmaps need no shift.
    """
    turned = of_mirrored[:, :, ::-1, list(skeleton.flip_permutation)].copy()
    if cell_center < OWN_CELL_CENTER:
        turned[:, :, 1:] = turned[:, :, :-1].copy()
    return (heatmaps + turned) / 2


# --- parts -----------------------------------------------------------------------------------------------------


def _to_unit(cells: np.ndarray, heatmaps: np.ndarray, cell_center: float) -> np.ndarray:
    """(B, J, 2) cell indices (x, y) to [0, 1] of the crop."""
    height, width = heatmaps.shape[1:3]
    return ((cells + cell_center) / np.array([width, height])).astype(np.float32)


def _highest_cells(heatmaps: np.ndarray, far_border: int) -> tuple[np.ndarray, np.ndarray]:
    """(B, J, 2) indices (x, y) of each map's maximum, and (B, J) whether it lies inside the border.

    The border is two cells wide at the left and top, and `far_border` cells at the right and bottom.
    """
    batch, height, width, joints = heatmaps.shape
    flat = heatmaps.reshape(batch, height * width, joints)
    index = flat.argmax(1) * (flat.max(1) > 0)
    cells = np.stack([index % width, index // width], -1)
    inner = ((cells > 1) & (cells < np.array([width, height]) - far_border)).all(-1)
    return cells, inner


def _values_around(heatmaps: np.ndarray, cells: np.ndarray) -> Callable[[int, int], np.ndarray]:
    """A function of (dx, dy): the (B, J) values that far from the cells. Beyond the map, its border is repeated."""
    batch, height, width, joints = heatmaps.shape
    b, j = np.arange(batch)[:, None], np.arange(joints)[None]

    def at(dx: int, dy: int) -> np.ndarray:
        x = np.clip(cells[..., 0] + dx, 0, width - 1)
        y = np.clip(cells[..., 1] + dy, 0, height - 1)
        return heatmaps[b, y, x, j].astype(np.float64)

    return at


def _smooth(heatmaps: np.ndarray) -> np.ndarray:
    """Each map smoothed by a Gaussian, with zeros beyond its border, rescaled to its former maximum."""
    result = np.empty(heatmaps.shape, np.float64)
    for b, maps in enumerate(np.asarray(heatmaps, np.float64)):
        for j in range(maps.shape[-1]):
            smooth = cv2.GaussianBlur(
                np.ascontiguousarray(maps[..., j]),
                (DARK_KERNEL, DARK_KERNEL),
                DARK_SIGMA,
                borderType=cv2.BORDER_CONSTANT,
            )
            result[b, ..., j] = smooth * (maps[..., j].max() / max(smooth.max(), 1e-10))
    return result
