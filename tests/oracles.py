"""Models that know the answer: a picture of coloured dots, and a model that reads the dots."""

import cv2
import numpy as np

from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.inference.runtimes import LoadedModel
from tests.poses import STANDING_MM

# Joint j's colour: blue is full, red and green tell the joint.
COLORS = np.array([(20 + 55 * (j % 5), 20 + 55 * (j // 5), 255) for j in range(17)])


def standing_px(centre: tuple[float, float], height_px: float) -> np.ndarray:
    """(17, 2) pixels of the standing person, `height_px` from head to ankle, pelvis at `centre`."""
    return STANDING_MM[:, :2] * (height_px / 1650) + np.array(centre)


def dot_picture(keypoints_px: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(height, width) RGB, black, with a dot in the joint's colour at each joint; dots grow with the person."""
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
