"""Shared by the Human3.6M sources: joints, splits, names and cameras.

The splits are the usual ones: training on S1, S5, S6, S7 and S8, test on S9 and S11. Only three actions of S8
(`VALIDATION_ACTIONS`) are held out for validation, so that training keeps nearly all of the usual data.
"""

from pathlib import Path

import numpy as np

from keras_pose.core import geometry
from keras_pose.core.errors import UserError

TERMS = "Human3.6M licence: academic use only, no redistribution; register at vision.imar.ro/human3.6m"
# The 17 joints of human36m_17 among the data set's 32.
JOINTS_17_OF_32 = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]
CAMERA_IDS = ("54138969", "55011271", "58860488", "60457274")
# (height, width) per camera.
PICTURE_SIZES = dict(zip(CAMERA_IDS, [(1002, 1000), (1000, 1000), (1000, 1000), (1002, 1000)], strict=True))
SPLITS = {"S1": "train", "S5": "train", "S6": "train", "S7": "train", "S8": "train", "S9": "test", "S11": "test"}
VALIDATION_ACTIONS = ("Eating", "Phoning", "Walking")
# The data set's actions 2 to 16.
ACTIONS = (
    "Directions Discussion Eating Greeting Phoning Posing Purchases Sitting SittingDown Smoking Photo Waiting Walking "
    "WalkDog WalkTogether"
).split()
OTHER_NAMES = {"TakingPhoto": "Photo", "WalkingDog": "WalkDog"}  # used by S1
# Sequences of S9 in which parts of the ground truth are offset from the image.
BAD_SEQUENCES_OF_S9 = ("Greeting", "SittingDown", "SittingDown 1", "Waiting 1")

# On the plane z = 1, no camera of the data set sees farther from the center.
WIDEST_VIEW = 10.0


def action_name(sequence: str) -> str:
    """The action of a sequence, one of `ACTIONS`: `Directions 1` is Directions, and S1's names become the others'."""
    name = sequence.partition(" ")[0]
    return OTHER_NAMES.get(name, name)


def split_of(subject: str, sequence: str) -> str:
    """The split of a subject's sequence; raises UserError for a subject without labels."""
    if subject not in SPLITS:
        raise UserError(f"Human3.6M has no labels of subject {subject!r}; known: {', '.join(SPLITS)}")
    return "validation" if subject == "S8" and action_name(sequence) in VALIDATION_ACTIONS else SPLITS[subject]


def is_bad(subject: str, sequence: str) -> bool:
    """Whether a sequence's ground truth is known to be offset."""
    return subject == "S9" and sequence in BAD_SEQUENCES_OF_S9


def find_subjects(input_dir: Path) -> list[str]:
    """The labeled subjects with a folder here; raises UserError if there is none."""
    subjects = [subject for subject in SPLITS if (input_dir / subject).is_dir()]
    if not subjects:
        raise UserError(f"{input_dir} holds none of the folders {', '.join(SPLITS)}; extract the archives there")
    return subjects


def make_camera(rotation, position_mm, focal, center, radial=(), tangential=()) -> geometry.Camera:
    """A camera from Human3.6M's parameters: (3, 3) world-to-camera rotation, and (3,) position in the world."""
    intrinsics = np.array([[focal[0], 0, center[0]], [0, focal[1], center[1]], [0, 0, 1]], np.float64)
    rotation = np.asarray(rotation, np.float64)
    translation = -rotation @ np.asarray(position_mm, np.float64)
    return geometry.Camera(intrinsics, rotation, translation, tuple(radial), tuple(tangential))


def local_intrinsics(camera: geometry.Camera, camera_mm: np.ndarray) -> np.ndarray:
    """(3, 3) of the pinhole camera that best approximates a distorting one around a person's (J, 3) joints.

    Crops are not undistorted, so no pinhole camera projects exactly onto their pixels and 2D labels. The camera's own
    matrix is off by several pixels. This one, a least-squares fit over the person's box (possibly with skew), is off by
    half an image pixel in the median. NaN if a joint is not finite, behind the camera or out of any camera's view.
    """
    with np.errstate(all="ignore"):
        plane = camera_mm[:, :2] / camera_mm[:, 2:]
    if not (camera_mm[:, 2] > 0).all() or not (np.abs(plane) < WIDEST_VIEW).all():
        return np.full((3, 3), np.nan)
    low, high = plane.min(0) - 1e-3, plane.max(0) + 1e-3
    steps = np.linspace(0, 1, 7)
    grid = low + (high - low) * np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)  # (49, 2)
    ones = np.ones((len(grid), 1))
    pixels = camera.project(np.concatenate([grid, ones], axis=1))
    fitted = np.linalg.lstsq(np.concatenate([grid, ones], axis=1), pixels, rcond=None)[0]  # (3, 2)
    return np.concatenate([fitted.T, [[0.0, 0.0, 1.0]]])
