"""The rows of a study, each a flag file trained with several seeds, and tables of their results.

A row's file begins with a comment that describes it. If there is a published result, the second comment is
`# paper: 98.46 mm`. A row's name is that of its file.
"""

import json
import math
import re
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

from keras_pose.core.errors import UserError
from keras_pose.io.atomic import write_atomically


@dataclass(frozen=True)
class Column:
    """One result and its place in a run's folder. `root`: take the root of a mean square, times this factor."""

    heading: str
    file: str
    keys: tuple[str, ...]
    form: str
    root: float | None = None


# Columns by their key in JSON; columns without results are omitted.
COLUMNS = {
    "mpjpe_mm": Column("MPJPE mm", "evaluation.json", ("mpjpe_mm",), "{:.1f}"),
    "mpjpe_noisy_mm": Column("noisy MPJPE mm", "evaluation.json", ("mpjpe_noisy_mm",), "{:.1f}"),
    "pa_mpjpe_mm": Column("PA-MPJPE mm", "evaluation.json", ("pa_mpjpe_mm",), "{:.1f}"),
    "pck_0_2": Column("PCK@0.2", "evaluation.json", ("pck_0_2",), "{:.3f}"),
    "left_right_collapse": Column("L/R collapse", "evaluation.json", ("left_right_collapse",), "{:.3f}"),
    "bone_symmetry_mm": Column("bones' asymmetry mm", "model.json", ("metrics", "bone_symmetry"), "{:.1f}", 1000.0),
    "decoder_percent": Column("decoder's error % of the crop", "model.json", ("metrics", "decoder"), "{:.3f}", 100.0),
    "processor_seconds": Column("processor s", "cost.json", ("processor_seconds",), "{:.0f}"),
    "parameters": Column("parameters", "cost.json", ("parameters",), "{:,.0f}"),
}


@dataclass(frozen=True)
class Row:
    """One row: `title` in words, `paper_mm` the published MPJPE or None, `flag_file` the training flags."""

    name: str
    title: str
    paper_mm: float | None
    flag_file: Path


def read_row(path: Path) -> Row:
    """A row from its flag file; raises UserError if it does not begin with a comment."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        raise UserError(
            f"no flag file {path}; name the files of the rows, such as configs/ablations/6_skip.flags"
        ) from None
    if not lines or not lines[0].startswith("# "):
        raise UserError(f"{path} does not begin with a comment; describe the row in the first line")
    paper = re.fullmatch(r"# paper: ([\d.]+) mm", lines[1] if len(lines) > 1 else "")
    return Row(path.stem, lines[0][2:], float(paper[1]) if paper else None, path)


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (None for a single value) of `count` values."""

    mean: float
    deviation: float | None
    count: int


def spread(values: list[float]) -> Spread | None:
    """The spread of `values`; None if empty."""
    if not values:
        return None
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


def read_figures(folders: list[Path]) -> dict[str, Spread | None]:
    """The results in `COLUMNS` over the finished runs of one row."""
    return spreads([read_run(folder) for folder in folders])


def read_run(folder: Path) -> dict[str, float]:
    """The results in `COLUMNS` that a finished run has."""
    found = {name: _read(folder, column) for name, column in COLUMNS.items()}
    return {name: value for name, value in found.items() if value is not None}


def spreads(figures: list[dict[str, float]]) -> dict[str, Spread | None]:
    """The spread of each of `COLUMNS` over runs, each given as from `read_run`."""
    return {name: spread([run[name] for run in figures if name in run]) for name in COLUMNS}


def to_dicts(rows: list[Row], figures: dict[str, dict[str, Spread | None]]) -> list[dict]:
    """The results as values for JSON."""
    return [
        {"row": row.name, "title": row.title, "paper_mpjpe_mm": row.paper_mm}
        | {name: value and asdict(value) for name, value in figures[row.name].items()}
        for row in rows
    ]


