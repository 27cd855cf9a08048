"""Flat overlays: clutter on the background, shapes pasted over the scene, and the border of the photo."""

import cv2
import numpy as np

from keras_pose.synthetic.render.shade import SRGB_TO_LINEAR


def paste_shapes(rng: np.random.Generator, linear: np.ndarray, surfaces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pastes one to four shapes on an image.

    Returns:
        The (H, W, 3) linear image, and (H, W) bool: which pixels a shape covers.
    """
    height, width = linear.shape[:2]
    covered = np.zeros((height, width), np.uint8)
    linear = linear.copy()
    for _ in range(int(rng.integers(1, 5))):
        mask = np.zeros((height, width), np.uint8)
        center = rng.uniform(0, 1, 2) * [width, height]
        radius = rng.uniform(0.03, 0.16) * max(height, width)
        if rng.random() < 0.4:
            axes = (radius * rng.uniform(0.4, 1.6, 2)).astype(int).tolist()
            cv2.ellipse(mask, center.astype(int).tolist(), axes, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
            reach = radius * rng.uniform(0.5, 1.6, len(angles))
            points = center + np.stack([np.cos(angles), np.sin(angles)], -1) * reach[:, None]
            cv2.fillPoly(mask, [points.astype(np.int32)], 255, cv2.LINE_AA)
        texture = surfaces[rng.integers(len(surfaces))]
        first = rng.integers(0, len(texture) // 2, 2)
        size = int(rng.integers(2, len(texture) // 2))
        patch = texture[first[0] : first[0] + size, first[1] : first[1] + size]
        patch = SRGB_TO_LINEAR[cv2.resize(patch, (width, height), interpolation=cv2.INTER_LINEAR)]
        alpha = (mask * np.float32(1 / 255))[..., None]
        linear += alpha * (patch * np.float32(rng.uniform(0.3, 1.0)) - linear)
        covered |= mask
    return linear, covered > 127


def paste_border(rng: np.random.Generator, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Imitates a crop that reaches past the photo: one or two sides are black, gray, or repeat the last pixels.

    Returns:
        The (H, W, 3) uint8 image, and (H, W) bool: which pixels are past the photo.
    """
    height, width = image.shape[:2]
    first, last = np.zeros(2, int), np.array([height, width])
    for _ in range(int(rng.integers(1, 3))):
        axis, depth = int(rng.integers(2)), rng.uniform(0.02, 0.25)
        if rng.random() < 0.5:
            first[axis] = round(depth * (height, width)[axis])
        else:
            last[axis] = round((1 - depth) * (height, width)[axis])
    inner = image[first[0] : last[0], first[1] : last[1]]
    sides = (first[0], height - last[0], first[1], width - last[1])
    style = rng.choice(["black", "grey", "repeated"], p=[0.6, 0.15, 0.25])
    if style == "repeated":
        image = cv2.copyMakeBorder(inner, *map(int, sides), cv2.BORDER_REPLICATE)
    else:
        value = 0 if style == "black" else int(rng.integers(90, 256))
        image = cv2.copyMakeBorder(inner, *map(int, sides), cv2.BORDER_CONSTANT, value=(value,) * 3)
    ended = np.ones((height, width), bool)
    ended[first[0] : last[0], first[1] : last[1]] = False
    return image, ended


def paste_clutter(rng: np.random.Generator, linear: np.ndarray, surfaces: np.ndarray, count: int) -> np.ndarray:
    """Paints `count` lines, spots and patches of texture on an (H, W, 3) linear background."""
    height, width = linear.shape[:2]
    image = linear.copy()
    for _ in range(count):
        color = (rng.uniform(0, 1) ** 2 * rng.uniform(0.5, 1.0, 3)).tolist()
        a = (rng.uniform(-0.1, 1.1, 2) * [width, height]).astype(int)
        reach = (np.exp(rng.normal(-2.2, 0.7, 2)) * max(height, width)).astype(int) + 1
        kind = rng.integers(4)
        if kind == 0:
            end = a + (rng.normal(0, 0.5, 2) * width).astype(int)
            cv2.line(image, a.tolist(), end.tolist(), color, int(rng.integers(1, 2 + width // 40)), cv2.LINE_AA)
        elif kind == 1:
            cv2.ellipse(image, a.tolist(), reach.tolist(), rng.uniform(0, 180), 0, 360, color, -1, cv2.LINE_AA)
        else:
            x0, y0 = np.clip(a - reach, 0, [width - 1, height - 1])
            x1, y1 = np.clip(a + reach, [x0 + 1, y0 + 1], [width, height])
            texture = SRGB_TO_LINEAR[cv2.resize(surfaces[rng.integers(len(surfaces))], (int(x1 - x0), int(y1 - y0)))]
            image[y0:y1, x0:x1] = texture * np.float32(rng.uniform(0.2, 1.0))
    return image


def covered_joints(mask: np.ndarray, keypoints_px: np.ndarray) -> np.ndarray:
    """(J,) bool per joint: whether it lies in the image and on the (H, W) mask."""
    column, row = np.floor(keypoints_px).astype(int).T
    inside = (row >= 0) & (row < mask.shape[0]) & (column >= 0) & (column < mask.shape[1])
    return inside & mask[row.clip(0, mask.shape[0] - 1), column.clip(0, mask.shape[1] - 1)]
