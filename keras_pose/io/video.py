"""Writes videos: MP4 for playback, WebP for web pages. A file gets its name once it is complete."""

from pathlib import Path

import cv2
import numpy as np

from keras_pose.core.errors import UserError, unknown_name
from keras_pose.io import atomic

FORMATS = ("mp4", "webp")
WEBP_MOST_FRAMES = 600  # an animation stays in memory until it is complete
_WEBP_QUALITY = 60


class VideoWriter:
    """Writes a video: `write` frames, then `close`, then `publish`.

    Args:
        path: ends in one of `FORMATS`; its folder is created.
        fps: frames per second; in an MP4 of frames with their own times, the highest rate.

    Raises UserError for another ending and where the file cannot be written.
    """

    def __init__(self, path: Path, fps: float):
        self._path, self._fps = path, fps
        self._writer: cv2.VideoWriter | None = None
        self._pictures: list[np.ndarray] = []
        self._starts: list[float] = []  # seconds, for each WebP frame
        self._last: np.ndarray | None = None  # frame of an MP4
        self._written = 0  # frames of an MP4
        self._format = path.suffix.lower().removeprefix(".")
        if self._format not in FORMATS:
            raise unknown_name("video format", self._format, FORMATS)
        self._partial = path.with_name(f"{path.stem}.partial.{self._format}")

    def write(self, image: np.ndarray, time_s: float | None = None) -> None:
        """Adds (H, W, 3) uint8 RGB; all frames have the first one's size. An odd last row or column is dropped.

        Args:
            time_s: when to show the frame, if frames do not come at `fps`, as from a camera. The previous frame stays
                until then. Times must rise. An MP4 drops frames that come faster than `fps`.
        """
        image = image[: image.shape[0] - image.shape[0] % 2, : image.shape[1] - image.shape[1] % 2]
        picture = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        if self._format == "mp4":
            self._write_mp4(picture, time_s)
        elif len(self._pictures) == WEBP_MOST_FRAMES:
            raise UserError(f"{self._path} would exceed {WEBP_MOST_FRAMES} frames; shorten it, or write an mp4")
        else:
            self._pictures.append(picture)
            self._starts.append(len(self._starts) / self._fps if time_s is None else time_s)

    def _write_mp4(self, picture: np.ndarray, time_s: float | None) -> None:
        if self._writer is None:
            self._make_folder()
            size = (picture.shape[1], picture.shape[0])
            fps = round(self._fps, 2 if self._fps < 600 else 0)  # MPEG-4's clock refuses more digits
            self._writer = cv2.VideoWriter(str(self._partial), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
            if not self._writer.isOpened():
                raise UserError(f"cannot write {self._path}; check the folder, and that OpenCV has FFmpeg")
        place = self._written if time_s is None else round(time_s * self._fps)
        for _ in range(place - self._written):
            self._writer.write(picture if self._last is None else self._last)
        if place >= self._written:
            self._writer.write(picture)
            self._last, self._written = picture, place + 1

    def close(self) -> None:
        """Finishes an MP4, which is still under its temporary name."""
        if self._writer is not None:
            self._writer.release()

    def publish(self) -> None:
        """Gives the closed video its name, and writes a WebP first; without frames there is no file."""
        if self._pictures:
            self._make_folder()
            animation = cv2.Animation()
            animation.frames = self._pictures
            ends = [*self._starts[1:], self._starts[-1] + 1 / self._fps]
            animation.durations = np.round(1000 * np.subtract(ends, self._starts)).astype(np.int32).tolist()
            quality = [cv2.IMWRITE_WEBP_QUALITY, _WEBP_QUALITY]
            if not cv2.imwriteanimation(str(self._partial), animation, quality):
                raise UserError(f"cannot write {self._path}; check the folder, and that OpenCV has WebP")
        if self._pictures or self._writer is not None:
            try:
                self._partial.replace(self._path)
            except OSError as error:
                atomic.discard(self._partial)
                raise atomic.cannot_write(self._path, error) from error

    def _make_folder(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise atomic.cannot_write(self._path, error) from error
