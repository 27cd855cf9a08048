"""Predicts poses in photos and videos.

    python -m keras_pose.predict --model=runs/e2e --output=poses photo.jpg folder/ video.mp4 camera:0

For each photo PHOTO_pose.png (the skeleton on the picture, the 3D pose from two sides) and PHOTO_pose.json (joints with
their units); for each video VIDEO_pose.mp4 and VIDEO_pose.json, one person followed from frame to frame and smoothed.
With --video_format=webp the video is an animation that web pages show.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.core.progress import progress
from keras_pose.inference.predictor import PosePredictor, PoseResult
from keras_pose.inference.tracker import PoseTracker
from keras_pose.io import atomic, images
from keras_pose.io.video import FORMATS, VideoWriter
from keras_pose.visualization.drawing import draw_result, save_png

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
CAMERA = "camera:"
BATCH = 8
FALLBACK_FPS = 30.0  # for cameras and files that do not tell

FLAGS = flags.FLAGS


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """The command's flags."""
    flags.DEFINE_string(
        "model",
        None,
        "A run folder, an exported .tflite or .onnx file, or the name of a shipped weight.",
        flag_values=values,
    )
    flags.DEFINE_string("output", "predictions", "The folder for pictures, videos and JSON.", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Replace results that are there already.", flag_values=values)
    flags.DEFINE_integer("height", 480, "Height of the result pictures in pixels.", lower_bound=64, flag_values=values)
    flags.DEFINE_integer(
        "max_frames", None, "Stop each video or camera after so many frames.", lower_bound=1, flag_values=values
    )
    flags.DEFINE_enum(
        "video_format", "mp4", FORMATS, "mp4 to play, webp to show on a page (short ones).", flag_values=values
    )


@dataclass(frozen=True)
class Job:
    """One input and where its results go: `output` and a suffix. `listed` by the user, not found in a folder."""

    source: str
    output: Path
    is_video: bool
    listed: bool


def main(inputs: list[str]) -> int:
    """Runs the command; 1 where files of a folder could not be read. Ctrl-C in a video ends the list with it."""
    if not FLAGS.model:
        raise UserError("no model; add --model=RUN, a run folder or an exported file")
    if not inputs:
        raise UserError("nothing to predict; name photos, folders, videos or camera:0")
    jobs = list_jobs(inputs, Path(FLAGS.output))
    if not FLAGS.overwrite:
        refuse_existing(jobs, FLAGS.video_format)
    predictor = PosePredictor(FLAGS.model)
    pictures = [job for job in jobs if not job.is_video]
    unread = predict_pictures(predictor, pictures, FLAGS.height) if pictures else []
    done = len(pictures) - len(unread)
    stopped = False
    for job in [job for job in jobs if job.is_video]:
        try:
            stopped = predict_video(predictor, job, FLAGS.height, FLAGS.max_frames, FLAGS.video_format)
            done += 1
        except UserError as error:
            if job.listed:
                raise
            unread.append(str(error))
        if stopped:
            break
    print(f"{done} of {len(jobs)} done, results in {FLAGS.output}/")
    for message in unread:
        print(f"left out: {message}")
    return 1 if unread else 0


# --- inputs ----------------------------------------------------------------------------------------------------


def list_jobs(inputs: Sequence[str], output: Path) -> list[Job]:
    """What the inputs name, folders listed; raises UserError for what is missing, unknown, or has one name twice."""
    jobs = [job for name in inputs for job in _jobs_of(name, output)]
    sources: dict[Path, str] = {}
    for job in jobs:
        if job.output in sources:
            raise UserError(
                f"{sources[job.output]} and {job.source} would both be written to {job.output}.json; "
                "predict them apart, with another --output"
            )
        sources[job.output] = job.source
    return jobs


def _jobs_of(name: str, output: Path) -> list[Job]:
    if name.startswith(CAMERA):
        if not name[len(CAMERA) :].isdecimal():
            raise UserError(f"{name!r} is no camera; write {CAMERA}0 for the first one")
        return [Job(name, output / f"{name.replace(':', '')}_pose", is_video=True, listed=True)]
    path = Path(name)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURES + VIDEOS)
        if not found:
            raise UserError(f"folder {name} holds no picture and no video ({', '.join(PICTURES + VIDEOS)})")
        return [_file_job(p, output, listed=False) for p in found]
    if not path.is_file():
        raise UserError(f"{name} is neither a file nor a folder; check the path")
    if path.suffix.lower() not in PICTURES + VIDEOS:
        raise UserError(f"{name} is neither a picture nor a video; known: {', '.join(PICTURES + VIDEOS)}")
    return [_file_job(path, output, listed=True)]


