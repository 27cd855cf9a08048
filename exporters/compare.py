"""Compares exported files with the Keras model they were made from, on real samples."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporters import exporter_of
from exporters.contract import PARTS
from exporters.inference_graph import Source
from exporters.samples import Samples
from exporters.worker import measure
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton
from keras_pose.inference import runtimes
from keras_pose.models.flip_test import with_flip_test

LARGEST_RANK = 4
Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Tolerance:
    """The largest allowed distance of a file's joints from the Keras model's.

    `held_by` selects the measure: `largest`, the distance of any joint; `mean`, over all joints; `growth`, of the MPJPE
    in 3D (the mean distance without labels) and the mean distance in 2D. Quantized forms may move a joint that the
    model itself is unsure of, so their largest distance means little. `px` are pixels of the crop; where its longer
    side has more than `crop_px` pixels, as many times more are allowed.
    """

    held_by: str
    px: float
    mm: float
    crop_px: int | None = None

    def px_in(self, input_size: tuple[int, int]) -> float:
        """`px` for a crop of (height, width)."""
        return self.px * (max(1.0, max(input_size) / self.crop_px) if self.crop_px else 1.0)


TOLERANCES = {
    "none": Tolerance("largest", px=0.01, mm=0.05),
    "float16": Tolerance("mean", px=0.1, mm=0.5),
    "float16_arithmetic": Tolerance("mean", px=0.1, mm=0.5),
    "dynamic": Tolerance("growth", px=0.5, mm=1.5, crop_px=100),
    "int8": Tolerance("growth", px=0.5, mm=1.5, crop_px=100),
}


@dataclass(frozen=True)
class Parity:
    """A file's distances from the Keras model; 2D ones in pixels of the crop, None if a part lacks the output."""

    file: str
    quantization: str
    size_mb: float
    operations: int
    samples: int
    largest_px: float | None
    mean_px: float | None
    largest_mm: float | None
    mean_mm: float | None
    mpjpe_mm: float | None
    keras_mpjpe_mm: float | None
    passed: bool


def check_operations(path: Path) -> int:
    """The number of operations; raises UserError if phones do not run one of them."""
    exporter = exporter_of(path)
    found = exporter.operations(path)
    unknown = {name for name, _ in found} - exporter.OPERATIONS
    if unknown:
        raise UserError(
            f"{path} holds {', '.join(sorted(unknown))}, which not every phone runs; see {exporter.__name__}"
        )
    tall = {name for name, shape in found if len(shape) > LARGEST_RANK}
    if tall:
        raise UserError(f"{path}: {', '.join(sorted(tall))} has more than {LARGEST_RANK} dimensions, which GPUs refuse")
    return len(found)


def keras_outputs(source: Source, part: str, samples: Samples, flip_test: bool = False) -> Outputs:
    """The Keras model's outputs for all samples; with `flip_test`, those of `keras_pose.models.flip_test`."""
    if part == "lifter":
        encoder = source.model.get_layer("encoder")
        batches = samples.batches("keypoints_2d")
        return {"pose_3d": np.concatenate([np.asarray(encoder(batch, training=False)) for batch in batches])}
    seen = with_flip_test(source.model, source.info.skeleton) if flip_test else source.model
    model = runtimes.from_keras(seen, *_skeleton_and_size(source), peak=source.info.heatmap_peak)
    return _run_pictures(model, samples)


def file_outputs(path: Path, source: Source, part: str, samples: Samples) -> Outputs:
    """The file's outputs for all samples."""
    session = runtimes.open_session(path)
    if part == "lifter":
        poses = [session.infer({"keypoints_2d": keypoints[None]})["pose_3d"] for keypoints in samples.keypoints_2d]
        return {"pose_3d": np.concatenate(poses)}
    return _run_pictures(runtimes.from_session(session, *_skeleton_and_size(source), path.name), samples)


def read_part(path: Path, source: Source) -> str:
    """Returns the part that a file contains, after checking that it is intact and of the run's kind.

    Raises UserError if the file is damaged, or its skeleton, input size or kind differs from the run's.
    """
    measure(path, threads=1)  # in another process, which a damaged file may crash
    info = exporter_of(path).read_info(path)
    if info.skeleton != source.info.skeleton or info.input_size != source.info.input_size:
        raise UserError(f"{path} has a different skeleton or input size than {source.path}; name the run it came from")
    if source.info.kind not in PARTS[info.kind].kinds:
        raise UserError(f"{path} holds a {info.kind}, {source.path} does not; name the run it came from")
    if info.export is None:
        raise UserError(f"{path} does not say how it was exported; export the model again")
    return info.kind


