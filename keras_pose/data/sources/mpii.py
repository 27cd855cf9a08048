"""MPII Human Pose: 16 joints of people in photos, from the authors' MATLAB file or HRNet's JSON files.

    images/*.jpg and mpii_human_pose_v1_u12_1.mat      (all labeled people are for training)
    images/*.jpg and annot/train.json, annot/valid.json

Coordinates start at 1, the center of the first pixel, as in MATLAB. A person's box is a square of `scale` times 200
pixels around `objpos`, shifted down by `scale` times 15 pixels, as in the official HRNet code.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import MPII_16
from keras_pose.data.example import PoseExample
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.data.sources import base, photo_labels
from keras_pose.data.sources.base import Item, Options, Source
from keras_pose.data.sources.mat_file import read_mat
from keras_pose.data.sources.photo_labels import Label

MAT = "mpii_human_pose_v1_u12_1.mat"
JSON = {"train": "train.json", "validation": "valid.json"}


def list_items(input_dir: Path, options: Options) -> list[Item | BadFrame]:
    images = base.require(input_dir / "images", "the photos")
    found = [(split, input_dir / "annot" / name) for split, name in JSON.items()]
    found = [(split, path) for split, path in found if path.exists()]
    bad: list[BadFrame] = []
    if found:
        parts = [(split, _read_json(path, images, bad)) for split, path in found]
    else:
        path = base.require(input_dir / MAT, f"{MAT}, or HRNet's annot/train.json and valid.json")
        parts = [("train", _read_mat(path, images, bad))]
    items = [i for split, p in parts for i in photo_labels.photo_items(p, lambda _, split=split: split, options)]
    if not items and not bad:
        raise UserError(f"{input_dir} holds no labeled people; get {MAT} again")
    return items + bad


def _box(center: np.ndarray, scale: float) -> tuple[float, ...] | None:
    """(x0, y0, x1, y1) from MPII's center and scale; None if they are missing or invalid."""
    if not (scale > 0 and np.isfinite([*center, scale]).all()) or center[0] < 0:
        return None
    x, y = center[0] - 0.5, center[1] - 0.5 + 15 * scale
    return (x - 100 * scale, y - 100 * scale, x + 100 * scale, y + 100 * scale)


# --- HRNet's JSON ----------------------------------------------------------------------------------------------


def _read_json(path: Path, images: Path, bad: list[BadFrame]) -> dict[Path, list[Label]]:
    """The people in each image; unusable entries are added to `bad`."""
    pictures: dict[Path, list[Label]] = {}
    with base.reading(path):
        for i, entry in enumerate(json.loads(path.read_text(encoding="utf-8-sig"))):
            where = f"{path}, entry {i}"
            found = base.usable(lambda entry=entry, i=i, where=where: _json_label(entry, i, where), where, bad)
            if found:
                pictures.setdefault(images / found[0], []).append(found[1])
    return pictures


def _json_label(entry: dict, number: int, where: str) -> tuple[str, Label] | None:
    """The image's name and a person in it; None without labeled joints."""
    joints = np.asarray(entry["joints"], np.float64)
    visible = np.asarray(entry["joints_vis"], np.float64) > 0
    base.check_shape(joints, (16, 2), f"{where}: joints")
    base.check_shape(visible, (16,), f"{where}: joints_vis")
    if not visible.any():
        return None
    center = np.asarray(entry["center"], np.float64)
    base.check_shape(center, (2,), f"{where}: center")
    return str(entry["image"]), Label(joints - 0.5, visible, number, None, _box(center, float(entry["scale"])))


# --- the authors' MATLAB file ----------------------------------------------------------------------------------


def _read_mat(path: Path, images: Path, bad: list[BadFrame]) -> dict[Path, list[Label]]:
    """The people in each image; unusable people and images are added to `bad`."""
    pictures: dict[Path, list[Label]] = {}
    release = read_mat(path, ("RELEASE",)).get("RELEASE")
    with base.reading(path):
        (release,) = _records(release)
        entries, training = _records(release["annolist"]), np.ravel(release["img_train"])
        for number, (entry, trains) in enumerate(zip(entries, training, strict=True)):
            where = f"{path}, image {number + 1}"
            labels = [
                base.usable(lambda person=person, number=number: _mat_label(person, number), where, bad)
                for person in (_records(entry["annorect"]) if trains else [])
            ]
            labels = [label for label in labels if label is not None]
            name = base.usable(lambda entry=entry: _mat_name(entry), where, bad) if labels else None
            if name:
                pictures[images / name] = labels
    return pictures


def _mat_name(entry) -> str:
    (image,) = _records(entry["image"])
    return "".join(image["name"].ravel())


def _records(value) -> list:
    """The structs of a struct array; none for an empty matrix."""
    return list(value.ravel()) if isinstance(value, np.ndarray) and value.dtype.names else []


def _part(struct, name: str) -> np.ndarray:
    """A field; an empty array if the struct does not have it."""
    return struct[name] if name in struct.dtype.names else np.empty(0)


def _mat_label(person, number: int) -> Label | None:
    """A person's label; None without labeled joints, such as for a person with only a head box."""
    keypoints, valid, hidden = np.zeros((16, 2)), np.zeros(16, bool), np.zeros(16, bool)
    for points in _records(_part(person, "annopoints")):
        for point in _records(points["point"]):
            j = int(point["id"].item())
            if not 0 <= j < 16:
                raise UserError(f"a person has a joint {j}, MPII has 0 to 15")
            keypoints[j] = float(point["x"].item()), float(point["y"].item())
            valid[j] = True
            flag = _part(point, "is_visible").ravel()  # a number, a number as text, or nothing
            hidden[j] = flag.size == 1 and str(flag[0]) == "0"
    if not valid.any():
        return None
    place, scale = _records(_part(person, "objpos")), _part(person, "scale")
    box = None
    if place and scale.size == 1:
        box = _box(np.array([place[0]["x"].item(), place[0]["y"].item()], np.float64), float(scale.item()))
    return Label(keypoints - 0.5, valid, number, hidden, box)


def read_item(item: Item, options: Options) -> Iterator[PoseExample | BadFrame]:
    yield from photo_labels.read_photo(item, SOURCE, options)


SOURCE = Source(
    name="mpii",
    summary=f"MPII Human Pose (2D): images and {MAT}, or HRNet's annot/train.json and valid.json.",
    terms="for research, not commercial use; see human-pose.mpi-inf.mpg.de.",
    skeleton=MPII_16,
    list_items=list_items,
    read_item=read_item,
)
