"""The user's own photos, with joints in one CSV or JSON file as described in docs/data.md.

    labels.json or labels.csv
    the photos, at the paths in the label file

Joints are named as in `keras_pose.core.skeleton` and mapped by name to --skeleton, human36m_17 by default.
Coordinates are pixels of the photo as displayed, rotated upright by its EXIF orientation; the center of its first pixel
is (0.5, 0.5).
"""

import csv
import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17, Skeleton
from keras_pose.data.example import PoseExample
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.data.shards import SPLITS
from keras_pose.data.sources import base, photo_labels
from keras_pose.data.sources.base import Item, Options, Source
from keras_pose.data.sources.photo_labels import Label

BOX = ("x0", "y0", "x1", "y1")
_DELIMITERS = ",;\t|"
CSV_COLUMNS = ("image", "split", "subject", *BOX)
JSON_KEYS = {"image", "split", "subject", "box", "keypoints", "pose_3d_mm", "intrinsics"}


@dataclass(frozen=True)
class Entry:
    """One person in the label file."""

    image: str
    label: Label
    split: str
    subject: str


def list_items(input_dir: Path, options: Options) -> list[Item | BadFrame]:
    files = [path for path in (input_dir / "labels.json", input_dir / "labels.csv") if path.exists()]
    if len(files) != 1:
        raise UserError(f"{input_dir} must hold labels.json or labels.csv, not both; docs/data.md describes their form")
    bad: list[BadFrame] = []
    joint_names, entries = (_read_json if files[0].suffix == ".json" else _read_csv)(files[0], bad)
    _check_names(joint_names, SOURCE.target_skeleton(options), files[0])
    groups: dict[tuple[str, str], dict[Path, list[Label]]] = {}
    for entry in entries:
        pictures = groups.setdefault((entry.split, entry.subject), {})
        pictures.setdefault(_photo(input_dir, entry.image), []).append(entry.label)
    items = [
        Item(item.split, item.subject, item.action, item.frames, item.file, (joint_names, item.data))
        for (split, subject), pictures in groups.items()
        for item in photo_labels.photo_items(pictures, lambda _, split=split: split, options, subject)
    ]
    return items + bad


def _photo(folder: Path, name: str) -> Path:
    """The path of a photo, whose name may have backslashes from Windows."""
    path = folder / name
    return path if "\\" not in name or path.exists() else folder / name.replace("\\", "/")


def _check_names(joint_names: tuple[str, ...], target: Skeleton, path: Path) -> None:
    """Raises UserError for duplicate joint names, or if no joint is one of the target's."""
    if len(set(joint_names)) != len(joint_names):
        raise UserError(f"{path}: duplicate joint names; give each joint its own name")
    if not set(joint_names) & set(target.joint_names):
        raise UserError(
            f"{path}: none of its joints ({', '.join(joint_names)}) is a joint of {target.name} "
            f"({', '.join(target.joint_names)}); rename them, or give another --skeleton"
        )


def _split(value: str, where: str) -> str:
    if (value or "train") not in SPLITS:
        raise UserError(f"{where}: split {value!r} is not one of {', '.join(SPLITS)}")
    return value or "train"


# --- JSON ------------------------------------------------------------------------------------------------------


def _read_json(path: Path, bad: list[BadFrame]) -> tuple[tuple[str, ...], list[Entry]]:
    with base.reading(path):
        values = json.loads(_decode(path.read_bytes()))
        joint_names = tuple(str(name) for name in values["joints"])
        entries = []
        for i, person in enumerate(values["people"]):
            where = f"{path}, person {i}"
            entries.append(base.usable(lambda p=person, i=i: _json_entry(p, i, len(joint_names), path), where, bad))
        return joint_names, [entry for entry in entries if entry]


