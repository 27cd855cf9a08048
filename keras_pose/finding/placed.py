"""Test images: photos of one labelled person, pasted at a given size and a random place into empty canvases."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from keras_pose.core import geometry
from keras_pose.core.skeleton import COCO_17, LSP_14, Skeleton
from keras_pose.data.sources.lsp import read_joints
from keras_pose.finding.material import Pool, draw_background
from keras_pose.finding.photos import Photo
from keras_pose.finding.scenes import ASPECTS
from keras_pose.io import images

HEIGHT = 480  # of a canvas, in pixels
FEWEST_JOINTS = 6  # labelled joints that a photo of Leeds Sports Pose needs


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo and its person's joints: `keypoints_px` (J, 2) and `valid` (J,), in the order of `skeleton`."""

    path: Path
    kind: str
    keypoints_px: np.ndarray
    valid: np.ndarray
    skeleton: Skeleton


@dataclass(frozen=True)
class Placed:
    """A canvas (H, W, 3) uint8 with a photo in it, and the person's joints (J, 2) and box in the canvas's pixels."""

    image: np.ndarray
    keypoints_px: np.ndarray
    box_px: np.ndarray


def lsp_photos(folder: Path) -> list[LabelledPhoto]:
    """The photos of a folder in the format of Leeds Sports Pose Extended (joints.mat and images)."""
    joints = read_joints(folder / "joints.mat", extended=True)
    found = []
    for path in sorted((folder / "images").glob("im*.jpg")):
        labels = joints[int(path.stem[2:]) - 1]
        found.append(LabelledPhoto(path, "lsp", labels[:, :2] - 0.5, labels[:, 2] > 0, LSP_14))
    return [photo for photo in found if photo.valid.sum() >= FEWEST_JOINTS]


def held_out_photos(photos: Sequence[Photo], split: str = "test") -> list[LabelledPhoto]:
    """The labelled photos of a split, with the joints on which both teachers agree."""
    chosen = [photo for photo in photos if photo.split == split and photo.points_px is not None]
    return [LabelledPhoto(photo.path, photo.kind, photo.keypoints_px, photo.valid, COCO_17) for photo in chosen]


def place(rng: np.random.Generator, photo: LabelledPhoto, pool: Pool, share: float) -> Placed:
    """Pastes a photo so that the longer side of the person's box is `share` of the canvas's height.

    The whole box lies inside the canvas; a person who would not fit is made smaller.
    """
    image = images.read(photo.path, turn=False)
    x0, y0, x1, y1 = geometry.keypoints_box(photo.keypoints_px, photo.valid)
    width = round(HEIGHT / ASPECTS[rng.integers(len(ASPECTS))])
    scale = min(share * HEIGHT / max(x1 - x0, y1 - y0), width / max(x1 - x0, 1.0), HEIGHT / max(y1 - y0, 1.0))
    small = cv2.resize(
        image,
        (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)),
        interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
    )
    room = np.maximum(np.array([width, HEIGHT]) - scale * np.array([x1 - x0, y1 - y0]), 0)
    left, top = np.round(rng.uniform(0, 1, 2) * room - scale * np.array([x0, y0])).astype(int)
    canvas = draw_background(rng, pool, (HEIGHT, width))
    rows, columns = (slice(max(s, 0), min(s + n, limit)) for s, n, limit in
                     ((top, small.shape[0], HEIGHT), (left, small.shape[1], width)))  # fmt: skip
    canvas[rows, columns] = small[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    factor = np.array([small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]])
    keypoints = photo.keypoints_px * factor + [left, top]
    return Placed(canvas, keypoints, geometry.keypoints_box(keypoints, photo.valid))


def empty_canvas(rng: np.random.Generator, pool: Pool) -> np.ndarray:
    """A canvas without people, (HEIGHT, width, 3) uint8."""
    return draw_background(rng, pool, (HEIGHT, round(HEIGHT / ASPECTS[rng.integers(len(ASPECTS))])))
