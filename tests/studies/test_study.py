"""Tables of studies: rows, spreads, and whether an order holds."""

import json
from pathlib import Path

import pytest

from keras_pose.core.errors import UserError
from keras_pose.studies import study
from tests.conftest import ROOT


def make_row(name: str, paper_mm: float | None = None) -> study.Row:
    return study.Row(name, f"what {name} is", paper_mm, Path(name))


def figures(mpjpe_mm: list[float], **others: list[float]) -> dict:
    return {name: study.spread((others | {"mpjpe_mm": mpjpe_mm}).get(name, [])) for name in study.COLUMNS}


def test_a_row_reads_its_comments():
    row = study.read_row(ROOT / "configs" / "ablations" / "6_skip.flags")
    assert row.name == "6_skip" and row.paper_mm == 89.96 and "skip connection" in row.title
    assert study.read_row(ROOT / "configs" / "ablations" / "6_skip_flat.flags").paper_mm is None


@pytest.mark.parametrize("content", ["", "--seed=1\n"])
def test_a_row_must_describe_itself(tmp_path, content):
    (tmp_path / "row.flags").write_text(content)
    with pytest.raises(UserError, match="row.flags does not begin with a comment"):
        study.read_row(tmp_path / "row.flags")
    with pytest.raises(UserError, match="no flag file .*none.flags"):
        study.read_row(tmp_path / "none.flags")


def test_figures_are_means_over_runs(tmp_path):
    for i, (mpjpe_mm, symmetry) in enumerate([(100.0, 0.0001), (120.0, 0.0004)]):
        folder = tmp_path / str(i)
        folder.mkdir()
        (folder / "evaluation.json").write_text(json.dumps({"mpjpe_mm": mpjpe_mm, "pck_0_2": None}))
        (folder / "model.json").write_text(json.dumps({"metrics": {"bone_symmetry": symmetry}}))
    found = study.read_figures([tmp_path / "0", tmp_path / "1"])
    assert found["mpjpe_mm"] == study.Spread(110.0, pytest.approx(200**0.5), 2)
    assert found["bone_symmetry_mm"].mean == pytest.approx(15)  # roots of 10 mm and 20 mm squared
    assert found["pck_0_2"] is None and found["decoder_percent"] is None
    assert study.spread([3.0]) == study.Spread(3.0, None, 1)


def test_a_table_has_a_line_per_row_and_no_empty_column():
    rows = [make_row("a", 12.5), make_row("b"), make_row("c", 10.0)]
    values = {"a": figures([1, 3]), "b": figures([5], pck_0_2=[0.25]), "c": figures([])}
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in study.format_rows(rows, values).splitlines()]
    assert lines[0] == ["row", "what", "paper, mm", "paper / a", "here / a", "MPJPE mm", "PCK@0.2", "seeds"]
    assert lines[2] == ["a", "what a is", "12.50", "1.000", "1.000", "2.0 ± 1.4", "-", "2"]
    assert lines[3] == ["b", "what b is", "", "", "2.500", "5.0", "0.250", "1"]
    assert lines[4][2:] == ["10.00", "0.800", "-", "-", "-", "0"]
    assert "paper" not in study.format_rows(rows[1:2], values)


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ([100, 102, 98], [80, 82, 78], "yes"),
        ([100, 102, 98], [120, 122, 118], "no"),
        ([100, 140, 60], [80, 120, 40], "within the spread"),
        ([100], [80], "one seed alone cannot tell"),
    ],
)
def test_an_order_holds_where_the_difference_exceeds_its_error(first, second, verdict):
    rows = [make_row("a", 170.0), make_row("b"), make_row("c", 111.0)]
    values = {"a": figures(first), "b": figures([1, 2]), "c": figures(second)}
    line = study.format_order(rows, values).splitlines()[-1]
    assert line == f"| a | c | -59.0 | {sum(second) / len(second) - 100:+.1f} | {verdict} |"
    assert study.format_order(rows[:2], values) == ""


def test_text_between_marks_is_replaced(tmp_path):
    path = tmp_path / "doc.md"
    path.write_text("before\n<!-- table -->\nold\n<!-- end of table -->\nafter\n")
    study.put_between_marks(path, "table", "new")
    study.put_between_marks(path, "table", "newer")
    assert path.read_text() == "before\n<!-- table -->\nnewer\n<!-- end of table -->\nafter\n"
    with pytest.raises(UserError, match="has no lines <!-- other -->"):
        study.put_between_marks(path, "other", "new")