def _file_job(path: Path, output: Path, listed: bool) -> Job:
    return Job(str(path), output / f"{path.stem}_pose", path.suffix.lower() in VIDEOS, listed)


def refuse_existing(jobs: Sequence[Job], video_format: str) -> None:
    """Raises UserError where a result is there already."""
    for job in jobs:
        for suffix in (".json", f".{video_format}" if job.is_video else ".png"):
            path = Path(f"{job.output}{suffix}")
            if path.exists():
                raise UserError(f"{path} is there already; choose another --output, or add --overwrite")


# --- pictures --------------------------------------------------------------------------------------------------


def predict_pictures(predictor: PosePredictor, jobs: Sequence[Job], height: int) -> list[str]:
    """Writes a PNG and a JSON for each picture; the messages of those in folders that could not be read."""
    unread: list[str] = []
    batch: list[tuple[Job, np.ndarray]] = []
    with progress(None, len(jobs), "picture") as bar:
        for number, job in enumerate(jobs, 1):
            try:
                batch.append((job, images.read(job.source, turn=True)))
            except UserError as error:
                if job.listed:
                    raise
                unread.append(str(error))
            pixels = sum(picture.shape[0] * picture.shape[1] for _, picture in batch)
            if number == len(jobs) or len(batch) == BATCH or pixels > images.LARGEST_PIXELS:
                _predict_batch(predictor, batch, height)
                batch = []
            bar.update(1)
    return unread


def _predict_batch(predictor: PosePredictor, batch: Sequence[tuple[Job, np.ndarray]], height: int) -> None:
    results = predictor.predict([picture for _, picture in batch])
    for (job, picture), result in zip(batch, results, strict=True):
        save_png(f"{job.output}.png", draw(picture, result, height))
        size = {"file": job.source, "image_size": list(picture.shape[:2])}
        atomic.write_json(f"{job.output}.json", size | result.to_dict())


def draw(image: np.ndarray, result: PoseResult, height: int) -> np.ndarray:
    """The result's picture, `height` tall."""
    return draw_result(image, result.keypoints_px, result.pose_3d_mm, result.skeleton, height, scores=result.scores)


# --- videos ----------------------------------------------------------------------------------------------------


def predict_video(predictor: PosePredictor, job: Job, height: int, max_frames: int | None, video_format: str) -> bool:
    """Writes a video and a JSON of one video; Ctrl-C ends it and keeps the frames so far. Whether it was ended so."""
    is_camera = job.source.startswith(CAMERA)
    capture = cv2.VideoCapture(int(job.source[len(CAMERA) :]) if is_camera else job.source)
    if not capture.isOpened():
        raise UserError(f"{job.source} cannot be opened; check that it is there and is not in use or damaged")
    images.check_video(capture, job.source)
    fps = capture.get(cv2.CAP_PROP_FPS)
    fps = fps if np.isfinite(fps) and fps > 0 else FALLBACK_FPS
    total = None if is_camera else int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) or None
    total = min(filter(None, (total, max_frames)), default=None)
    stopped = False
    tracker, frames, writer = PoseTracker(predictor), [], VideoWriter(Path(f"{job.output}.{video_format}"), fps)
    try:
        for time_s, frame in progress(_frames(capture, fps, is_camera, max_frames), total, "frame"):
            result = tracker(frame, time_s)
            writer.write(draw(frame, result, height - height % 2), time_s if is_camera else None)
            frames.append({"time_s": round(time_s, 4)} | result.to_dict())
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
        raise UserError(f"{job.source} holds no frame that decodes; convert it to MP4 with H.264")
    shared = {key: frames[0][key] for key in ("skeleton", "units")}
    values = {"file": job.source, "frames_per_second": fps} | shared
    values["frames"] = [{key: value for key, value in frame.items() if key not in shared} for frame in frames]
    atomic.write_json(f"{job.output}.json", values)
    return stopped


def _frames(
    capture: cv2.VideoCapture, fps: float, is_camera: bool, max_frames: int | None
) -> Iterator[tuple[float, np.ndarray]]:
    """(time in seconds, (H, W, 3) RGB) of each frame: by its number, for a camera by the clock since the first."""
    index = 0
    while index != max_frames:
        ok, frame = capture.read()
        if not ok:
            return
        if not index:
            start = time.monotonic()
        yield (time.monotonic() - start if is_camera else index / fps), cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        index += 1


if __name__ == "__main__":
    define_flags()
    command.run(main)
