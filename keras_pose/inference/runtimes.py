"""A common interface to models in any format: run folders, shipped weights, and Keras, TFLite and ONNX files.

An exported file has the input `image` (1, H, W, 3), uint8 or float32 in 0..255, RGB, and the outputs `keypoints_2d`
(1, J, 2) in [0, 1] of the crop, `scores` (1, J) and, unless it is 2D only, `pose_3d` (1, J, 3) mm. The file
`pose.tflite.json` beside `pose.tflite` has the content of a run's model.json: `skeleton`, `input_size` and more.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton
from keras_pose.io.model_info import OWN_CELL_CENTER, TARGET_PEAK, read_sidecar
from keras_pose.weights import SHIPPED_WEIGHTS


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run.

    `input_size` is (height, width). `run` takes crops (B, height, width, 3) uint8 RGB and returns `keypoints_2d`
    (B, J, 2) in [0, 1] of the crop, `scores` (B, J) in [0, 1] and, unless the model is 2D only, `pose_3d` (B, J, 3) mm
    relative to the root. `run_with_heatmaps` also returns `heatmaps` (B, height/4, width/4, J); it is None if the
    format lacks them. `cell_center` is where a joint's peak lies in its heatmap cell (see `models.decoders`).
    """

    name: str
    skeleton: Skeleton
    input_size: tuple[int, int]
    run: Callable[[np.ndarray], dict[str, np.ndarray]]
    run_with_heatmaps: Callable[[np.ndarray], dict[str, np.ndarray]] | None = None
    cell_center: float = OWN_CELL_CENTER


def is_run(source: str | os.PathLike) -> bool:
    """Whether a source is a run's folder or the name of shipped weights, rather than a file."""
    return os.fspath(source) in SHIPPED_WEIGHTS or Path(source).is_dir()


def open_model(source: str | os.PathLike, flip_test: bool = False) -> LoadedModel:
    """Opens a run folder, a .keras file, an exported file, or shipped weights by name.

    Args:
        flip_test: average the heatmaps of the image and its mirror image (`keras_pose.models.flip_test`), for runs and
            shipped weights; an exported file does so if it was exported with --flip_test.

    Raises UserError for anything else, with the known names, and for a lifter, which has no image input.
    """
    path = SHIPPED_WEIGHTS.get(os.fspath(source), Path(source))
    if path.is_dir():
        return _open_run(path, flip_test)
    if flip_test and path.is_file():
        raise UserError(f"{path} is no run, so the flip test cannot be added to it; export a run with --flip_test")
    if path.is_file() and path.suffix == ".keras":
        from keras_pose.models.model_folder import load_model

        info = read_sidecar(path)
        return from_keras(
            load_model(path), info.skeleton, info.input_size, path.name, info.cell_center, info.heatmap_peak
        )
    if path.is_file() and path.suffix in SESSIONS:
        info = read_sidecar(path)
        return from_session(open_session(path), info.skeleton, info.input_size, path.name)
    known = ", ".join(sorted(SHIPPED_WEIGHTS)) or "none"
    raise UserError(
        f"no model {os.fspath(source)!r}: name a run folder, a file ({', '.join(sorted([*SESSIONS, '.keras']))}) "
        f"or shipped weights; known: {known}"
    )


# --- Keras -----------------------------------------------------------------------------------------------------


def _open_run(path: Path, flip_test: bool = False) -> LoadedModel:
    from keras_pose.models.flip_test import with_flip_test
    from keras_pose.models.model_folder import load_run

    model, info = load_run(path)
    if info.kind == "lifter":
        raise UserError(f"{path} is a lifter, which sees no images; name a run of the phase hrnet or e2e")
    if flip_test:
        model = with_flip_test(model, info.skeleton)
    views = 2 if flip_test else 1
    return from_keras(model, info.skeleton, info.input_size, path.name, peak=info.heatmap_peak, views=views)