def compare_file(
    path: Path, source: Source, samples: Samples, expected: Outputs, tolerance_mm: float | None = None
) -> Parity:
    """Compares one file with the Keras model's outputs, `expected`; `tolerance_mm` overrides that of `TOLERANCES`.

    Raises UserError if the file contains operations that phones refuse.
    """
    info = exporter_of(path).read_info(path)
    operations = check_operations(path)
    found = file_outputs(path, source, info.kind, samples)
    values = _distances(expected, found, samples, source.info.input_size)
    tolerance = TOLERANCES[info.exported.quantization]
    if tolerance_mm is not None:
        tolerance = dataclasses.replace(tolerance, mm=tolerance_mm)
    return Parity(
        file=path.name,
        quantization=info.exported.quantization,
        size_mb=path.stat().st_size / 1e6,
        operations=operations,
        samples=len(samples),
        passed=_within(values, tolerance, source.info.input_size),
        **values,
    )


def _skeleton_and_size(source: Source) -> tuple[Skeleton, tuple[int, int]]:
    return source.info.skeleton, source.info.input_size


def _run_pictures(model: runtimes.LoadedModel, samples: Samples) -> Outputs:
    results = [model.run(batch) for batch in samples.batches("image")]
    return {name: np.concatenate([result[name] for result in results]) for name in results[0]}


def _distances(
    expected: Outputs, found: Outputs, samples: Samples, input_size: tuple[int, int]
) -> dict[str, float | None]:
    values: dict[str, float | None] = dict.fromkeys(
        ("largest_px", "mean_px", "largest_mm", "mean_mm", "mpjpe_mm", "keras_mpjpe_mm")
    )
    if "keypoints_2d" in found:
        shift = (found["keypoints_2d"] - expected["keypoints_2d"]) * np.array([input_size[1], input_size[0]])
        distance = np.linalg.norm(shift, axis=-1)  # (N, J)
        values |= {"largest_px": float(distance.max()), "mean_px": float(distance.mean())}
    if "pose_3d" in found:
        distance = np.linalg.norm(found["pose_3d"] - expected["pose_3d"], axis=-1)  # (N, J)
        values |= {"largest_mm": float(distance.max()), "mean_mm": float(distance.mean())}
        labelled = samples.pose_3d_valid > 0  # (N, J)
        if labelled.any():
            errors = [
                np.linalg.norm(poses["pose_3d"] - samples.pose_3d, axis=-1)[labelled] for poses in (found, expected)
            ]
            values |= {"mpjpe_mm": float(errors[0].mean()), "keras_mpjpe_mm": float(errors[1].mean())}
    return values


def _within(values: dict[str, float | None], tolerance: Tolerance, input_size: tuple[int, int]) -> bool:
    largest = tolerance.held_by == "largest"
    px, mm = values["largest_px" if largest else "mean_px"], values["largest_mm" if largest else "mean_mm"]
    mpjpe_mm, keras_mpjpe_mm = values["mpjpe_mm"], values["keras_mpjpe_mm"]
    if tolerance.held_by == "growth" and mpjpe_mm is not None and keras_mpjpe_mm is not None:
        mm = mpjpe_mm - keras_mpjpe_mm
    bounds = ((px, tolerance.px_in(input_size)), (mm, tolerance.mm))
    return all(value is None or value <= bound for value, bound in bounds)  # NaN exceeds every tolerance


def describe_failure(result: Parity) -> str:
    """One line about a file that exceeds its tolerance."""
    kind = "largest" if TOLERANCES[result.quantization].held_by == "largest" else "mean"
    parts = []
    if result.largest_px is not None:
        parts.append(f"2D by {getattr(result, kind + '_px'):.3g} px ({kind})")
    if result.largest_mm is not None:
        parts.append(f"3D by {getattr(result, kind + '_mm'):.3g} mm ({kind})")
    if result.mpjpe_mm is not None:
        parts.append(f"MPJPE {result.mpjpe_mm:.2f} against {result.keras_mpjpe_mm:.2f} mm")
    finer = "" if result.quantization == "none" else "choose a finer form, or "
    remedy = f"{finer}give a larger --tolerance_mm for 3D, or --noparity to skip the comparison"
    return f"{result.quantization} differs from Keras: {', '.join(parts)}; {remedy}"


def to_dict(results: list[Parity]) -> dict:
    """The results as values for JSON."""
    return {"files": [dataclasses.asdict(result) for result in results]}


def format_table(results: list[Parity]) -> str:
    """The results as a table."""
    rows = [("file", "form", "MB", "operations", "2D px max/mean", "3D mm max/mean", "MPJPE (Keras) mm", "")]
    for result in results:
        rows.append(
            (
                result.file,
                result.quantization,
                f"{result.size_mb:.1f}",
                str(result.operations),
                _pair(result.largest_px, result.mean_px),
                _pair(result.largest_mm, result.mean_mm),
                "-" if result.mpjpe_mm is None else f"{result.mpjpe_mm:.2f} ({result.keras_mpjpe_mm:.2f})",
                "ok" if result.passed else "PAST TOLERANCE",
            )
        )
    return align(rows)


def align(rows: Sequence[tuple[str, ...]]) -> str:
    """Text rows as aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def _pair(largest: float | None, mean: float | None) -> str:
    return "-" if largest is None else f"{largest:.4f} / {mean:.4f}"
