"""Photos with one labelled person each: where the person is, and which parts of a photo show nobody.

`keras_pose.finding.label` writes a label file (.npz) with the help of two teachers. Its keys: `paths` (N,), relative to
the folder of photos; `size` (N, 2) height and width; `keypoints_px` (N, 17, 2), the joints of COCO; `agreed` (N, 17)
bool, where both teachers agree; `sure` (N, 17) bool, where MoveNet is sure.

Splits follow `keras_pose.data.prepare --source=photos`: its validation photos test the finder, so a pose model trained
on its training photos has not seen them either. Some of its training photos validate the finder.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import COCO_17
from keras_pose.data.sources import photos as unlabelled

KEYS = ("paths", "size", "keypoints_px", "agreed", "sure")
FEWEST_JOINTS = 8  # of the twelve limb joints; with fewer, a photo has no label
FEWEST_AGREED = 5  # of the twelve limb joints, on which both teachers must agree
HEAD = 0.7  # distance from the nose to the top of the head, in distances from the neck to the nose
VALIDATION_SHARE = 16  # one group of the photos that are not for test in this many
HELD_OUT = ("street", "exercise")  # folders with validation and test photos; all other folders are for training

_LIMBS = np.array([COCO_17.index(f"{side}_{joint}") for side in ("left", "right")
                   for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")])  # fmt: skip
_NOSE, _LEFT_SHOULDER, _RIGHT_SHOULDER = (COCO_17.index(name) for name in ("nose", "left_shoulder", "right_shoulder"))


@dataclass(frozen=True)
class Photo:
    """One photo and the person whom the teachers found in it.

    `points_px` (K, 2) are the sure joints and the top of the head, or None if too few joints are sure. `keypoints_px`
    (17, 2) are COCO's joints, `valid` (17,) where both teachers agree. `size` is (height, width), `kind` the folder.
    """

    path: Path
    kind: str
    split: str
    size: tuple[int, int]
    points_px: np.ndarray | None
    keypoints_px: np.ndarray
    valid: np.ndarray


def split_of(path: str) -> str:
    """train, validation or test, by the photo's path; the start and end photo of an exercise share a split."""
    folder, _, name = path.partition("/")
    if folder not in HELD_OUT:
        return "train"
    if unlabelled.split_of(Path(name)) == "validation":
        return "test"
    validates = zlib.crc32(f"finder {unlabelled.group_of(Path(name))}".encode()) % VALIDATION_SHARE == 0
    return "validation" if validates else "train"


def read_photos(folder: str | Path, label_files: Sequence[str | Path]) -> list[Photo]:
    """The photos of all label files, sorted by path; raises UserError for a file that is not a label file."""
    photos = [photo for file in label_files for photo in _read_labels(Path(folder), Path(file))]
    return sorted(photos, key=lambda photo: photo.path)


def _read_labels(folder: Path, file: Path) -> list[Photo]:
    try:
        with np.load(file, allow_pickle=False) as labels:
            columns = {key: labels[key] for key in KEYS}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{file} is not a label file ({error}); run keras_pose.finding.label") from error
    photos = []
    for path, size, keypoints, agreed, sure in zip(*(columns[key] for key in KEYS), strict=True):
        points = person_points(keypoints, agreed, sure, tuple(size))
        name = str(path)
        photos.append(Photo(folder / name, name.split("/")[0], split_of(name), tuple(size), points, keypoints, agreed))
    return photos


def person_points(
    keypoints_px: np.ndarray, agreed: np.ndarray, sure: np.ndarray, size: tuple[int, int]
) -> np.ndarray | None:
    """(K, 2): the sure joints and the top of the head, or None if too few joints are sure.

    A joint is sure if both teachers agree or MoveNet is sure, and it lies inside the image of `size` (height, width).
    """
    sure = (agreed | sure) & geometry.inside_image(keypoints_px, (size[0] + 4, size[1] + 4))
    if sure[_LIMBS].sum() < FEWEST_JOINTS or agreed[_LIMBS].sum() < FEWEST_AGREED:
        return None
    points = keypoints_px[sure]
    if sure[_NOSE] and sure[_LEFT_SHOULDER] and sure[_RIGHT_SHOULDER]:
        neck = keypoints_px[[_LEFT_SHOULDER, _RIGHT_SHOULDER]].mean(0)
        points = np.concatenate([points, [keypoints_px[_NOSE] + HEAD * (keypoints_px[_NOSE] - neck)]])
    return points


def empty_zones(photo: Photo) -> list[tuple[int, int, int, int]]:
    """(x0, y0, x1, y1) of the parts of a photo that should show nobody, given its one labelled person.

    In exercise photos, that is everything around the person. In street photos, passers-by stand at the person's own
    height, so only the parts above the shoulders and below the knees count. Photos from other folders have no such
    parts, because sports have spectators.
    """
    if photo.points_px is None or photo.kind not in HELD_OUT:
        return []
    height, width = photo.size
    x0, y0, x1, y1 = geometry.keypoints_box(photo.points_px, np.ones(len(photo.points_px), bool))
    margin = 0.12 * max(x1 - x0, y1 - y0)
    left, right, top, bottom = (int(v) for v in (x0 - margin, x1 + margin, y0 - margin, y1 + margin))
    low, high = (0, height) if photo.kind == "exercise" else (0, int(y0 + 0.22 * (y1 - y0)))
    zones = [(0, low, left, high), (right, low, width, high), (0, 0, width, top), (0, bottom, width, height)]
    if photo.kind == "street":
        knees = int(y0 + 0.85 * (y1 - y0))
        zones += [(0, knees, left, height), (right, knees, width, height)]
    return [zone for zone in zones if zone[2] - zone[0] >= 48 and zone[3] - zone[1] >= 48]
