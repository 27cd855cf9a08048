"""The user's own footage, labeled by teachers (see `keras_pose.data.teachers.labeller`).

    *.mp4, *.mov ... in a folder, or one file; those below a folder named validation or test go into that split

The teachers provide 2D joints and, if BlazePose is among them, a 3D pose around the hips. Both together give the
person's position, for an assumed focal length; the pose does not depend on it. Frames without a person are skipped.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import cv2

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


def list_items(input_path: Path, options: Options) -> list[Item | BadFrame]:
    open_teachers(options.teacher, options.teacher_cache)
    paths = [input_path] if input_path.is_file() else sorted(input_path.rglob("*"))
    paths = [path for path in paths if path.is_file() and media.kind_of(path) == "video"]
    if not paths:
        raise UserError(f"{input_path} contains no video ({', '.join(media.VIDEO_SUFFIXES)}, or another that decodes)")
    items: list[Item | BadFrame] = []
    bad: list[BadFrame] = []
    for path in paths:
        count = base.usable(lambda path=path: _count_frames(path), str(path), bad)
        if count is None:
            continue
        split = next((part for part in path.relative_to(input_path).parts[:-1] if part in SPLITS), "train")
        frames = len(range(0, count, options.frame_step))
        items.append(Item(split, path.stem, "video", frames, str(path)))
    return items + bad


def _count_frames(path: Path) -> int:
    video = cv2.VideoCapture(str(path))
    try:
        count = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
        images.check_video(video, path)
    finally:
        video.release()
    if not 0 < count < 1 << 31:
        raise UserError(f"{path} does not open as a video; convert it to MP4 (H.264)")
    return count


def read_item(item: Item, options: Options) -> Iterator[PoseExample | BadFrame]:
    target, teachers = SOURCE.target_skeleton(options), open_teachers(options.teacher, options.teacher_cache)
    crop = None
    for frame, picture in base.read_video(
        item.file, list(range(0, item.frames * options.frame_step, options.frame_step))
    ):
        if picture is None:
            yield BadFrame(f"frame {frame}", "it cannot be read; the video may be damaged or shorter than declared")
            continue
        labels = teachers(picture, crop)
        if labels is None and crop:
            labels = teachers(picture)  # the crop lost the person, or there was a cut
        crop = labels and labels.next_crop
        if labels:
            tags = {"source": SOURCE.name, "subject": item.subject, "action": item.action, "frame": frame}
            yield crop_person(picture, to_person(labels, picture.shape[:2], tags), TEACHER_22, target, options)
        else:
            yield dataclasses.replace(NOBODY, where=f"frame {frame}")


SOURCE = Source(
    name="video",
    summary="your own footage, labeled by a teacher: videos of one person, and --teacher=pose_landmark_full.tflite.",
    terms="yours; the teacher's labels are subject to its terms (MediaPipe: Apache-2.0).",
    skeleton=TEACHER_22,
    list_items=list_items,
    read_item=read_item,
    takes_file=True,
)
