"""The table of teachers against human labels."""

import numpy as np
import pytest

from keras_pose.studies.teachers import Opinions, format_table, tabulate


def test_shares_and_pck_count_only_labeled_joints():
    nan = np.nan
    opinions = Opinions(
        movenet_error=np.array([[0.1, 0.3, nan, 0.1]]),
        blazepose_error=np.array([[0.1, 0.1, nan, 0.5]]),
        mean_error=np.array([[0.1, 0.19, nan, 0.3]]),
        apart=np.array([[0.05, 0.22, 0.0, 0.6]]),
    )
    rows = {row["joints"]: row for row in tabulate(opinions)}
    assert rows["all"] == {
        "joints": "all",
        "share": 1.0,
        "movenet_pck_0_2": pytest.approx(2 / 3),
        "blazepose_pck_0_2": pytest.approx(2 / 3),
        "mean_pck_0_2": pytest.approx(2 / 3),
    }
    assert rows["apart by less than 0.2 torso"]["share"] == pytest.approx(1 / 3)
    assert rows["apart by less than 0.2 torso"]["movenet_pck_0_2"] == 1.0
    assert rows["apart by less than 0.25 torso"]["movenet_pck_0_2"] == 0.5
    assert rows["apart by 0.25 torso or more"]["blazepose_pck_0_2"] == 0.0
    assert "| apart by 0.4 torso or more | 0.33 | 1.00 | 0.00 | 0.00 |" in format_table(rows.values())
