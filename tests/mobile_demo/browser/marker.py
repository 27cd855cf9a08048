"""People for a finder that needs no training: each has a white square in the middle, a fifth as large as the box."""

from pathlib import Path

import cv2
import keras
import numpy as np
from keras import ops

from exporters import tflite
from exporters.tflite_file import append_metadata
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.io.atomic import write_atomically
from keras_pose.io.finder_info import FinderInfo
from keras_pose.io.model_info import Export, Tensor, sidecar_path
from tests.mobile_demo.browser.clips import SIZE
from tests.mobile_demo.browser.oracle import COLOURS

SIDE, STRIDE = 160, 8
CELLS = SIDE // STRIDE
SHARE = 5  # a person's box is so many times as large as the square
REACH = 2  # a cell sees squares so many cells away
# Where the joints lie in a person's box: around its border and one more, so that no dot touches the square.
GRID = np.array(
    [(x, y) for y in range(5) for x in range(5) if x in (0, 4) or y in (0, 4)] + [(2, 1)]
)[: HUMAN36M_17.num_joints]  # fmt: skip
JOINTS = (GRID + 0.5) / 5  # (J, 2) in [0, 1]


def joints_px(box: np.ndarray) -> np.ndarray:
    """(J, 2) of the person in a box x0, y0, x1, y1."""
    box = np.asarray(box, np.float64)
    return box[:2] + JOINTS * (box[2:] - box[:2])


def draw_people(boxes: list, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(H, W, 3) RGB: people in square boxes, each a dot per joint and the square; black elsewhere.

    A dot's radius is a sixteenth of the box.
    """
    image = np.zeros((*size, 3), np.uint8)
    for box in boxes:
        box = np.asarray(box, np.float64)
        side = box[2] - box[0]
        for place, colour in zip(joints_px(box), COLOURS, strict=True):
            center = np.round((place - 0.5) * 16).astype(int).tolist()
            cv2.circle(image, center, round(side), colour.tolist(), -1, cv2.LINE_AA, shift=4)
        low, high = ((box[:2] + box[2:]) / 2 + sign * side / SHARE / 2 for sign in (-1, 1))
        x0, y0, x1, y1 = np.round([*low, *high]).astype(int)
        image[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = 255
    return image


def write_marker_finder(path: Path) -> Path:
    """Writes a finder of the project's contract with its metadata beside it; it finds the people of `draw_people`."""
    export = Export(
        quantization="none",
        layout="nhwc",
        inputs={"image": Tensor((1, SIDE, SIDE, 3), "uint8")},
        outputs={"boxes": Tensor((1, CELLS, CELLS, 4)), "centers": Tensor((1, CELLS, CELLS, 1))},
        run="marker",
        model_sha256="",
        version="0",
    )
    info = FinderInfo(input_size=(SIDE, SIDE), stride=STRIDE, export=export)
    write_atomically(path, append_metadata(tflite.convert_float(_build(), info), info))
    info.write(sidecar_path(path))
    return path


def _build() -> keras.Model:
    image = keras.Input(batch_shape=(1, SIDE, SIDE, 3), dtype="uint8", name="image")
    darkest = -ops.max(-ops.cast(image, "float32") / 255.0, axis=-1, keepdims=True)
    white = ops.relu(1.0 - ops.relu(0.9 - darkest) / 0.3)  # of no joint's colour: their darkest channel is at most 0.5
    covered = keras.layers.AveragePooling2D(STRIDE)(white)  # (1, C, C, 1)
    steps = np.arange(-REACH, REACH + 1)
    y, x = np.meshgrid(steps, steps, indexing="ij")
    near = np.exp(-(x**2 + y**2) / 2)
    kernel = np.stack([near, np.ones_like(near), x, y], -1)[:, :, None].astype("float32")  # (5, 5, 1, 4)
    sums = ops.conv(covered, kernel, padding="same")
    nearness, cells, right, down = (ops.matmul(sums, np.eye(4, dtype="float32")[:, [i]]) for i in range(4))
    cells = cells + 1e-6
    half = 0.5 * SHARE * ops.sqrt(cells) / CELLS
    right, down = right / cells / CELLS, down / cells / CELLS  # from the cell's center to the square's
    boxes = ops.concatenate([half - right, half - down, half + right, half + down], axis=-1)
    return keras.Model(image, {"boxes": boxes, "centers": nearness / (nearness + 0.02)})
