"""Models of others, measured on the same crops as the project's own."""

from pathlib import Path

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import COCO_17
from keras_pose.data.teachers.tfjs import load_tfjs_graph
from keras_pose.inference.runtimes import LoadedModel, open_model


def open_peer(source: str) -> LoadedModel:
    """What `open_model` opens, and MoveNet as `<name>.json` of TensorFlow.js; raises UserError for anything else."""
    path = Path(source)
    return _open_movenet(path) if path.suffix == ".json" and path.is_file() else open_model(source)


def _open_movenet(path: Path) -> LoadedModel:
    """MoveNet (single pose): int32 RGB in, one row of y, x and score a joint of COCO, in [0, 1] of the picture."""
    graph = load_tfjs_graph(path)
    shape, joints = graph.input_shape, COCO_17.num_joints
    if len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or graph.output_shape != (1, 1, joints, 3):
        raise UserError(
            f"{path} maps {shape} to {graph.output_shape}, MoveNet a picture to (1, 1, {joints}, 3); "
            "take movenet-thunder.json or movenet-lightning.json"
        )

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        rows = np.stack([graph.run(image[None])[0, 0] for image in images])  # (B, J, 3)
        return {"keypoints_2d": rows[..., 1::-1], "scores": rows[..., 2]}

    return LoadedModel(path.name, COCO_17, shape[1:3], run)
