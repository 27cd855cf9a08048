"""One face for whatever a model is kept in: a run folder, a shipped weight, a TFLite or an ONNX file.

An exported file has the input `image` (1, H, W, 3), uint8 or float32 in 0..255, RGB, and the outputs `keypoints_2d`
(J, 2) in [0, 1] of the crop, `scores` (J,) and, unless it is 2D only, `pose_3d` (J, 3) mm. Beside `pose.tflite` lies
`pose.tflite.json` with what model.json of a run says: `skeleton`, `input_size` and more.
"""

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_pose.errors import UserError
from keras_pose.skeleton import Skeleton

# Name of a weight that comes with the package: the folder with its model.keras and model.json.
SHIPPED_WEIGHTS: dict[str, Path] = {}
# The paper's target heatmap, a one smoothed by a 3 x 3 Gaussian of sigma 1, has this peak: it scores 1.
TARGET_PEAK = 1 / (1 + 2 * math.exp(-0.5)) ** 2


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to run.

    `input_size` is (height, width). `run` takes crops (B, height, width, 3) uint8 RGB and gives `keypoints_2d`
    (B, J, 2) in [0, 1] of the crop, `scores` (B, J) in [0, 1] and, unless the model is 2D only, `pose_3d` (B, J, 3)
    mm relative to the root.
    """

    name: str
    skeleton: Skeleton
    input_size: tuple[int, int]
    run: Callable[[np.ndarray], dict[str, np.ndarray]]


def open_model(source: str | os.PathLike) -> LoadedModel:
    """Opens a run folder, an exported file or a shipped weight by its name; raises UserError that lists the known."""
    path = SHIPPED_WEIGHTS.get(os.fspath(source), Path(source))
    if path.is_dir():
        return _open_run(path)
    if path.is_file() and path.suffix in RUNTIMES:
        skeleton, input_size = _read_sidecar(path)
        return LoadedModel(path.name, skeleton, input_size, RUNTIMES[path.suffix](path))
    known = ", ".join(sorted(SHIPPED_WEIGHTS)) or "none"
    raise UserError(
        f"no model {os.fspath(source)!r}: name a run folder, a file ({', '.join(sorted(RUNTIMES))}) "
        f"or a shipped weight; known: {known}"
    )


def _read_sidecar(path: Path) -> tuple[Skeleton, tuple[int, int]]:
    sidecar = path.with_name(path.name + ".json")
    try:
        values = json.loads(sidecar.read_text())
        height, width = values["input_size"]
        return Skeleton.from_dict(values["skeleton"]), (int(height), int(width))
    except FileNotFoundError:
        raise UserError(f"{path} lacks its metadata {sidecar.name}; copy both files, or export again") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{sidecar} is damaged ({error!r}); export the model again") from error


# --- Keras -----------------------------------------------------------------------------------------------------


def _open_run(path: Path) -> LoadedModel:
    from keras_pose.training.run_folder import load_run

    model, info = load_run(path)
    if info["kind"] == "lifter":
        raise UserError(f"{path} holds a lifter, which sees no pictures; name a run of the phase hrnet or e2e")
    return from_keras(model, Skeleton.from_dict(info["skeleton"]), tuple(info["input_size"]), path.name)


def from_keras(model, skeleton: Skeleton, input_size: tuple[int, int], name: str = "model") -> LoadedModel:
    """Wraps a Keras pose or keypoints model (see `keras_pose.models`); traced once, for any number of crops."""
    import tensorflow as tf

    from keras_pose.models.soft_argmax import joint_scores

    @tf.function(input_signature=[tf.TensorSpec((None, *input_size, 3), tf.uint8)])
    def infer(images):
        outputs = model(tf.cast(images, tf.float32), training=False)
        kept = {key: outputs[key] for key in ("keypoints_2d", "pose_3d") if key in outputs}
        return kept | {"scores": tf.clip_by_value(joint_scores(outputs["heatmaps"]) / TARGET_PEAK, 0.0, 1.0)}

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        return {key: value.numpy() for key, value in infer(tf.constant(images)).items()}

    return LoadedModel(name, skeleton, input_size, run)


# --- exported files --------------------------------------------------------------------------------------------


def _tflite(path: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter  # the same runtime, inside TensorFlow
    try:
        infer = Interpreter(str(path), num_threads=os.cpu_count()).get_signature_runner()
    except ValueError as error:
        raise UserError(f"{path} is not a TFLite file with a signature; export the model again") from error
    dtype = infer.get_input_details()["image"]["dtype"]
    return lambda images: _one_by_one(images, lambda image: infer(image=image.astype(dtype)))


def _onnx(path: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    try:
        import onnxruntime
    except ImportError:
        raise UserError(f"{path} needs ONNX Runtime: pip install onnxruntime") from None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    dtype = np.uint8 if session.get_inputs()[0].type == "tensor(uint8)" else np.float32
    names = [output.name for output in session.get_outputs()]

    def infer(image: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, {"image": image.astype(dtype)}), strict=True))

    return lambda images: _one_by_one(images, infer)


RUNTIMES: dict[str, Callable] = {".tflite": _tflite, ".onnx": _onnx}


def _one_by_one(images: np.ndarray, infer) -> dict[str, np.ndarray]:
    """Runs a model of batch 1 over (B, H, W, 3) crops and stacks its outputs, with or without a batch axis."""
    lasts = {"keypoints_2d": (-1, 2), "scores": (-1,), "pose_3d": (-1, 3)}
    results = [infer(image[None]) for image in images]
    return {
        name: np.stack([result[name].reshape(shape) for result in results])
        for name, shape in lasts.items()
        if name in results[0]
    }
