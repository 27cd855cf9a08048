"""The user's own footage, labelled by a teacher: a pose model whose file they have (see `blazepose`).

    *.mp4, *.mov ... in a folder, or one file; those below a folder named validation or test go into that split

The teacher gives 2D joints and a 3D pose in metres around the hips. Where the person stands follows from both, for a
camera whose focal length is assumed; the pose does not depend on it. Frames that the teacher is not sure of are left
out.
"""

import functools
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import BLAZEPOSE_18
from keras_pose.data.example import PoseExample
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.data.shards import SPLITS
from keras_pose.data.sources import base
from keras_pose.data.sources.base import Item, Options, Source
from keras_pose.data.sources.blazepose import BlazePose, Landmarks
from keras_pose.data.sources.crop import Person, crop_person
from keras_pose.io import images, media

SURE = 0.8  # a frame counts from this score on
PRESENT = 0.5  # a joint counts from this presence on
VISIBLE = 0.5
# A phone's main camera sees about 65 degrees across the longer side.
FOCAL_OF_LONGER_SIDE = 0.8


def list_items(input_path: Path, options: Options) -> list[Item | BadFrame]:
    if not options.teacher:
        raise UserError("--teacher is missing: the .tflite file of BlazePose's landmark model; docs/data.md tells more")
    load_teacher(options.teacher)
    paths = [input_path] if input_path.is_file() else sorted(input_path.rglob("*"))
    paths = [path for path in paths if path.is_file() and media.kind_of(path) == "video"]
    if not paths:
        raise UserError(f"{input_path} holds no video ({', '.join(media.VIDEO_SUFFIXES)}, or another that decodes)")
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


@functools.lru_cache(maxsize=1)
def load_teacher(path: str) -> BlazePose:
    return BlazePose(path)


def read_item(item: Item, options: Options) -> Iterator[PoseExample | BadFrame]:
    target, teacher = SOURCE.target_skeleton(options), load_teacher(options.teacher)
    crop, sure = None, 0
    for frame, picture in base.read_video(
        item.file, list(range(0, item.frames * options.frame_step, options.frame_step))
    ):
        if picture is None:
            yield BadFrame(f"frame {frame}", "it cannot be read; the video may be damaged or shorter than it says")
            continue
        found = teacher(picture, crop) if crop else teacher.find(picture)
        if found.score < SURE and crop:
            found = teacher.find(picture)  # the person was lost, or the picture cut
        crop = found.next_crop if found.score >= SURE else None
        if crop:
            sure += 1
            tags = {"source": SOURCE.name, "subject": item.subject, "action": item.action, "frame": frame}
            yield crop_person(picture, to_person(found, picture.shape[:2], tags), BLAZEPOSE_18, target, options)
    if not sure:
        yield BadFrame("", "the teacher is sure of no person in it; film one whole person at a time", skipped=True)


def to_person(found: Landmarks, picture_size: tuple[int, int], tags: dict) -> Person:
    """The labels of a frame; 3D only where every joint is in the picture."""
    valid = found.presence >= PRESENT
    person = Person(found.keypoints_px, valid, found.visibility < VISIBLE, tags=tags)
    if valid.all():
        height, width = picture_size
        focal = FOCAL_OF_LONGER_SIDE * max(height, width)
        person.intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
        person.camera_mm = found.pose_mm + place(found.pose_mm, found.keypoints_px, person.intrinsics)
    return person


def place(pose_mm: np.ndarray, keypoints_px: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """(3,) mm: where a (J, 3) pose must stand to project onto (J, 2) keypoints, by linear least squares.

    With (u, v) the keypoint on the plane z = 1: t_x - u t_z = u Z - X, and the same for y.
    """
    plane = (keypoints_px - intrinsics[:2, 2]) / np.diag(intrinsics)[:2]
    ones, zeros = np.ones(len(pose_mm)), np.zeros(len(pose_mm))
    rows = [np.stack([ones, zeros, -plane[:, 0]], 1), np.stack([zeros, ones, -plane[:, 1]], 1)]
    values = (plane * pose_mm[:, 2:] - pose_mm[:, :2]).T.ravel()
    return np.linalg.lstsq(np.concatenate(rows), values, rcond=None)[0]


SOURCE = Source(
    name="video",
    summary="your own footage, labelled by a teacher: videos of one person, and --teacher=pose_landmark_full.tflite.",
    terms="yours; the teacher's labels are subject to its terms (MediaPipe: Apache-2.0).",
    skeleton=BLAZEPOSE_18,
    list_items=list_items,
    read_item=read_item,
    takes_file=True,
)
