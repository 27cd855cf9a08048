"""Writes images as a clip that Chromium plays as its camera (--use-file-for-fake-video-capture)."""

from pathlib import Path

import numpy as np

from keras_pose.core.errors import UserError

# ITU-R BT.601, studio range, as Chromium reads .y4m files.
FROM_RGB = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
OFFSET = np.array([16.0, 128.0, 128.0])


def write_clip(path: Path, frames: np.ndarray, fps: int) -> Path:
    """Writes (N, H, W, 3) uint8 RGB as .y4m. Color has half the resolution, so H and W must be even.

    Raises UserError for odd sizes.
    """
    _, height, width, _ = frames.shape
    if height % 2 or width % 2:
        raise UserError(f"a clip must have even sides, not {height} x {width} pixels")
    with open(path, "wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{fps}:1 Ip A1:1 C420jpeg\n".encode())
        for frame in frames:
            file.write(b"FRAME\n")
            planes = frame @ FROM_RGB.T + OFFSET  # (H, W, 3)
            file.write(_bytes(planes[..., 0]))
            for plane in (planes[..., 1], planes[..., 2]):
                file.write(_bytes(plane.reshape(height // 2, 2, width // 2, 2).mean((1, 3))))
    return path


def _bytes(plane: np.ndarray) -> bytes:
    return np.clip(np.round(plane), 0, 255).astype(np.uint8).tobytes()
