"""The windows of an image that a finder searches: (x0, y0, x1, y1) in pixels."""

import math
from collections.abc import Sequence

import numpy as np

NEIGHBORS_OVERLAP = 0.3  # smallest overlap of neighboring windows, as a share of their side
AROUND = 2.5  # side of the window around a known person, relative to the longer side of their box
# In a window that is only a part of the image, a box may show only a part of a person if its longer side exceeds the
# first share of the window's side, or if it is nearer than the second share to a side inside the image.
LARGEST, NEAR_SIDE = 0.75, 0.02


def grid(size: tuple[int, int], level: float, input_size: int) -> list[tuple[int, int, int, int]]:
    """Overlapping square windows (x0, y0, x1, y1) over an image of size (H, W), row by row.

    Their side is `level` times the image's longer side, and at most the image's own. Empty if the windows would be
    smaller than half the finder's input: then they show nothing new.
    """
    side = max(int(level * max(size) + 0.5), 1)
    if level < 1 and side < input_size / 2:
        return []
    rows, columns = (_starts(length, side) for length in size)
    return [(x, y, min(x + side, size[1]), min(y + side, size[0])) for y in rows for x in columns]


def _starts(length: int, side: int) -> list[int]:
    """Where windows of one side length begin, at equal distances, so that they cover `length`."""
    if length <= side:
        return [0]
    count = max(math.ceil((length - NEIGHBORS_OVERLAP * side) / ((1 - NEIGHBORS_OVERLAP) * side)), 2)
    return [int(i * (length - side) / (count - 1) + 0.5) for i in range(count)]


def around(box_px: Sequence[float] | np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The square window around a box, moved into an image of size (H, W), or cut to the image where it is larger."""
    x0, y0, x1, y1 = (float(value) for value in box_px)
    side = max(int(AROUND * max(x1 - x0, y1 - y0) + 0.5), 1)
    sides = [(int((a + b - side) / 2 + 0.5), length) for a, b, length in ((x0, x1, size[1]), (y0, y1, size[0]))]
    (left, right), (top, bottom) = (
        (0, length) if side >= length else (min(max(start, 0), length - side), min(max(start, 0), length - side) + side)
        for start, length in sides
    )
    return left, top, right, bottom


def is_cut(box_px: np.ndarray, window: Sequence[int], size: tuple[int, int]) -> bool:
    """Whether a box in a window of an image of size (H, W) may show only a part of a person."""
    x0, y0, x1, y1 = window
    height, width = size
    if (x0, y0, x1, y1) == (0, 0, width, height):
        return False
    side = max(x1 - x0, y1 - y0)
    near = NEAR_SIDE * side
    left, top, right, bottom = box_px
    return (
        side_of(box_px) > LARGEST * side
        or (x0 > 0 and left < x0 + near)
        or (y0 > 0 and top < y0 + near)
        or (x1 < width and right > x1 - near)
        or (y1 < height and bottom > y1 - near)
    )


def side_of(box_px: np.ndarray) -> float:
    """The longer side of a box."""
    return float(max(box_px[2] - box_px[0], box_px[3] - box_px[1]))