def _json_entry(person: dict, number: int, joints: int, path: Path) -> Entry:
    where = f"{path}, person {number}"
    if unknown := set(person) - JSON_KEYS:
        raise UserError(f"{where}: unknown key {min(unknown)!r}; known: {', '.join(sorted(JSON_KEYS))}")
    keypoints = np.asarray(person["keypoints"], np.float64)
    base.check_shape(keypoints, (joints, 3), f"{where}: keypoints")
    box, intrinsics = (_array(person.get(name)) for name in ("box", "intrinsics"))
    pose, pose_valid = _json_pose(person.get("pose_3d_mm"))
    if (pose is None) != (intrinsics is None):
        raise UserError(f"{where}: pose_3d_mm and intrinsics belong together; give both or neither")
    for array, shape, name in (
        (box, (4,), "box"),
        (pose, (joints, 3), "pose_3d_mm"),
        (intrinsics, (3, 3), "intrinsics"),
    ):
        if array is not None:
            base.check_shape(array, shape, f"{where}: {name}")
    _check_box(box, where)
    visibility = keypoints[:, 2]
    if not np.isin(visibility, (0, 1, 2)).all():
        raise UserError(f"{where}: a joint's third number must be 0 (not labeled), 1 (hidden) or 2 (visible)")
    label = Label(keypoints[:, :2], visibility > 0, number, visibility == 1, box, pose, intrinsics, pose_valid)
    return Entry(str(person["image"]), label, _split(person.get("split"), where), str(person.get("subject", "")))


