"""Models of others, measured on the same crops as the project's own."""

from pathlib import Path

import numpy as np

from keras_pose.core.skeleton import COCO_17
from keras_pose.data.teachers.movenet import MoveNet
from keras_pose.inference.runtimes import LoadedModel, open_model


def open_peer(source: str) -> LoadedModel:
    """What `open_model` opens, and MoveNet as `<name>.json` of TensorFlow.js; raises UserError for anything else."""
    path = Path(source)
    return _open_movenet(path) if path.suffix == ".json" and path.is_file() else open_model(source)


def _open_movenet(path: Path) -> LoadedModel:
    """MoveNet (single pose): int32 RGB in, one row of y, x and score per joint of COCO, in [0, 1] of the picture."""
    movenet = MoveNet(path)

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        rows = np.stack([movenet.run(image) for image in images])  # (B, J, 3)
        return {"keypoints_2d": rows[..., 1::-1], "scores": rows[..., 2]}

    return LoadedModel(path.name, COCO_17, movenet.input_size, run)
