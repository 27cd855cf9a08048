"""Published models of others, MoveNet and BlazePose, opened for evaluation on the same crops as the project's own."""

from pathlib import Path

import numpy as np

from keras_pose.core.skeleton import BLAZEPOSE_18, COCO_17
from keras_pose.data.teachers.blazepose import SIZE, BlazePose, is_blazepose
from keras_pose.data.teachers.movenet import MoveNet
from keras_pose.inference.runtimes import LoadedModel, open_model


def open_peer(source: str) -> LoadedModel:
    """Opens anything `open_model` opens, TensorFlow.js MoveNet as `<name>.json`, and BlazePose's landmark .tflite.

    Raises UserError for anything else.
    """
    path = Path(source)
    if path.suffix == ".json" and path.is_file():
        return _open_movenet(path)
    return _open_blazepose(path) if is_blazepose(path) else open_model(source)


def _open_movenet(path: Path) -> LoadedModel:
    """MoveNet (single pose), which returns a row (y, x, score) per joint of COCO, positions in [0, 1] of the image."""
    movenet = MoveNet(path)

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        rows = np.stack([movenet.run(image) for image in images])  # (B, J, 3)
        return {"keypoints_2d": rows[..., 1::-1], "scores": rows[..., 2]}

    return LoadedModel(path.name, COCO_17, movenet.input_size, run)


def _open_blazepose(path: Path) -> LoadedModel:
    """BlazePose's landmark model, run repeatedly until its crop fits the person, as its pipeline does in a video."""
    blazepose = BlazePose(path)

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        found = [blazepose.find(image) for image in images]
        return {
            "keypoints_2d": np.stack([each.keypoints_px / SIZE for each in found]).astype(np.float32),
            "scores": np.stack([each.presence for each in found]).astype(np.float32),
            "pose_3d": np.stack([each.pose_mm for each in found]).astype(np.float32),
        }

    return LoadedModel(path.name, BLAZEPOSE_18, (SIZE, SIZE), run)
