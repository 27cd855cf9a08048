"""The results of a video or a camera: a video with people tracked and smoothed, and a JSON file."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.core.progress import progress
from keras_pose.inference.predictor import UNITS, PosePredictor
from keras_pose.inference.tracker import PeopleTracker, PoseTracker, TrackedPerson
from keras_pose.io import atomic, images
from keras_pose.io.video import VideoWriter
from keras_pose.prediction.jobs import CAMERA, Job
from keras_pose.prediction.photos import draw, without

FALLBACK_FPS = 30.0  # for cameras and files that do not report a rate


def predict_video(
    predictor: PosePredictor, job: Job, height: int, max_frames: int | None, video_format: str, max_people: int
) -> bool:
    """Writes the video and the JSON file for one video or camera.

    Ctrl-C ends it and keeps the frames so far; returns whether that happened. Raises UserError if the source cannot be
    opened or has no frames.
    """
    is_camera = job.source.startswith(CAMERA)
    capture = cv2.VideoCapture(int(job.source[len(CAMERA) :]) if is_camera else job.source)
    if not capture.isOpened():
        raise UserError(f"{job.source} cannot be opened; check that it exists, is not in use and is not damaged")
    images.check_video(capture, job.source)
    fps = capture.get(cv2.CAP_PROP_FPS)
    fps = fps if np.isfinite(fps) and fps > 0 else FALLBACK_FPS
    total = None if is_camera else int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) or None
    total = min(filter(None, (total, max_frames)), default=None)
    stopped = False
    shared = {"skeleton": predictor.skeleton.to_dict(), "units": UNITS}
    frames, writer = [], VideoWriter(Path(f"{job.output}.{video_format}"), fps)
    follow = _follow_one(predictor) if max_people == 1 else PeopleTracker(predictor, max_people)
    blank = np.zeros((1, *predictor.model.input_size, 3), np.uint8)
    views = 2 if "pose_3d" in predictor.model.run(blank) else 0  # views of the 3D pose beside the image
    try:
        for time_s, frame in progress(_frames(capture, fps, is_camera, max_frames), total, "frame"):
            people = follow(frame, time_s)
            drawn = draw(frame, [person.result for person in people], height - height % 2)
            if not people:  # all frames must have the same size
                drawn = np.pad(drawn, ((0, 0), (0, views * len(drawn)), (0, 0)), constant_values=255)
            writer.write(drawn, time_s if is_camera else None)
            each = [{"id": person.id} | without(shared, person.result) for person in people]
            frames.append({"time_s": round(time_s, 4), "people": each})
    except KeyboardInterrupt:
        stopped = True
        print(f"stopped after {len(frames)} frames of {job.source}")
    finally:
        capture.release()
        writer.close()
    writer.publish()
    if not frames and stopped:
        return True
    if not frames:
        raise UserError(f"{job.source} has no frame that decodes; convert it to MP4 with H.264")
    values = {"file": job.source, "frames_per_second": fps} | shared | {"frames": frames}
    atomic.write_json(f"{job.output}.json", values)
    return stopped


def _follow_one(predictor: PosePredictor) -> Callable[[np.ndarray, float], list[TrackedPerson]]:
    """A tracker for the most prominent person; the id increases when the person changes."""
    tracker, number, was_there = PoseTracker(predictor), 1, True

    def follow(frame: np.ndarray, time_s: float) -> list[TrackedPerson]:
        nonlocal number, was_there
        result = tracker(frame, time_s)
        is_there = result.person_score != 0
        number += is_there and not was_there
        was_there = is_there
        return [TrackedPerson(number, result)] if is_there else []

    return follow


def _frames(
    capture: cv2.VideoCapture, fps: float, is_camera: bool, max_frames: int | None
) -> Iterator[tuple[float, np.ndarray]]:
    """(time in seconds, (H, W, 3) RGB) of each frame: from its number, or for a camera from the clock."""
    index = 0
    while index != max_frames:
        ok, frame = capture.read()
        if not ok:
            return
        if not index:
            start = time.monotonic()
        yield (time.monotonic() - start if is_camera else index / fps), cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        index += 1
