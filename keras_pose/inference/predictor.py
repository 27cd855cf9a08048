"""PosePredictor: from an image to the joints of people in it.

The model sees crops. Without a given box, a finder locates the people. The first pass runs on the crop around each,
and the second on a crop around the joints that the first one found. Whether somebody is there is decided by the finder
and the first pass together (`confirmed`). Without a finder, the first pass sees the whole image.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton
from keras_pose.core.units import units_of
from keras_pose.inference.finder import MAX_PEOPLE, FoundPerson, PersonFinder, finder_beside, open_finder, overlap
from keras_pose.inference.runtimes import LoadedModel, is_run, open_model
from keras_pose.io import images
from keras_pose.visualization.drawing import LOW_SCORE

CROP_MARGIN = 1.25
LEAST_SCORE = 0.15  # finder's boxes with a lower score are ignored
# A person's score is the weighted mean of the finder's score, the joints' mean score and, with this weight, the overlap
# of the finder's box with the joints' box. From ENOUGH on, it is a person (docs/find.md).
AGREEMENT_WEIGHT, ENOUGH = 0.5, 0.44
FOUND_MARGIN = 1.4  # larger, because a finder's box may be slightly off
# If the second pass overlaps the box of the first by less, it has moved to somebody else, and the first pass is used.
STAYS = 0.2
SAME_PERSON = 0.6  # overlap above which two results are the same person, found twice
# The fewest confident joints for a box; with fewer, all joints are used.
FEWEST_SURE_JOINTS = 4
# Limits how much a crop may shrink from one pass to the next: joints on a single spot are not a person.
MOST_ZOOM = 8.0
UNITS = units_of("keypoints_px", "scores", "pose_3d_mm")


@dataclass(frozen=True)
class PoseResult:
    """One person in one image.

    Attributes:
        keypoints_px: (J, 2) pixels of the image; may lie outside it.
        scores: (J,) in [0, 1].
        pose_3d_mm: (J, 3) mm in the camera frame (x right, y down, z away), relative to the root; None from a 2D model.
        crop_affine: (2, 3) from image pixels to pixels of the crop that the model saw.
        person_score: in [0, 1], how likely somebody is there (`confirmed`); 0 if nobody was found and the whole
            image was used; None if the box was given or the model has no finder.
    """

    keypoints_px: np.ndarray
    scores: np.ndarray
    pose_3d_mm: np.ndarray | None
    skeleton: Skeleton
    crop_affine: np.ndarray
    person_score: float | None = None

    def to_dict(self) -> dict:
        """Numbers for JSON, with their units."""
        return {
            "skeleton": self.skeleton.to_dict(),
            "units": UNITS,
            "keypoints_px": np.round(self.keypoints_px, 2).tolist(),
            "scores": np.round(self.scores, 4).tolist(),
            "pose_3d_mm": None if self.pose_3d_mm is None else np.round(self.pose_3d_mm, 1).tolist(),
            "crop_affine": self.crop_affine.tolist(),
            "person_score": None if self.person_score is None else round(self.person_score, 4),
        }


class PosePredictor:
    """Finds the joints of people in RGB images.

    Args:
        source: a run folder, a .keras, .tflite or .onnx file, the name of shipped weights, or a `LoadedModel`.
        finder: finds people in whole images: a `PersonFinder`, the folder or file of one, or None for none. By default
            it is `finder.tflite` (or .onnx) beside an exported file, none for a `LoadedModel`, and otherwise the
            shipped one.
        flip_test: average the heatmaps of each crop and its mirror image (`keras_pose.models.flip_test`). By default
            runs and shipped weights do, since a single image takes no longer; an exported file does if it was exported
            with --flip_test.

    Raises UserError if there is no such model.
    """

    def __init__(
        self,
        source: str | os.PathLike | LoadedModel,
        finder: str | os.PathLike | PersonFinder | None = "beside",
        flip_test: bool | None = None,
    ):
        if isinstance(source, LoadedModel):
            self.model = source
        else:
            self.model = open_model(source, is_run(source) if flip_test is None else flip_test)
        if finder == "beside":
            finder = None if isinstance(source, LoadedModel) else finder_beside(source)
        self.finder = finder if finder is None or isinstance(finder, PersonFinder) else open_finder(finder)

    @property
    def skeleton(self) -> Skeleton:
        return self.model.skeleton

    def __call__(self, image: np.ndarray, box: Sequence[float] | np.ndarray | None = None) -> PoseResult:
        """The most prominent person in (H, W, 3) uint8 RGB, or the one in box (x0, y0, x1, y1) pixels.

        If the finder finds nobody, the whole image is used and `person_score` is 0.
        """
        return self.predict([image], [box])[0]

    def predict(
        self, images: Sequence[np.ndarray], boxes: Sequence[Sequence[float] | np.ndarray | None] | None = None
    ) -> list[PoseResult]:
        """Like `__call__`, for several images of any sizes in one batch."""
        if len(images) == 0:
            return []
        boxes = [None] * len(images) if boxes is None else list(boxes)
        for image, box in zip(images, boxes, strict=True):
            _check_picture(image, box)
        found, results = self._first_pass(images, boxes)
        again = [i for i, box in enumerate(boxes) if box is None]
        if again:
            second = self._run([images[i] for i in again], [self._around(self.box_of(results[i])) for i in again])
            for i, result in zip(again, second, strict=True):
                results[i] = self._settled(found[i], results[i], result)
        return results

    def _first_pass(
        self, images: Sequence[np.ndarray], boxes: Sequence[Sequence[float] | np.ndarray | None]
    ) -> tuple[list[FoundPerson | None], list[PoseResult]]:
        """The result in each box; without one, of the most prominent person, or else of the whole image."""
        found: list[FoundPerson | None] = [None] * len(images)
        results: list[PoseResult] = [None] * len(images)  # type: ignore[list-item]
        crops: dict[int, np.ndarray] = {}
        for i, (image, box) in enumerate(zip(images, boxes, strict=True)):
            people = self._people(image) if box is None else []
            if people:
                found[i], results[i] = people[0]
            else:
                crops[i] = self._whole(image) if box is None else self._around(box)
        if crops:
            for i, result in zip(crops, self._run([images[i] for i in crops], list(crops.values())), strict=True):
                results[i] = result
        return found, results

    def find(self, image: np.ndarray, max_people: int = MAX_PEOPLE, least_score: float = ENOUGH) -> list[FoundPerson]:
        """The people in an image, with boxes around their joints, the most prominent first.

        Args:
            max_people: returns at most this many.
            least_score: the lowest score of a person (`confirmed`).

        Raises UserError if the model has no finder.
        """
        _check_picture(image, None)
        if self.finder is None:
            raise UserError(f"{self.model.name} has no finder; put finder.tflite beside it, or give boxes")
        return [person for person, _ in self._people(image, least_score)][:max_people]

    def _people(self, image: np.ndarray, least_score: float = ENOUGH) -> list[tuple[FoundPerson, PoseResult]]:
        """The people whom the finder and the first pass find, the most prominent first, and the first pass for each."""
        boxes = self.finder(image, least_score=LEAST_SCORE) if self.finder else []
        if not boxes:
            return []
        results = self._run([image] * len(boxes), [self._around(box.box_px, FOUND_MARGIN) for box in boxes])
        people = [(confirmed(b, result, image.shape[:2]), result) for b, result in zip(boxes, results, strict=True)]
        people = sorted((p for p in people if p[0].score >= least_score), key=lambda p: -p[0].prominence)
        return [
            (person, result)
            for i, (person, result) in enumerate(people)
            if all(overlap(person.box_px, other.box_px) < SAME_PERSON for other, _ in people[:i])
        ]

    def predict_people(self, image: np.ndarray, max_people: int = MAX_PEOPLE) -> list[PoseResult]:
        """The people in an image, the most prominent first; empty if there are none.

        Without a finder, the list holds one person, searched for in the whole image.
        """
        if max_people < 1:
            raise UserError(f"max_people must be at least 1, got {max_people}")
        if self.finder is None:
            return [self(image)]
        _check_picture(image, None)
        people = self._people(image)
        if not people:
            return []
        second = self._run([image] * len(people), [self._around(self.box_of(first)) for _, first in people])
        results: list[PoseResult] = []
        for (person, before), after in zip(people, second, strict=True):
            result = self._settled(person, before, after)
            box = self.box_of(result)
            if all(overlap(box, self.box_of(other)) < SAME_PERSON for other in results):
                results.append(result)
        return results[:max_people]

    def _settled(self, person: FoundPerson | None, first: PoseResult, second: PoseResult) -> PoseResult:
        """The second pass, or the first if the second has moved to somebody else."""
        if person is None:
            return second if self.finder is None else replace(second, person_score=0.0)
        stays = overlap(self.box_of(second), person.box_px) >= STAYS
        return replace(second if stays else first, person_score=person.score)

    def box_of(self, result: PoseResult) -> np.ndarray:
        """The box (x0, y0, x1, y1) in pixels for the next crop: around the confident joints, or all if they are few."""
        sure = result.scores >= LOW_SCORE
        counted = sure if sure.sum() >= FEWEST_SURE_JOINTS else np.ones_like(sure)
        x0, y0, x1, y1 = geometry.keypoints_box(result.keypoints_px, counted)
        crop_height_px = self.model.input_size[0] / np.sqrt(abs(np.linalg.det(result.crop_affine[:, :2])))
        short_of = np.maximum(crop_height_px / MOST_ZOOM - np.array([x1 - x0, y1 - y0]), 0) / 2
        return np.concatenate([np.array([x0, y0]) - short_of, np.array([x1, y1]) + short_of])

    def _whole(self, image: np.ndarray) -> np.ndarray:
        return self._around((0, 0, image.shape[1], image.shape[0]), margin=1.0)

    def _around(self, box_px: Sequence[float] | np.ndarray, margin: float = CROP_MARGIN) -> np.ndarray:
        """The affine of the crop around a box."""
        size = self.model.input_size
        return geometry.crop_affine(*geometry.box_crop(box_px, size, margin), size)

    def _run(self, images: Sequence[np.ndarray], affines: Sequence[np.ndarray]) -> list[PoseResult]:
        """One pass of the model over a crop of each image."""
        size = self.model.input_size
        crops = [geometry.warp_image(image, affine, size) for image, affine in zip(images, affines, strict=True)]
        outputs = self.model.run(np.stack(crops))
        crop_keypoints_px = geometry.denormalize_keypoints(outputs["keypoints_2d"], size)  # (B, J, 2)
        return [
            PoseResult(
                keypoints_px=geometry.apply_affine(geometry.invert_affine(affine), crop_keypoints_px[i]),
                scores=outputs["scores"][i],
                pose_3d_mm=outputs["pose_3d"][i] if "pose_3d" in outputs else None,
                skeleton=self.skeleton,
                crop_affine=affine,
            )
            for i, affine in enumerate(affines)
        ]


def confirmed(found: FoundPerson, first: PoseResult, size: tuple[int, int]) -> FoundPerson:
    """Combines a finder's box with the pose model's first pass in that box.

    The box becomes that of all joints, clipped to the image of size (H, W), which fits better than the finder's. The
    score also counts the joints' scores and the overlap of the two boxes; both are low for things that only resemble a
    person.
    """
    box = geometry.keypoints_box(first.keypoints_px, np.ones(len(first.scores), bool))
    box = np.clip(box, 0, [size[1], size[0]] * 2)
    total = found.score + float(first.scores.mean()) + AGREEMENT_WEIGHT * overlap(box, found.box_px)
    return FoundPerson(box, total / (2 + AGREEMENT_WEIGHT))


def _check_picture(image: np.ndarray, box: Sequence[float] | np.ndarray | None) -> None:
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise UserError(f"an image is (height, width, 3) uint8 RGB, got {image.dtype} {image.shape}")
    images.check_size(image.shape[:2], "an image")
    if box is not None and not (len(box) == 4 and np.isfinite(box).all() and box[0] < box[2] and box[1] < box[3]):
        raise UserError(f"a box is (x0, y0, x1, y1) in pixels with x0 < x1 and y0 < y1, got {tuple(box)}")
