"""Models that know the answer: they read joints off coloured dots, so what the page draws can be held against it."""

from pathlib import Path

import keras
import numpy as np
from keras import ops

from exporters import tflite
from exporters.contract import Form, describe_export
from exporters.tflite_file import append_metadata
from keras_pose.core.skeleton import HUMAN36M_17, Skeleton
from keras_pose.io.atomic import write_atomically
from keras_pose.io.model_info import ModelInfo, sidecar_path
from keras_pose.models.soft_argmax import SoftArgmax, joint_scores

STRIDE = 4  # heatmap cells are so many pixels of the input, as HRNet's are
BETA = 20.0  # outweighs the background of a map whose peak is 1
REACH = 0.22  # colours (0 to 1) farther than this from a joint's are not it; neighbours in `COLOURS` are 0.5 apart
# Brightest channel full, so that no colour is another one's darker rim; black between the dots.
COLOURS = np.array([
    (255, 0, 0), (255, 128, 0), (255, 255, 0), (128, 255, 0), (0, 255, 0), (0, 255, 128),
    (0, 255, 255), (0, 128, 255), (0, 0, 255), (128, 0, 255), (255, 0, 255), (255, 0, 128),
    (255, 128, 128), (255, 255, 128), (128, 255, 128), (128, 255, 255), (128, 128, 255),
])  # fmt: skip
HEXAPOD_6 = Skeleton("hexapod_6", ("body", "front", "back", "left_foot", "right_foot", "tail"), (-1, 0, 0, 1, 1, 2), 0)
SIZES = {HUMAN36M_17: (256, 256), HEXAPOD_6: (256, 192)}


def pose_of(keypoints_2d: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(J, 2) in [0, 1] to the (J, 3) mm that an oracle gives: a metre a crop, z rising with x, relative to the root."""
    relative = keypoints_2d - keypoints_2d[skeleton.root]
    return np.concatenate([1000 * relative, 500 * relative[:, :1]], axis=-1)


def write_oracle(path: Path, skeleton: Skeleton = HUMAN36M_17, part: str = "pose") -> Path:
    """Writes a .tflite of the project's contract, and its metadata beside it."""
    size = SIZES[skeleton]
    info = describe_export(Form(part), ModelInfo("pose", skeleton, size), "oracle", Path(__file__))
    graph = _build(skeleton, size, list(info.export.outputs))
    write_atomically(path, append_metadata(tflite.convert_float(graph, info), info))
    info.write(sidecar_path(path))
    return path


def _build(skeleton: Skeleton, size: tuple[int, int], names: list[str]) -> keras.Model:
    joints = skeleton.num_joints
    image = keras.Input(batch_shape=(1, *size, 3), dtype="uint8", name="image")
    colours = keras.layers.AveragePooling2D(STRIDE)(ops.cast(image, "float32") / 255.0)  # (1, H/4, W/4, 3)
    wanted = COLOURS[:joints].astype("float32") / 255.0
    products = ops.matmul(colours, wanted.T)
    distance = ops.sum(colours * colours, -1, keepdims=True) - 2.0 * products + (wanted**2).sum(-1)
    heatmaps = ops.relu(1.0 - distance / REACH**2)  # (1, H/4, W/4, J)
    keypoints_2d = SoftArgmax(BETA)(heatmaps)  # (1, J, 2)
    # pose_of is linear: its matrix is what it makes of each coordinate alone.
    matrix = np.stack([pose_of(row.reshape(joints, 2), skeleton).ravel() for row in np.eye(2 * joints)])
    pose = ops.matmul(ops.reshape(keypoints_2d, (1, 2 * joints)), matrix.astype("float32"))
    outputs = {
        "keypoints_2d": keypoints_2d,
        "scores": joint_scores(heatmaps),
        "pose_3d": ops.reshape(pose, (1, joints, 3)),
    }
    return keras.Model(image, {name: outputs[name] for name in names})
