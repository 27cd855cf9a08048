"""Models that know the answer: an image of colored dots, and a model that reads the dots."""

import cv2
import numpy as np

from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.inference.finder import PersonFinder
from keras_pose.inference.runtimes import LoadedModel
from tests.poses import STANDING_MM

# Joint j's color: blue is full, red and green tell the joint.
COLORS = np.array([(20 + 55 * (j % 5), 20 + 55 * (j // 5), 255) for j in range(17)])


def standing_px(centre: tuple[float, float], height_px: float) -> np.ndarray:
    """(17, 2) pixels of the standing person, `height_px` from head to ankle, pelvis at `centre`."""
    return STANDING_MM[:, :2] * (height_px / 1650) + np.array(centre)


def dot_picture(keypoints_px: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(height, width) RGB, black, with a dot in the joint's color at each joint; dots grow with the person."""
    picture = np.zeros((*size, 3), np.uint8)
    radius = max(2, round(np.ptp(keypoints_px, axis=0).max() / 40))
    for point, color in zip(keypoints_px, COLORS, strict=True):
        centre = tuple(int(round(v)) for v in (point - 0.5) * 16)
        cv2.circle(picture, centre, radius * 16, tuple(int(c) for c in color), -1, shift=4)
    return picture


class DotReader:
    """Finds the dots; joints that it does not see are put in the middle of the crop with score 0.

    Keeps the crops it was given in `crops`, a batch an item.
    """

    def __init__(self):
        self.crops = []

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        self.crops.append(images)
        keypoints, scores = np.full((len(images), 17, 2), 0.5), np.zeros((len(images), 17))
        for i, image in enumerate(images):
            for j, color in enumerate(COLORS):
                rows, columns = np.nonzero(np.abs(image.astype(int) - color).sum(-1) < 40)
                if len(rows):
                    keypoints[i, j] = (columns.mean() + 0.5) / image.shape[1], (rows.mean() + 0.5) / image.shape[0]
                    scores[i, j] = 1.0
        return {"keypoints_2d": keypoints, "scores": scores, "pose_3d": np.tile(STANDING_MM, (len(images), 1, 1))}


def dot_model(input_size: tuple[int, int] = (256, 192)) -> LoadedModel:
    return LoadedModel("dots", HUMAN36M_17, input_size, DotReader())


def people_picture(people: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """(height, width) RGB, black, with the dots of several people of (17, 2) pixels."""
    pictures = [dot_picture(keypoints_px, size) for keypoints_px in people]
    return np.max(pictures, axis=0) if pictures else np.zeros((*size, 3), np.uint8)


class DotPeople:
    """A finder's `run`: a group of dots that hang together, after growing by a fifth of the input, is a person.

    Keeps the images it was given in `images`.
    """

    def __init__(self, size: int = 256, stride: int = 8):
        self.images, self.size, self.stride = [], size, stride

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        self.images.append(image)
        cells = self.size // self.stride
        centers, boxes = np.zeros((cells, cells), np.float32), np.zeros((cells, cells, 4), np.float32)
        dots = (image.max(-1) > 60).astype(np.uint8)
        grown = cv2.dilate(dots, np.ones((self.size // 5, self.size // 10), np.uint8))
        count, groups = cv2.connectedComponents(grown)
        for group in range(1, count):
            rows, columns = np.nonzero(dots * (groups == group))
            box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / self.size
            column, row = (int((box[i] + box[i + 2]) / 2 * cells) for i in (0, 1))
            middle = np.array([column + 0.5, row + 0.5]) / cells
            centers[row, column] = 0.9
            boxes[row, column] = [*(middle - box[:2]), *(box[2:] - middle)]
        return {"centers": centers, "boxes": boxes}


def dot_finder() -> PersonFinder:
    people = DotPeople()
    return PersonFinder(people, people.size)
