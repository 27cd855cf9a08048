"""PersonFinder: finds the boxes of people in a whole image.

The finder runs on the whole image first. Unless it finds somebody large there, it also runs on overlapping square
windows, in which small people appear larger.

A finder is a separate small model (`keras_pose.models.finder`): a run folder, or an exported .tflite or .onnx file with
the outputs `centers` and `boxes`. An exported finder lies beside the pose model: `finder.tflite` beside `pose.tflite`.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.inference import windows
from keras_pose.inference.runtimes import SESSIONS, open_session
from keras_pose.io.finder_info import OVERLAP, SCORE, FinderInfo
from keras_pose.weights import SHIPPED_WEIGHTS, finder_for

MAX_PEOPLE = 10
LEVELS = (1.0, 0.6, 0.4)  # sides of the windows of a search, as shares of the image's longer side
LARGE = 0.4  # share of the image's longer side from which on a person ends the search
INSIDE = 0.8  # two boxes are the same person if this share of the smaller one lies inside the other
PROMINENCE_POWER = 0.5  # the most prominent person has the highest score * area ** power


@dataclass(frozen=True)
class FoundPerson:
    """A person in an image: `box_px` (4,) x0, y0, x1, y1 around the joints inside the image, and a score in [0, 1]."""

    box_px: np.ndarray
    score: float

    @property
    def prominence(self) -> float:
        """How prominent the person is in the image; increases with score and size."""
        sides = np.maximum(self.box_px[2:] - self.box_px[:2], 0.0)
        return float(self.score * np.prod(sides) ** PROMINENCE_POWER)


class PersonFinder:
    """Finds people in RGB images.

    Args:
        run: maps (S, S, 3) uint8 to `centers` (h, w) and `boxes` (h, w, 4); see `keras_pose.models.finder`.
        input_size: S, the side of the input.
        score: lowest peak that counts as a person.
        levels: sides of the windows to search, as shares of the image's longer side.
    """

    def __init__(
        self,
        run: Callable[[np.ndarray], dict[str, np.ndarray]],
        input_size: int,
        score: float = SCORE,
        levels: Sequence[float] = LEVELS,
    ):
        self._run, self.input_size, self.score, self.levels = run, input_size, score, tuple(levels)

    def __call__(
        self, image: np.ndarray, max_people: int = MAX_PEOPLE, least_score: float | None = None
    ) -> list[FoundPerson]:
        """The people in an (H, W, 3) uint8 image, the most prominent first; empty if there are none.

        The search goes from the whole image to smaller windows and ends at the level at which a large person is found.

        Args:
            max_people: returns at most this many.
            least_score: lowest peak to return; by default `score`, which also decides whether the search ends.
        """
        longer = max(image.shape[:2])
        people: list[FoundPerson] = []
        for level in self.levels:
            for window in windows.grid(image.shape[:2], level, self.input_size):
                people = merge(people, self.look(image, window, least_score))
            if any(
                person.score >= self.score and windows.side_of(person.box_px) >= LARGE * longer for person in people
            ):
                break
        return sorted(people, key=lambda person: -person.prominence)[:max_people]

    def look(
        self, image: np.ndarray, window: Sequence[int] | None = None, least_score: float | None = None
    ) -> list[FoundPerson]:
        """The people in one window (x0, y0, x1, y1) of an image, or in the whole image; one run of the network.

        Leaves out boxes that may show only a part of a person, because an inner side of the window cuts them off.
        """
        height, width = image.shape[:2]
        x0, y0, x1, y1 = (0, 0, width, height) if window is None else window
        square, affine = fit(np.ascontiguousarray(image[y0:y1, x0:x1]), self.input_size)
        outputs = self._run(square)
        least = self.score if least_score is None else least_score
        boxes, scores = decode(outputs["centers"], outputs["boxes"], least, MAX_PEOPLE)
        inverse = geometry.invert_affine(affine)
        corners = geometry.apply_affine(inverse, boxes.reshape(-1, 2) * self.input_size).reshape(-1, 4)  # (N, 4)
        corners = np.clip(corners, 0, [x1 - x0, y1 - y0] * 2) + [x0, y0, x0, y0]
        people = [FoundPerson(box, float(score)) for box, score in zip(corners, scores, strict=True)]
        return [
            person
            for person in people
            if (person.box_px[2:] - person.box_px[:2] >= 1).all()
            and not windows.is_cut(person.box_px, (x0, y0, x1, y1), (height, width))
        ]

    def look_around(self, image: np.ndarray, box_px: Sequence[float] | np.ndarray) -> list[FoundPerson]:
        """The people in the square window around a box, `windows.AROUND` times as large; one run of the network."""
        return self.look(image, windows.around(box_px, image.shape[:2]))


def merge(known: Sequence[FoundPerson], seen: Sequence[FoundPerson]) -> list[FoundPerson]:
    """The people of two sets of windows; if two are the same person, the one with the higher score."""

    def same(person: FoundPerson, other: FoundPerson) -> bool:
        inside = overlap_area(person.box_px, other.box_px) >= INSIDE * min(_area(person.box_px), _area(other.box_px))
        return inside or overlap(person.box_px, other.box_px) > OVERLAP

    kept = [p for p in known if not any(same(p, other) and other.score > p.score for other in seen)]
    return kept + [p for p in seen if not any(same(p, other) for other in kept)]


def fit(image: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """(side, side, 3): the whole image centered in a black square; and the (2, 3) affine that put it there.

    Uses area interpolation instead of `geometry.warp_image`, which smooths the image before shrinking it. For a phone
    photo, that would take longer than the finder itself.
    """
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (min(max(round(width * scale), 1), side), min(max(round(height * scale), 1), side))
    smaller = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (side - size[0]) // 2, (side - size[1]) // 2
    square = np.zeros((side, side, 3), np.uint8)
    square[top : top + size[1], left : left + size[0]] = smaller
    return square, np.array([[size[0] / width, 0.0, left], [0.0, size[1] / height, top]])


def decode(
    centers: np.ndarray, boxes: np.ndarray, least_score: float = SCORE, max_people: int = MAX_PEOPLE
) -> tuple[np.ndarray, np.ndarray]:
    """The people in a finder's maps, the highest score first.

    A cell is a person if its score is at least `least_score` and no neighbor's is higher. Its box extends from the
    cell's center by the four distances in `boxes`. Of boxes that overlap by more than half, only the best is kept.

    Args:
        centers: (h, w) scores in [0, 1].
        boxes: (h, w, 4) distances from the cell's center to the left, top, right and bottom side, in [0, 1].

    Returns:
        boxes (N, 4) x0, y0, x1, y1 in [0, 1] of the input, and scores (N,).
    """
    height, width = centers.shape
    padded = np.pad(centers, 1, constant_values=-np.inf)
    around = np.stack([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]).max(0)
    rows, columns = np.nonzero((centers >= around) & (centers >= least_score))
    order = np.argsort(-centers[rows, columns], kind="stable")
    rows, columns = rows[order], columns[order]
    middle = np.stack([(columns + 0.5) / width, (rows + 0.5) / height], axis=-1)  # (N, 2)
    distances = boxes[rows, columns]
    corners = np.concatenate([middle - distances[:, :2], middle + distances[:, 2:]], axis=-1)
    kept: list[int] = []
    for i in range(len(corners)):
        if len(kept) < max_people and all(overlap(corners[i], corners[k]) <= OVERLAP for k in kept):
            kept.append(i)
    return corners[kept], centers[rows, columns][kept]


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1)."""
    both = overlap_area(first, second)
    return both / max(_area(first) + _area(second) - both, 1e-12)