def _json_pose(rows: list | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(J, 3) with zeros for null rows, and a (J,) bool mask of the other rows.

    The mask is None if no row is null; both are None without a pose.
    """
    if rows is None:
        return None, None
    valid = np.array([row is not None for row in rows], bool)
    pose = np.asarray([[0, 0, 0] if row is None else row for row in rows], np.float64)
    return pose, None if valid.all() else valid


def _check_box(box, where: str) -> None:
    """Raises UserError for corners in the wrong order, usually because width and height were given."""
    if box is not None and not (box[0] < box[2] and box[1] < box[3]):
        numbers = ", ".join(f"{value:g}" for value in box)
        raise UserError(f"{where}: box is {numbers}; give x0, y0, x1, y1, not width and height")


def _array(value) -> np.ndarray | None:
    return None if value is None else np.asarray(value, np.float64)


# --- CSV -------------------------------------------------------------------------------------------------------


def _read_csv(path: Path, bad: list[BadFrame]) -> tuple[tuple[str, ...], list[Entry]]:
    with base.reading(path):
        header, *rows = read_table(path) or [[]]
        joint_names = _csv_joints(tuple(header), path)
        entries = []
        for i, row in enumerate(rows):
            where = f"{path}, row {i + 1}"
            entries.append(
                base.usable(lambda r=row, i=i, w=where: _csv_entry(_cells(header, r, w), i, joint_names, w), where, bad)
            )
        return joint_names, [entry for entry in entries if entry]


def read_table(path: Path) -> list[list[str]]:
    """The rows of a table saved by an office program or a script, header first; cells without blanks or quotes around.

    The delimiter may be a comma, semicolon, tab or bar, the encoding UTF-8, UTF-16 or Windows Latin (cp1252). Empty
    rows and trailing empty columns are dropped.
    """
    lines = _decode(path.read_bytes()).splitlines(keepends=True)
    if lines and (told := re.match(r"\W?sep=(.)", lines[0])):  # Excel's declaration of the delimiter
        delimiter, lines = told[1], lines[1:]
    else:
        delimiter = _delimiter(lines[0] if lines else "")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    rows = [[cell.strip().strip("\"'").strip() for cell in row] for row in reader]
    rows = [row for row in rows if any(row)]
    for row in rows:
        while rows and len(row) > len(rows[0]) and not row[-1]:
            row.pop()
    while rows and not rows[0][-1] and all(len(row) < len(rows[0]) or not row[-1] for row in rows):
        rows = [row[:-1] if len(row) == len(rows[0]) else row for row in rows]
    if rows:
        rows[0] = [name.lower() if name.lower() in CSV_COLUMNS else name for name in rows[0]]
    return rows


def _decode(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    if content[1:2] == b"\0" or content[:1] == b"\0":  # UTF-16 without a byte order mark
        return content.decode("utf-16-le" if content[1:2] == b"\0" else "utf-16-be")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252")


def _delimiter(header: str) -> str:
    """The delimiter, found from the header: unlike other rows, it has no numbers with decimal commas."""
    try:
        found = csv.Sniffer().sniff(header, _DELIMITERS).delimiter
    except csv.Error:
        found = ","
    return max(_DELIMITERS, key=lambda d: (header.count(d), d == found))


def _cells(header: list[str], row: list[str], where: str) -> dict[str, str]:
    if len(row) != len(header):
        raise UserError(f"{where} has more or fewer cells than the first row; fix it (quote cells with commas in them)")
    return dict(zip(header, row, strict=True))


def _csv_joints(columns: tuple[str, ...], path: Path) -> tuple[str, ...]:
    """The joints `j` with columns `j_x` and `j_y`; raises UserError for a missing or unknown column."""
    joints = tuple(column[:-2] for column in columns if column.endswith("_x"))
    known = {*CSV_COLUMNS, *(f"{joint}_{axis}" for joint in joints for axis in "xyv")}
    missing = [c for c in ("image", *(f"{joint}_y" for joint in joints)) if c not in columns]
    header = ", ".join(repr(column)[1:-1][:40] for column in columns[:12]) or "empty"
    header = f"its header is {header}{' ...' if len(columns) > 12 else ''}; docs/data.md shows the form"
    if missing or not joints:
        raise UserError(f"{path} lacks a column {(missing or ['<joint>_x'])[0]}; {header}")
    if unknown := [column for column in columns if column not in known]:
        raise UserError(f"{path} has an unknown column {unknown[0][:40]!r}; {header}")
    return joints


def _csv_entry(row: dict, number: int, joint_names: tuple[str, ...], where: str) -> Entry:
    """The person in a row. A joint with an empty cell or a `_v` of 0 is not labeled; one with a `_v` of 1 is hidden."""
    read = functools.partial(_cell, row, where)
    keypoints = np.array([[read(f"{name}_x"), read(f"{name}_y")] for name in joint_names])
    visibility = np.array([read(f"{name}_v", 2.0) for name in joint_names])
    if not np.isin(visibility, (0, 1, 2)).all():
        raise UserError(f"{where}: a joint's _v must be 0 (not labeled), 1 (hidden), 2 (visible) or empty (visible)")
    valid = ~np.isnan(keypoints).any(1) & (visibility > 0)
    box = [read(name) for name in BOX]
    box = None if np.isnan(box).any() else box
    _check_box(box, where)
    label = Label(np.nan_to_num(keypoints), valid, number, visibility == 1, box)
    return Entry(row["image"], label, _split(row.get("split", ""), where), row.get("subject", ""))


def _cell(row: dict, where: str, column: str, default: float = np.nan) -> float:
    """The number in a cell; `default` for an empty cell or a missing column."""
    text = row.get(column) or ""
    try:
        value = float(_with_point(text)) if text else default
    except ValueError:
        raise UserError(f"{where}: {column} is {text[:40]!r}, not a number") from None
    if text and not np.isfinite(value):
        raise UserError(f"{where}: {column} is {text}; leave the cell empty if the joint is not labeled")
    return value


def _with_point(number: str) -> str:
    """A number in Python's form: `1.234,5` and `1,234.5` become `1234.5`; a comma alone is a decimal comma."""
    if number.rfind(",") > number.rfind("."):
        return number.replace(".", "").replace(",", ".")
    return number.replace(",", "")


def read_item(item: Item, options: Options) -> Iterator[PoseExample | BadFrame]:
    joint_names, labels = item.data
    skeleton = Skeleton("labels", joint_names, (-1,) * len(joint_names), None)
    photo = Item(item.split, item.subject, item.action, item.frames, item.file, labels)
    yield from photo_labels.read_photo(photo, SOURCE, options, skeleton, turn=True)


SOURCE = Source(
    name="folder",
    summary="your own photos with labels.json or labels.csv beside them, in the form of docs/data.md.",
    terms="yours.",
    skeleton=HUMAN36M_17,
    list_items=list_items,
    read_item=read_item,
)
