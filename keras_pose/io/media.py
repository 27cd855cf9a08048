"""Distinguishes images from videos, by file name if the ending is known, otherwise by decoding."""

import os
from pathlib import Path

import cv2

from keras_pose.core.errors import UserError
from keras_pose.io import images

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mts", ".m2ts", ".3gp", ".wmv", ".mpg", ".mpeg")


def kind_of(path: str | os.PathLike) -> str | None:
    """`image`, `video`, or None for a file that decodes as neither."""
    suffix = Path(path).suffix.lower()
    if suffix in images.SUFFIXES:
        return "image"
    if suffix in VIDEO_SUFFIXES:
        return "video"
    try:
        with open(path, "rb") as file:
            start = file.read(4096)
    except OSError:
        return None
    if b"\0" not in start:  # text, which some decoders render
        return None
    if suffix != ".gif" and images.header_size(start) is not None:
        return "image"
    if _decodes_as_video(path):
        return "video"
    try:
        images.read(path, turn=False)
    except UserError:
        return None
    return "image"


def _decodes_as_video(path: str | os.PathLike) -> bool:
    """Whether there are at least two frames. A still GIF or AVIF is an image."""
    video = cv2.VideoCapture(str(path))
    try:
        return bool(video.isOpened() and video.grab() and video.grab())
    except cv2.error:
        return False
    finally:
        video.release()
