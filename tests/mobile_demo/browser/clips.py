"""Clips for the fake camera: dots at known places, and the embedded data's people."""

from pathlib import Path

import cv2
import numpy as np

from mobile_demo.clip import write_clip
from tests.mobile_demo.browser.oracle import COLOURS

SIZE = (480, 640)  # (height, width) that a fake camera gives unscaled
DOT_RADIUS_PX = 14
LAYOUTS = 6


def dot_layouts(joints: int, box_px: tuple[int, int, int, int], seed: int = 0, count: int = LAYOUTS) -> np.ndarray:
    """(count, joints, 2) places (x, y) inside a box of the picture, far enough apart that no two dots touch."""
    rng = np.random.default_rng(seed)
    x0, y0, x1, y1 = box_px
    layouts = np.zeros((count, joints, 2))
    for places in layouts:
        for j in range(joints):
            while True:
                place = rng.uniform((x0, y0), (x1, y1))
                if j == 0 or np.linalg.norm(places[:j] - place, axis=-1).min() > 3 * DOT_RADIUS_PX:
                    break
            places[j] = place
    return layouts


def draw_dots(places: np.ndarray, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(H, W, 3) RGB: a dot of `COLOURS[j]` centred on (x, y) of joint j, black elsewhere."""
    image = np.zeros((*size, 3), np.uint8)
    for place, colour in zip(places, COLOURS, strict=False):
        centre = np.round((place - 0.5) * 16).astype(int)  # OpenCV's pixel centres are whole numbers
        cv2.circle(image, centre.tolist(), DOT_RADIUS_PX * 16, colour.tolist(), -1, cv2.LINE_AA, shift=4)
    return image


def write_dots(path: Path, layouts: np.ndarray, size: tuple[int, int] = SIZE, hold: int = 1, fps: int = 10) -> Path:
    """Each layout for `hold` frames."""
    frames = np.stack([draw_dots(places, size) for places in layouts])
    return write_clip(path, np.repeat(frames, hold, axis=0), fps)
