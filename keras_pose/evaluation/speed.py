"""Compares the speed of models: one thread, one image at a time; the models take turns."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from keras_pose.data.teachers.blazepose import BlazePose, is_blazepose
from keras_pose.evaluation.report import align
from keras_pose.evaluation.result import EvaluationResult
from keras_pose.inference.runtimes import SESSIONS, open_session
from keras_pose.weights import SHIPPED_WEIGHTS

WARMUP, REPETITIONS, ROUNDS = 3, 20, 3


@dataclass(frozen=True)
class Speed:
    """One model: its median inference time (None if phones cannot run its format), and the size of its files."""

    model: str
    milliseconds_per_image: float | None
    megabytes: float


def measure_speed(sources: list[str]) -> list[Speed]:
    """The speed of exported files, MoveNet's .json and BlazePose's .tflite, each on one thread.

    Models take turns, so that a busy machine slows all of them alike. Runs and .keras files, which phones cannot run,
    get no time.
    """
    steps = [_inference(Path(source)) for source in sources]
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(ROUNDS):
        for step, taken in zip(steps, times, strict=True):
            for i in range(WARMUP + REPETITIONS if step else 0):
                start = time.perf_counter()
                step()
                if i >= WARMUP:
                    taken.append(time.perf_counter() - start)
    return [
        Speed(_name(Path(source)), float(np.median(taken)) * 1000 if taken else None, _megabytes(Path(source)))
        for source, taken in zip(sources, times, strict=True)
    ]


def _name(path: Path) -> str:
    """The file's name, after that of the weights if it is shipped with them: phone_pose_int8.tflite."""
    shipped = path.resolve().parent in (folder.resolve() for folder in SHIPPED_WEIGHTS.values())
    return f"{path.parent.name}_{path.name}" if shipped else path.name


def _inference(path: Path) -> Callable[[], object] | None:
    """A function that runs one inference on a fixed input, or None for other formats; it does not find the person."""
    if path.suffix == ".json":
        return _movenet_step(path)
    if is_blazepose(path):
        return BlazePose(path).step
    if path.is_file() and path.suffix in SESSIONS:
        session = open_session(path, threads=1)
        inputs = {name: _noise(shape, dtype) for name, (shape, dtype) in session.inputs.items()}
        return lambda: session.infer(inputs)
    return None


def _movenet_step(path: Path) -> Callable[[], object]:
    """`_inference` of MoveNet, converted to TFLite and run by LiteRT, as the project's own .tflite files are."""
    import tensorflow as tf

    from keras_pose.data.teachers.tfjs import load_tfjs_graph

    graph = load_tfjs_graph(path)
    content = tf.lite.TFLiteConverter.from_concrete_functions([graph.function]).convert()
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        Interpreter = tf.lite.Interpreter
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    detail = interpreter.get_input_details()[0]
    interpreter.set_tensor(detail["index"], _noise(graph.input_shape, detail["dtype"]))
    return interpreter.invoke


def _noise(shape: tuple[int, ...], dtype) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, shape).astype(dtype)


def _megabytes(path: Path) -> float:
    """The size of a file, including the weights beside MoveNet's graph; for a folder, that of its model.keras."""
    path = path / "model.keras" if path.is_dir() else path
    parts = [path, path.with_suffix(".bin")] if path.suffix == ".json" else [path]
    return sum(part.stat().st_size for part in parts if part.is_file()) / 1e6


def format_speed(rows: list[dict]) -> str:
    """One table of accuracy, time and size; `rows` are from `join`."""
    cells = [("model", "PCK limbs", "upright", "3D", "ms", "MB")]
    for row in rows:
        cells.append(
            (
                row["model"],
                _number(row["pck_0_2_limbs"], "{:.3f}"),
                _number(row["pck_0_2_limbs_upright"], "{:.3f}"),
                "yes" if row["has_pose_3d"] else "no",
                _number(row["milliseconds_per_image"], "{:.1f}"),
                f"{row['megabytes']:.1f}",
            )
        )
    return align(cells)


def join(speed: Speed, result: EvaluationResult, has_pose_3d: bool) -> dict:
    """Accuracy, time and size of one model, as values for JSON."""
    upright = result.per_posture()["upright"]
    return asdict(speed) | {
        "pck_0_2_limbs": result.summary()["pck_0_2_limbs"],
        "pck_0_2_limbs_upright": upright["pck_0_2_limbs"] if upright["count"] else None,
        "has_pose_3d": has_pose_3d,
    }


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