def overlap_area(first: np.ndarray, second: np.ndarray) -> float:
    """The area that two boxes (x0, y0, x1, y1) share."""
    return _area(np.concatenate([np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])]))


def _area(box: np.ndarray) -> float:
    return float(np.prod(np.maximum(np.asarray(box[2:]) - box[:2], 0.0)))


# --- files -----------------------------------------------------------------------------------------------------


def open_finder(source: str | os.PathLike, score: float = SCORE) -> PersonFinder:
    """Opens a finder: a run folder, or an exported .tflite or .onnx file; raises UserError for anything else."""
    path = Path(source)
    if path.is_dir():
        return _open_run(path, score)
    if path.is_file() and path.suffix in SESSIONS:
        side = FinderInfo.read_beside(path).input_size[0]
        session = open_session(path, threads=1)
        if set(session.inputs) != {"image"}:
            raise UserError(f"{path} takes {', '.join(session.inputs)} instead of an image; export the finder again")
        shape, dtype = session.inputs["image"]
        axes = (0, 3, 1, 2) if shape[1] == 3 else (0, 1, 2, 3)
        if sorted(shape) != sorted((1, side, side, 3)):
            raise UserError(f"{path} and its metadata disagree on the input size; export the finder again")

        def run(image: np.ndarray) -> dict[str, np.ndarray]:
            outputs = session.infer({"image": image[None].transpose(axes).astype(dtype)})
            return {"centers": outputs["centers"][0, ..., 0], "boxes": outputs["boxes"][0]}

        return PersonFinder(run, side, score)
    raise UserError(f"no finder {path}; name a folder of keras_pose.finding.train or a finder's .tflite or .onnx file")


def finder_beside(source: str | os.PathLike) -> PersonFinder | None:
    """The finder that belongs to a pose model (`keras_pose.weights.finder_for`).

    None for an exported file without a finder beside it; the pose model then works without one.
    """
    path = finder_for(SHIPPED_WEIGHTS.get(os.fspath(source), Path(source)))
    return open_finder(path) if path.exists() else None


def _open_run(path: Path, score: float) -> PersonFinder:
    from keras_pose.models.model_folder import load_finder

    model, _ = load_finder(path)
    return from_keras(model, score)


def from_keras(model: Any, score: float = SCORE) -> PersonFinder:
    """Wraps a model of `keras_pose.models.finder`."""
    import tensorflow as tf

    side = model.input_shape[1]

    @tf.function(input_signature=[tf.TensorSpec((2, side, side, 3), tf.uint8)])
    def infer(images):
        return model(tf.cast(images, tf.float32), training=False)

    def run(image: np.ndarray) -> dict[str, np.ndarray]:
        # TensorFlow's convolutions on a CPU take ten times as long for one image as for two (docs/performance.md).
        outputs = infer(tf.constant(np.stack([image, image])))
        return {"centers": outputs["centers"][0, ..., 0].numpy(), "boxes": outputs["boxes"][0].numpy()}

    return PersonFinder(run, side, score)


def best_matches(before: Sequence[np.ndarray], now: Sequence[np.ndarray], least: float) -> list[tuple[int, int]]:
    """Pairs (i, j) of matching boxes: the assignment with the largest total overlap, each pair above `least`.

    Uses SciPy's linear_sum_assignment (the Hungarian method).
    """
    if not len(before) or not len(now):
        return []
    from scipy.optimize import linear_sum_assignment

    gain = np.array([[overlap(np.asarray(a), np.asarray(b)) for b in now] for a in before])
    rows, columns = linear_sum_assignment(-np.where(gain >= least, gain, 0.0))
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if gain[i, j] >= least]
