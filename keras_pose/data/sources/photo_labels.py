"""Shared by the sources of single photos with 2D labels: an item is one image and its labeled people."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton
from keras_pose.data.example import PoseExample
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.data.sources import base
from keras_pose.data.sources.base import Item, Options, Source
from keras_pose.data.sources.crop import Person, crop_person
from keras_pose.data.sources.teacher_labels import complete


@dataclass(frozen=True)
class Label:
    """One person in a photo, as plain values that can be sent to a worker process.

    `frame` is a number that identifies the person in the label file; the other fields are those of `Person`.
    """

    keypoints_px: Any
    valid: Any
    frame: int
    hidden: Any = None
    box_px: Any = None
    camera_mm: Any = None
    intrinsics: Any = None
    camera_valid: Any = None


def photo_items(
    pictures: dict[Path, list[Label]], split_of: Callable[[Path], str], options: Options, subject: str = ""
) -> list[Item]:
    """One item per image, of every `frame_step`th image in the order of the paths."""
    paths = sorted(pictures)[:: options.frame_step]
    return [
        Item(split_of(path), subject, "photo", len(pictures[path]), str(path), tuple(pictures[path])) for path in paths
    ]


def labels_hash(items: list[Item]) -> str:
    """A hash of the labels in items of photos; items of other sources do not change it."""
    digest = hashlib.sha256()
    for item in items:
        parts = item.data if isinstance(item.data, tuple) else ()
        names, labels = parts if len(parts) == 2 and isinstance(parts[1], tuple) else ((), parts)
        for label in labels:
            if isinstance(label, Label):
                values = [item.split, item.subject, names, *(getattr(label, field.name) for field in fields(Label))]
                if label.camera_valid is None:
                    values.pop()  # the hash stays that of folders from before this field existed
                digest.update(repr([np.asarray(value).tolist() for value in values]).encode())
    return digest.hexdigest()[:16]


def read_photo(
    item: Item, source: Source, options: Options, skeleton: Skeleton | None = None, turn: bool = False
) -> Iterator[PoseExample | BadFrame]:
    """The examples of the people in one image; with `options.teacher`, teachers complete people without 3D.

    `skeleton` is that of the labels, by default the source's; `turn` is as in `read_picture`.
    """
    target = source.target_skeleton(options)
    picture = base.read_picture(item.file, turn)
    for label in item.data:
        if picture is None:
            yield BadFrame(f"{label.frame}", base.NO_PICTURE)
            continue
        person = Person(
            keypoints_px=np.asarray(label.keypoints_px, np.float64),
            valid=np.asarray(label.valid, bool),
            hidden=label.hidden,
            box_px=None if label.box_px is None else np.asarray(label.box_px, np.float64),
            camera_mm=label.camera_mm,
            camera_valid=label.camera_valid,
            intrinsics=label.intrinsics,
            tags={"source": source.name, "subject": item.subject, "action": item.action, "frame": label.frame},
        )
        labelled = skeleton or source.skeleton
        if options.teacher and person.camera_mm is None:
            person, labelled = complete(picture, person, labelled, target, options), target
        yield crop_person(picture, person, labelled, target, options)


def find_pictures(folder: Path, what: str, pattern: str = "*.jpg") -> list[Path]:
    """The images of a folder sorted by name; raises UserError if it has none."""
    base.require(folder, what)
    pictures = sorted(folder.glob(pattern))
    if not pictures:
        raise UserError(f"{folder} contains no {pattern}: {what}; check --input and that the download is complete")
    return pictures
