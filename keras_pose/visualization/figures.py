"""Figures for reports as PNG: training curves, error histograms, accuracy over time. Matplotlib without a display."""

import io
import os
from collections.abc import Sequence
from itertools import pairwise

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402  (the backend comes first)
import numpy as np  # noqa: E402

from keras_pose.core.errors import UserError  # noqa: E402
from keras_pose.io.atomic import write_atomically  # noqa: E402

# The first panels, the most informative first; other metrics follow in the order of the records.
FIRST_PANELS = ("loss", "mpjpe_mm", "pa_mpjpe_mm", "pck_0_2", "keypoint_error_px", "learning_rate")
NOT_CURVES = ("epoch", "step", "phase", "time", "seconds", "processor_seconds", "images_per_second")
LABEL_WIDTH = 0.15  # width of a phase's name, relative to the panel
_COLORS = {"training": "#1f77b4", "validation": "#d95f02"}


def plot_curves(records: Sequence[dict], path: str | os.PathLike, max_panels: int = 6) -> None:
    """Draws a run's training curves: one panel per metric, with training and validation together.

    Args:
        records: the lines of metrics.jsonl, one per epoch; numbers with and without `val_` share a panel. A vertical
            line marks each change of `phase`.
        path: the PNG.
        max_panels: further metrics are not drawn.

    Raises:
        UserError: no numbers to draw, or the file cannot be written.
    """
    names = _panel_names(records)[:max_panels]
    if not names:
        raise UserError(f"no numbers to draw into {path}; train at least one epoch")
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    width, height = 4.2 * columns, 2.9 * rows
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False)
    # Fixed positions, from inches: a computed layout draws everything three times, which would slow every epoch.
    edges = {"left": 0.65 / width, "right": 1 - 0.15 / width, "bottom": 0.5 / height, "top": 1 - 0.5 / height}
    figure.subplots_adjust(**edges, wspace=0.7 / 3.4, hspace=0.75 / 2.1)
    epochs = np.arange(1, len(records) + 1)
    for axis, name in zip(axes.flat, names, strict=False):
        for label, key in (("training", name), ("validation", f"val_{name}")):
            values = np.array([record.get(key, np.nan) for record in records], float)
            if np.isfinite(values).any():
                axis.plot(epochs, values, "o-", markersize=3, color=_COLORS[label], label=label)
        _mark_phases(axis, records)
        axis.set_title(name.replace("_mm", " (mm)").replace("_", " "), fontsize=10)
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=8)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(fontsize=8, frameon=False)
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    _save(figure, path)


def _panel_names(records: Sequence[dict]) -> list[str]:
    """The metrics in records, without `val_`, in the order of the panels."""
    found = {
        key.removeprefix("val_"): None
        for record in records
        for key, value in record.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and key not in NOT_CURVES
    }
    first = [name for name in FIRST_PANELS if name in found]
    return first + [name for name in found if name not in first]


def _mark_phases(axis, records: Sequence[dict]) -> None:
    """If there are several phases, separates them by lines and names each above the panel.

    The name after a short phase is raised by a row, so that names do not overlap.
    """
    phases = [record.get("phase") for record in records]
    if len(set(phases)) == 1:
        return
    starts = [i for i, (before, phase) in enumerate(pairwise([None, *phases])) if before != phase]
    row, places = 0, {}
    for before, i in pairwise([None, *starts]):
        is_short = before is not None and i - before < LABEL_WIDTH * len(phases)
        row = row + 1 if is_short else 0
        places[i] = row
    for i in starts:
        if i:
            axis.axvline(i + 0.5, color="0.6", linestyle=":", linewidth=1)
        place = {"xycoords": ("data", "axes fraction"), "va": "bottom", "fontsize": 7, "color": "0.4"}
        axis.annotate(str(phases[i]), (i + 0.6, 1.01 + 0.06 * places[i]), **place)


def plot_error_histograms(
    errors: np.ndarray, joint_names: Sequence[str], path: str | os.PathLike, unit: str = "mm"
) -> None:
    """A histogram of each joint's error, with one common axis and the median marked.

    Args:
        errors: (N, J) in `unit`; NaN for joints without a label.
        path: the PNG.

    Raises:
        UserError: no error is finite, or the file cannot be written.
    """
    errors = np.asarray(errors, float)
    if not np.isfinite(errors).any():
        raise UserError(f"no error to draw into {path}; no joint is labeled")
    limit = np.nanpercentile(errors, 99)
    columns = 3
    rows = -(-len(joint_names) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(9, 1.25 * rows + 0.5), sharex=True, squeeze=False, layout="constrained"
    )
    bins = np.linspace(0, max(limit, 1e-6), 41)
    for axis, name, column in zip(axes.flat, joint_names, errors.T, strict=False):
        known = column[np.isfinite(column)]
        axis.hist(np.minimum(known, bins[-1]), bins, color=_COLORS["training"])
        median = np.median(known) if len(known) else np.nan
        axis.axvline(median, color=_COLORS["validation"], linewidth=1)
        axis.text(
            0.98, 0.9, f"{name}\nmedian {median:.3g} {unit}", transform=axis.transAxes, ha="right", va="top", size=8
        )
        axis.set_yticks([])
    for axis in axes.flat[len(joint_names) :]:
        axis.axis("off")
    for axis in axes[-1]:
        axis.set_xlabel(f"error ({unit}); the last bar includes all larger errors")
        axis.xaxis.label.set_size(8)
    _save(figure, path)


def plot_accuracy_over_time(rows: Sequence[dict], path: str | os.PathLike) -> None:
    """Plots models by accuracy and time per image.

    Args:
        rows: one per model, with `model`, `pck_0_2_limbs`, `milliseconds_per_image` and `has_pose_3d`; rows without
            accuracy or time are omitted.
        path: the PNG.

    Raises:
        UserError: no row has accuracy and time, or the file cannot be written.
    """
    rows = [row for row in rows if row["milliseconds_per_image"] and row["pck_0_2_limbs"] is not None]
    if not rows:
        raise UserError(f"no model with a time to draw into {path}; give exported files, not runs")
    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    for row in rows:
        point = row["milliseconds_per_image"], row["pck_0_2_limbs"]
        color = _COLORS["validation"] if row["has_pose_3d"] else _COLORS["training"]
        axis.plot(*point, "o", color=color, markersize=8)
        axis.annotate(row["model"].rsplit(".", 1)[0], point, xytext=(7, 5), textcoords="offset points", fontsize=8)
    axis.set_xscale("log")
    axis.set_xlabel("milliseconds per image, one thread")
    axis.set_ylabel("PCK@0.2 of the limb joints")
    axis.margins(0.3, 0.15)
    axis.grid(alpha=0.3, which="both")
    for color, label in ((_COLORS["validation"], "2D and 3D"), (_COLORS["training"], "2D alone")):
        axis.plot([], [], "o", color=color, label=label)
    axis.legend(fontsize=8, frameon=False, loc="lower right")
    _save(figure, path)


def _save(figure, path: str | os.PathLike) -> None:
    content = io.BytesIO()
    try:
        figure.savefig(content, dpi=110, format="png")
    finally:
        plt.close(figure)
    write_atomically(path, content.getvalue())
