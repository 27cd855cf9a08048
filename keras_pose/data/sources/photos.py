"""The user's own photos without labels, labeled by teachers (see `keras_pose.data.teachers.labeller`).

    *.jpg, *.png ... anywhere in a folder; those below a folder named validation or test go into that split

Without such folders, about one photo in sixteen is for validation, chosen by its name. Photos whose names differ only
in a last number (squat_0.jpg, squat_1.jpg) stay in one split, because they often show one person. The most prominent
person of each photo is labeled. Photos that cannot be read, or in which the teachers find nobody, are skipped.
"""

import dataclasses
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import TEACHER_22
from keras_pose.data.example import PoseExample
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.data.shards import SPLITS
from keras_pose.data.sources import base
from keras_pose.data.sources.base import Item, Options, Source
from keras_pose.data.sources.crop import crop_person
from keras_pose.data.sources.teacher_labels import NOBODY, to_person
from keras_pose.data.teachers.labeller import open_teachers
from keras_pose.io import images, media

VALIDATION_SHARE = 16  # one group of photos in this many is for validation


def list_items(input_dir: Path, options: Options) -> list[Item]:
    open_teachers(options.teacher, options.teacher_cache)
    paths = [path for path in sorted(input_dir.rglob("*")) if path.is_file() and media.kind_of(path) == "image"]
    if not paths:
        raise UserError(f"{input_dir} holds no photo ({', '.join(images.SUFFIXES)})")
    named = {path: next((p for p in path.relative_to(input_dir).parts[:-1] if p in SPLITS), None) for path in paths}
    splits = named if any(named.values()) else {path: split_of(path.relative_to(input_dir)) for path in paths}
    return [Item(splits[path] or "train", "", "photo", 1, str(path)) for path in paths[:: options.frame_step]]


def split_of(path: Path) -> str:
    """`validation` for about one group of photos in `VALIDATION_SHARE`, else `train`."""
    return "validation" if zlib.crc32(group_of(path).encode()) % VALIDATION_SHARE == 0 else "train"


def group_of(path: Path) -> str:
    """The path without its suffix and a last number of one or two digits; photos that share it may show one person."""
    return path.with_name(re.sub(r"(?<=.)[_-]\d{1,2}$", "", path.stem)).as_posix()


def read_item(item: Item, options: Options) -> Iterator[PoseExample | BadFrame]:
    target, image = SOURCE.target_skeleton(options), base.read_picture(item.file, turn=True)
    if image is None:
        yield BadFrame("", base.NO_PICTURE, skipped=True)
        return
    labels = open_teachers(options.teacher, options.teacher_cache)(image)
    if labels is None:
        yield NOBODY
        return
    tags = {"source": SOURCE.name, "subject": item.subject, "action": item.action, "frame": 0}
    result = crop_person(image, to_person(labels, image.shape[:2], tags), TEACHER_22, target, options)
    yield dataclasses.replace(result, skipped=True) if isinstance(result, BadFrame) else result


SOURCE = Source(
    name="photos",
    summary="your own photos without labels, one person each: a folder of images, and --teacher=FILE[,FILE].",
    terms="yours; the teachers' labels are subject to their terms (MoveNet, MediaPipe: Apache-2.0).",
    skeleton=TEACHER_22,
    list_items=list_items,
    read_item=read_item,
)
