"""The finder's targets: the maps that it should predict for a scene."""

import numpy as np

from keras_pose.finding.scenes import Scene

SHARPNESS = 0.11  # standard deviation of a center's target, as a share of the person's width and height
REGRESSED = 0.5  # cells with a higher target than this predict the person's box


def targets(scene: Scene, stride: int) -> dict[str, np.ndarray]:
    """The target maps of a scene, S / stride cells high and wide.

    Returns:
        `centers` (h, w, 1) with a Gaussian per person, at most 1; `center_weight` (h, w, 1), 0 where people are
        unknown; `boxes` (h, w, 4), the distances from a cell's center to the left, top, right and bottom side as shares
        of S; and `box_weight` (h, w, 1), which is `centers` near a person's center and 0 elsewhere.
    """
    cells = scene.image.shape[0] // stride
    grid = (np.arange(cells) + 0.5) * stride  # pixels
    heat, owner = np.zeros((cells, cells), np.float32), np.full((cells, cells), -1)
    known = scene.known.reshape(cells, stride, cells, stride).mean((1, 3)) > 0.7
    boxes = np.zeros((cells, cells, 4), np.float32)
    order = np.argsort(-np.prod(scene.boxes[:, 2:] - scene.boxes[:, :2], axis=1))  # small people on top of large ones
    for i in order:
        x0, y0, x1, y1 = scene.boxes[i]
        center, sides = np.array([x0 + x1, y0 + y1]) / 2, np.array([x1 - x0, y1 - y0])
        column, row = np.clip((center / stride).astype(int), 0, cells - 1)
        sigma = np.maximum(SHARPNESS * sides, 0.55 * stride)
        spread = np.exp(-0.5 * ((grid[None] - grid[column]) / sigma[0]) ** 2) * np.exp(
            -0.5 * ((grid[:, None] - grid[row]) / sigma[1]) ** 2
        )
        mine = (spread >= heat) & (spread > REGRESSED)
        owner[mine] = i
        heat = np.maximum(heat, spread)
        known |= spread > 0.1
        sized = np.stack(
            np.broadcast_arrays(grid[None] - x0, grid[:, None] - y0, x1 - grid[None], y1 - grid[:, None]), axis=-1
        )
        boxes[mine] = sized[mine] / scene.image.shape[0]
    return {
        "centers": heat[..., None].astype(np.float32),
        "center_weight": known[..., None].astype(np.float32),
        "boxes": boxes,
        "box_weight": np.where(owner >= 0, heat, 0)[..., None].astype(np.float32),
    }
