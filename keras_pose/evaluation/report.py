"""Reports an evaluation as text, JSON and images."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from keras_pose.core import geometry
from keras_pose.evaluation.result import PLACES, EvaluationResult, Sample
from keras_pose.io import atomic
from keras_pose.visualization import figures
from keras_pose.visualization.drawing import contact_sheet, draw_result, save_png

# Heading and format of each metric in tables.
COLUMNS = {
    "count": ("count", "{:d}"),
    "mpjpe_mm": ("MPJPE mm", "{:.1f}"),
    "mpjpe_noisy_mm": ("noisy MPJPE mm", "{:.1f}"),
    "pa_mpjpe_mm": ("PA-MPJPE mm", "{:.1f}"),
    "n_mpjpe_mm": ("N-MPJPE mm", "{:.1f}"),
    "pck3d_150mm": ("3D PCK@150mm", "{:.3f}"),
    "auc": ("3D AUC", "{:.3f}"),
    "pckh_0_5": ("PCKh@0.5", "{:.3f}"),
    "mean_pose_mpjpe_mm": ("mean pose mm", "{:.1f}"),
    "pck_0_2": ("PCK@0.2", "{:.3f}"),
    "pck_0_2_limbs": ("PCK limbs", "{:.3f}"),
    "pckh_0_5_limbs": ("PCKh limbs", "{:.3f}"),
    "pck_0_2_either_side": ("PCK either side", "{:.3f}"),
    "left_right_collapse": ("L/R collapse", "{:.3f}"),
}


def write_evaluation(directory: str | os.PathLike, result: EvaluationResult) -> None:
    """Writes evaluation_errors.png (a histogram per joint), evaluation_samples.png and evaluation.json.

    The last file marks a run as finished, so it is written last. Raises UserError if a file cannot be written.
    """
    directory = Path(directory)
    for key, unit in (("error_mm", "mm"), ("error_px", "px")):
        errors = result.scores[key]
        if not np.isnan(errors).all():
            figures.plot_error_histograms(
                errors, result.skeleton.joint_names, directory / "evaluation_errors.png", unit
            )
            break
    if result.samples:
        save_png(directory / "evaluation_samples.png", draw_samples(result))
    atomic.write_json(directory / "evaluation.json", result.to_dict())


def draw_samples(result: EvaluationResult, height: int = 200) -> np.ndarray:
    """A row each of the best, median and worst samples: image with skeleton, and 3D pose from two sides.

    The ground truth is gray.
    """
    pictures = [_draw_sample(sample, result, height) for sample in result.samples]
    titles = [
        f"{sample.place}: {sample.error:.1f} {sample.unit}  {sample.example['subject'].decode()} "
        f"{sample.example['action'].decode()} {sample.example['frame']}"
        for sample in result.samples
    ]
    return contact_sheet(pictures, max(1, len(pictures) // len(PLACES)), titles)


def _draw_sample(sample: Sample, result: EvaluationResult, height: int) -> np.ndarray:
    example, predicted = sample.example, sample.predicted
    label_px = geometry.denormalize_keypoints(example["keypoints_2d"], result.image_size)
    missing = np.full_like(example["keypoints_2d"], np.nan)  # a lifter predicts no keypoints
    return draw_result(
        example["image"],
        geometry.denormalize_keypoints(predicted.get("keypoints_2d", missing), result.image_size),
        predicted.get("pose_3d"),
        result.skeleton,
        height,
        true_keypoints_px=label_px,
        true_valid=example["keypoint_valid"] > 0,
        true_pose_3d_mm=example["pose_3d"],
        true_pose_valid=example["pose_3d_valid"] > 0,
    )


# --- text ------------------------------------------------------------------------------------------------------


def format_tables(result: EvaluationResult) -> str:
    """The tables for the terminal: all metrics, then per joint, and per posture and action if there are several."""
    title = f"{result.model['name']} on {result.dataset['spec']}, split {result.split}, {result.count} examples"
    summary = [[COLUMNS[name][0], _cell(name, value)] for name, value in result.summary().items()]
    parts = [title, align(summary), _table("joint", result.per_joint().items())]
    postures, actions = result.per_posture(), result.per_action()
    if all(row["count"] for row in postures.values()):
        parts.append(_table("posture", postures.items()))
    return "\n\n".join(parts + ([_table("action", actions.items())] if len(actions) > 1 else []))


def format_comparison(results: list[EvaluationResult]) -> str:
    """One table of models on the same examples, with rows for all people and for upright people."""
    rows = []
    for result in results:
        groups = {"all": {"count": result.count} | result.summary()} | result.per_posture()
        model = Path(result.model["name"]).name
        rows += [(f"{model}, {name}", values) for name, values in groups.items() if values["count"]]
    return _table("model, people", rows)


def _table(kind: str, rows: Iterable[tuple[str, dict]]) -> str:
    """One line per row, without empty columns."""
    rows = list(rows)
    names = [name for name in rows[0][1] if any(row[name] is not None for _, row in rows)]
    head = [kind] + [COLUMNS[name][0] for name in names]
    return align([head] + [[key or "-"] + [_cell(name, row[name]) for name in names] for key, row in rows])


def _cell(name: str, value: float | None) -> str:
    return "-" if value is None else COLUMNS[name][1].format(value)


def align(rows: list[list[str]]) -> str:
    """Columns of one width: the first to the left, numbers to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)])
        for row in rows
    )
