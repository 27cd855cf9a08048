"""Figures: what is drawn and what is refused."""

import cv2
import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.visualization import figures

RECORDS = [
    {"epoch": 1, "phase": "hrnet", "loss": 3.0, "val_loss": 3.5},
    {"epoch": 2, "phase": "e2e", "loss": 1.0, "val_mpjpe_mm": 120.0, "mpjpe_mm": 110.0, "note": "text", "step": 9},
]


def test_curves_are_a_png_and_panels_pair_training_with_validation(tmp_path):
    figures.plot_curves(RECORDS, tmp_path / "run" / "curves.png")
    height, width, _ = cv2.imread(str(tmp_path / "run" / "curves.png")).shape
    assert width > height > 100
    assert figures._panel_names(RECORDS) == ["loss", "mpjpe_mm"]


def test_names_of_phases_do_not_cover_each_other(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(figures, "_save", lambda figure, path: drawn.append(figure))
    phases = ["hrnet"] + ["lifter"] * 20 + ["e2e"] * 8
    figures.plot_curves([{"phase": phase, "loss": 1.0} for phase in phases], tmp_path / "curves.png")
    drawn[0].canvas.draw()
    hrnet, lifter, e2e = (text.get_window_extent() for text in drawn[0].axes[0].texts)
    assert hrnet.x0 < lifter.x0 < e2e.x0
    assert not hrnet.overlaps(lifter) and not lifter.overlaps(e2e)
    assert hrnet.y0 == e2e.y0 < lifter.y0  # only the crowded one is moved


def test_curves_without_numbers_are_refused(tmp_path):
    with pytest.raises(UserError, match="at least one epoch"):
        figures.plot_curves([{"epoch": 1}], tmp_path / "curves.png")


def test_histograms_allow_joints_without_labels(tmp_path):
    errors = np.random.default_rng(0).gamma(2, 20, (50, 5))
    errors[:, 2] = np.nan
    figures.plot_error_histograms(errors, ["a", "b", "c", "d", "e"], tmp_path / "histogram.png")
    assert cv2.imread(str(tmp_path / "histogram.png")).std() > 10
    with pytest.raises(UserError, match="labeled"):
        figures.plot_error_histograms(errors[:, 2:3], ["c"], tmp_path / "none.png")


def test_an_impossible_folder_gives_a_one_line_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        figures.plot_curves(RECORDS, tmp_path / "file" / "curves.png")