def _read(folder: Path, column: Column) -> float | None:
    if not (folder / column.file).is_file():
        return None
    value = json.loads((folder / column.file).read_text())
    for key in column.keys:
        value = value.get(key)
        if value is None:
            return None
    return value if column.root is None else math.sqrt(value) * column.root


# --- text ------------------------------------------------------------------------------------------------------


def format_rows(rows: list[Row], figures: dict[str, dict[str, Spread | None]]) -> str:
    """A Markdown table of all rows, mean ± standard deviation over the seeds.

    Where rows have a published MPJPE, two columns give it and ours as a share of that of the first such row.
    """
    shown = [name for name in COLUMNS if any(values[name] for values in figures.values())]
    first = next((row for row in rows if row.paper_mm), None)
    published = ["paper, mm", f"paper / {first.name}", f"here / {first.name}"] if first else []
    lines = [["row", "what", *published, *(COLUMNS[name].heading for name in shown), "seeds"]]
    lines.append(["---"] * len(lines[0]))
    for row in rows:
        values = figures[row.name]
        paper = _beside_paper(row, first, values["mpjpe_mm"], figures[first.name]["mpjpe_mm"]) if first else []
        cells = [_cell(values[name], COLUMNS[name].form) for name in shown]
        lines.append([row.name, row.title, *paper, *cells, str(max([v.count for v in values.values() if v] or [0]))])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _beside_paper(row: Row, first: Row, found: Spread | None, first_found: Spread | None) -> list[str]:
    ours = f"{found.mean / first_found.mean:.3f}" if found and first_found else "-"
    return [f"{row.paper_mm:.2f}", f"{row.paper_mm / first.paper_mm:.3f}", ours] if row.paper_mm else ["", "", ours]


def _cell(value: Spread | None, form: str) -> str:
    if value is None:
        return "-"
    return form.format(value.mean) + ("" if value.deviation is None else f" ± {form.format(value.deviation)}")


def format_order(rows: list[Row], figures: dict[str, dict[str, Spread | None]]) -> str:
    """A Markdown table: for each two consecutive rows in the paper, whether the same one is better here.

    `yes` and `no` require a difference of more than two standard errors; less is within the spread.
    """
    known = [row for row in rows if row.paper_mm and figures[row.name]["mpjpe_mm"]]
    lines = [["from", "to", "paper, mm", "here, mm", "the same way?"], ["---"] * 5]
    for before, after in zip(known, known[1:], strict=False):
        published = after.paper_mm - before.paper_mm
        first, second = (figures[row.name]["mpjpe_mm"] for row in (before, after))
        found = second.mean - first.mean
        lines.append(
            [before.name, after.name, f"{published:+.1f}", f"{found:+.1f}", _verdict(published, first, second)]
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) if len(lines) > 2 else ""


def _verdict(published: float, first: Spread, second: Spread) -> str:
    found = second.mean - first.mean
    if first.deviation is None or second.deviation is None:
        return "one seed alone cannot tell"
    error = math.hypot(first.deviation / math.sqrt(first.count), second.deviation / math.sqrt(second.count))
    if abs(found) <= 2 * error:
        return "within the spread"
    return "yes" if found * published > 0 else "no"


def put_between_marks(path: Path, name: str, text: str) -> None:
    """Replaces the text between `<!-- NAME -->` and `<!-- end of NAME -->` in a document.

    Raises UserError if the marks are missing.
    """
    marks = f"<!-- {name} -->", f"<!-- end of {name} -->"
    content = path.read_text() if path.is_file() else ""
    head, found, rest = content.partition(marks[0])
    _, closed, tail = rest.partition(marks[1])
    if not (found and closed):
        raise UserError(f"{path} has no lines {marks[0]} and {marks[1]}; add them where the table should be")
    write_atomically(path, f"{head}{marks[0]}\n{text}\n{marks[1]}{tail}".encode())