def from_keras(
    model: Any,
    skeleton: Skeleton,
    input_size: tuple[int, int],
    name: str = "model",
    cell_center: float = OWN_CELL_CENTER,
    peak: float = TARGET_PEAK,
    views: int = 1,
) -> LoadedModel:
    """Wraps a Keras pose or keypoints model (see `keras_pose.models`); traced once for any number of crops.

    Args:
        peak: height of the target heatmaps, which scores 1.
        views: how often the model sees each crop: 2 with the flip test.
    """
    import tensorflow as tf

    from keras_pose.models.soft_argmax import joint_scores

    @tf.function(input_signature=[tf.TensorSpec((None, *input_size, 3), tf.uint8)])
    def infer(images):
        outputs = model(tf.cast(images, tf.float32), training=False)
        kept = {key: outputs[key] for key in ("heatmaps", "keypoints_2d", "pose_3d") if key in outputs}
        return kept | {"scores": joint_scores(outputs["heatmaps"], peak)}

    def run_with_heatmaps(images: np.ndarray) -> dict[str, np.ndarray]:
        # TensorFlow's convolutions on a CPU take ten times as long for one image as for two (docs/performance.md).
        fed = np.repeat(images, 2, axis=0) if len(images) * views == 1 else images
        return {key: value[: len(images)].numpy() for key, value in infer(tf.constant(fed)).items()}

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        return {key: value for key, value in run_with_heatmaps(images).items() if key != "heatmaps"}

    return LoadedModel(name, skeleton, input_size, run, run_with_heatmaps, cell_center)


# --- exported files --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Session:
    """An open exported file.

    `inputs` has the shape and dtype of each input; `infer` takes and returns arrays by name.
    """

    inputs: dict[str, tuple[tuple[int, ...], np.dtype]]
    infer: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


def _cores() -> int:
    """The number of cores that this process may use; on Linux, CPU affinity may allow fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_session(path: str | os.PathLike, threads: int | None = None) -> Session:
    """Opens an exported file with `threads` threads, by default one per core; raises UserError if it is damaged."""
    path = Path(path)
    return SESSIONS[path.suffix](path, threads or _cores())


def _tflite(path: Path, threads: int) -> Session:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter  # the same runtime, included in TensorFlow
    try:
        infer = Interpreter(str(path), num_threads=threads).get_signature_runner()
        details = infer.get_input_details().items()
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{path} is not a TFLite file with a signature; export the model again") from error
    inputs = {name: (tuple(detail["shape"].tolist()), np.dtype(detail["dtype"])) for name, detail in details}
    return Session(inputs, lambda arrays: infer(**arrays))


def _onnx(path: Path, threads: int) -> Session:
    try:
        import onnxruntime
    except ImportError:
        raise UserError(f"{path} needs ONNX Runtime: pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base class
        raise UserError(f"{path} is not an ONNX file that ONNX Runtime can run; export the model again") from error
    dtypes: dict[str, np.dtype] = {"tensor(uint8)": np.dtype(np.uint8), "tensor(float)": np.dtype(np.float32)}
    inputs = {tensor.name: (tuple(tensor.shape), dtypes[tensor.type]) for tensor in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]
    return Session(inputs, lambda arrays: dict(zip(names, session.run(names, arrays), strict=True)))


SESSIONS: dict[str, Callable[[Path, int], Session]] = {".tflite": _tflite, ".onnx": _onnx}


def from_session(session: Session, skeleton: Skeleton, input_size: tuple[int, int], name: str = "model") -> LoadedModel:
    """Wraps an exported file with batch 1 and either image layout; raises UserError for a lifter."""
    if "image" not in session.inputs:
        raise UserError(f"{name} takes {', '.join(session.inputs)} instead of images; name a pose or keypoints file")
    shape, dtype = session.inputs["image"]
    axes = (0, 3, 1, 2) if shape[1] == 3 else (0, 1, 2, 3)
    lasts = {"keypoints_2d": (-1, 2), "scores": (-1,), "pose_3d": (-1, 3)}

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        results = [session.infer({"image": image[None].transpose(axes).astype(dtype)}) for image in images]
        return {
            key: np.stack([result[key].reshape(last) for result in results])
            for key, last in lasts.items()
            if key in results[0]
        }

    return LoadedModel(name, skeleton, input_size, run)
