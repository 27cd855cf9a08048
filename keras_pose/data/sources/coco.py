"""COCO keypoints: 17 joints of people in photos, in one JSON file per split.

    annotations/person_keypoints_train2017.json, person_keypoints_val2017.json
    train2017/000000000009.jpg, val2017/...          (also below images/)

Keypoints are relative to the center of the first pixel. Visibility is 0 (not labeled), 1 (hidden) or 2 (visible).
People without a labeled joint, and crowds, are left out as in the official code. Annotations for images that the file
does not list, as in subsets, are skipped and counted.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import COCO_17
from keras_pose.data.example import PoseExample
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.data.sources import base, photo_labels
from keras_pose.data.sources.base import Item, Options, Source
from keras_pose.data.sources.photo_labels import Label

FILES = {"train": "person_keypoints_train2017.json", "validation": "person_keypoints_val2017.json"}


def list_items(input_dir: Path, options: Options) -> list[Item | BadFrame]:
    folder = base.require(input_dir / "annotations", "COCO's annotations")
    items, bad = [], []
    for split, name in FILES.items():
        if (folder / name).exists():
            year = name.split("_")[-1].removesuffix(".json")
            images = input_dir / year if (input_dir / year).is_dir() else input_dir / "images" / year
            base.require(images, f"the images of {name}")
            pictures, unusable = _pictures(folder / name, images)
            if unusable and not pictures:
                first = unusable[0]
                raise UserError(f"no annotation of {folder / name} can be used; {first.where}: {first.why}")
            bad += unusable
            items += photo_labels.photo_items(pictures, lambda _, split=split: split, options)
    if not items:
        raise UserError(f"{folder} holds none of {', '.join(FILES.values())} with people in it; get the annotations")
    return items + bad


def _pictures(path: Path, images: Path) -> tuple[dict[Path, list[Label]], list[BadFrame]]:
    """The people in each image, and the unusable annotations."""
    bad: list[BadFrame] = []
    with base.reading(path):
        values = json.loads(path.read_text(encoding="utf-8-sig"))
        names: dict[object, str] = {}
        for number, image in enumerate(values["images"]):
            base.usable(
                lambda image=image: names.update({image["id"]: str(image["file_name"])}), f"{path}, image {number}", bad
            )
        pictures: dict[Path, list[Label]] = {}
        for number, annotation in enumerate(values["annotations"]):
            named = isinstance(annotation, dict) and isinstance(annotation.get("id"), int)
            where = f"{path}, annotation {annotation['id'] if named else number}"
            label = base.usable(lambda a=annotation, where=where: _label(a, where), where, bad)
            if label is None:
                continue
            name = base.usable(lambda a=annotation: names.get(a["image_id"], ""), where, bad)
            if name:
                pictures.setdefault(images / name, []).append(label)
            elif name == "":
                why = f"its image {annotation['image_id']} is not in the file's list of images"
                bad.append(BadFrame(where, why, skipped=True))
        return pictures, bad


def _label(annotation: dict, where: str) -> Label | None:
    if annotation.get("iscrowd") or "keypoints" not in annotation:
        return None
    values = np.asarray(annotation["keypoints"], np.float64)
    base.check_shape(values, (51,), f"{where}: keypoints")
    if not np.isfinite(values).all():
        raise UserError(f"{where}: keypoints hold NaN; set a joint that is not labeled to 0, 0, 0")
    keypoints, visibility = values.reshape(17, 3)[:, :2], values[2::3]
    if not (visibility > 0).any():
        return None
    x, y, width, height = (float(v) for v in annotation.get("bbox") or (0, 0, 0, 0))
    box = (x, y, x + width, y + height) if width > 0 and height > 0 else None
    return Label(keypoints + 0.5, visibility > 0, int(annotation.get("id", 0)), visibility == 1, box)


def read_item(item: Item, options: Options) -> Iterator[PoseExample | BadFrame]:
    yield from photo_labels.read_photo(item, SOURCE, options)


SOURCE = Source(
    name="coco",
    summary="COCO 2017 keypoints (2D): annotations/person_keypoints_{train,val}2017.json, train2017 and val2017.",
    terms="annotations CC BY 4.0; the photos have terms of their own (Flickr); see cocodataset.org.",
    skeleton=COCO_17,
    list_items=list_items,
    read_item=read_item,
)
