"""The results of photos: a PNG and a JSON file each, and a sheet of all."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from keras_pose.core.errors import UserError
from keras_pose.core.progress import progress
from keras_pose.inference.predictor import UNITS, PosePredictor, PoseResult
from keras_pose.io import atomic, images
from keras_pose.prediction.jobs import Job, Wanted
from keras_pose.visualization.drawing import contact_sheet, draw_keypoints, draw_result, fit_height, save_png

BATCH = 8  # photos per batch, fewer if they are large
SHEET_SUFFIXES = (".png", ".webp")


class Sheet:
    """The results of all photos in one image, in rows of `columns`.

    Raises UserError if the file is of another format, or exists and may not be replaced.
    """

    def __init__(self, path: str, columns: int, overwrite: bool):
        self.path, self.columns, self.images = Path(path), columns, []
        if self.path.suffix not in SHEET_SUFFIXES:
            raise UserError(f"--sheet={path} must end in {' or '.join(SHEET_SUFFIXES)}")
        if self.path.exists() and not overwrite:
            raise UserError(f"{path} exists; choose another --sheet, or add --overwrite")

    def write(self) -> None:
        """Writes the file, whole or not at all."""
        sheet = cv2.cvtColor(contact_sheet(self.images, self.columns), cv2.COLOR_RGB2BGR)
        quality = [cv2.IMWRITE_WEBP_QUALITY, 85] if self.path.suffix == ".webp" else []
        atomic.write_atomically(self.path, cv2.imencode(self.path.suffix, sheet, quality)[1].tobytes())


def predict_pictures(
    predictor: PosePredictor, jobs: Sequence[Job], height: int, wanted: Wanted, sheet: Sheet | None = None
) -> tuple[list[str], int]:
    """Writes a PNG and a JSON file for each image, and adds the PNGs to `sheet`.

    Returns messages for unreadable files in folders, and the number of images without people. Raises UserError if a
    file that the user named is unreadable.
    """
    unread: list[str] = []
    empty = 0
    batch: list[tuple[Job, np.ndarray]] = []
    with progress(None, len(jobs), "image") as bar:
        for number, job in enumerate(jobs, 1):
            try:
                batch.append((job, images.read(job.source, turn=True)))
            except UserError as error:
                if job.listed:
                    raise
                unread.append(str(error))
            pixels = sum(picture.shape[0] * picture.shape[1] for _, picture in batch)
            if number == len(jobs) or len(batch) == BATCH or pixels > images.LARGEST_PIXELS:
                empty += _predict_batch(predictor, batch, height, wanted, sheet)
                batch = []
            bar.update(1)
    return unread, empty


def _predict_batch(
    predictor: PosePredictor,
    batch: Sequence[tuple[Job, np.ndarray]],
    height: int,
    wanted: Wanted,
    sheet: Sheet | None = None,
) -> int:
    """Writes the results of a batch; returns the number of images without people."""
    empty = 0
    for (job, picture), people in zip(batch, _people_of(predictor, batch, wanted), strict=True):
        if not people:
            empty += 1
            tqdm.write(f"no person found in {job.source}")
        drawn = draw(picture, people, height)
        save_png(f"{job.output}.png", drawn)
        if sheet:
            sheet.images.append(drawn)
        size = {"file": job.source, "image_size": list(picture.shape[:2])}
        shared = {"skeleton": predictor.skeleton.to_dict(), "units": UNITS}
        atomic.write_json(f"{job.output}.json", size | shared | {"people": [without(shared, p) for p in people]})
    return empty


def _people_of(
    predictor: PosePredictor, batch: Sequence[tuple[Job, np.ndarray]], wanted: Wanted
) -> list[list[PoseResult]]:
    """The people in each image of a batch, with few passes of the model if one person or boxes are wanted."""
    if wanted.people > 1:
        return [predictor.predict_people(picture, wanted.people) for _, picture in batch]
    rows = [(i, box) for i, (job, _) in enumerate(batch) for box in wanted.boxes_of(job.source) or [None]]
    results = predictor.predict([batch[i][1] for i, _ in rows], [box for _, box in rows])
    people: list[list[PoseResult]] = [[] for _ in batch]
    for (i, _), result in zip(rows, results, strict=True):
        if result.person_score != 0:
            people[i].append(result)
    return people


def without(shared: dict, result: PoseResult) -> dict:
    """A result for JSON, without the entries that the file holds once for all people."""
    return {key: value for key, value in result.to_dict().items() if key not in shared}


def draw(image: np.ndarray, people: Sequence[PoseResult], height: int) -> np.ndarray:
    """The result image, `height` tall: all people on the image, with the first one's 3D pose beside it."""
    if not people:
        return fit_height(image, height)
    canvas = fit_height(image, height)
    scale = height / image.shape[0]
    for person in people[1:]:
        canvas = draw_keypoints(canvas, person.keypoints_px * scale, person.skeleton, scores=person.scores)
    first = people[0]
    return draw_result(
        canvas, first.keypoints_px * scale, first.pose_3d_mm, first.skeleton, height, scores=first.scores
    )
