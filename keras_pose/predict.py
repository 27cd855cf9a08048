"""Predicts poses in photos and videos.

    python -m keras_pose.predict --model=runs/e2e --output=poses photo.jpg folder/ video.mp4 camera:0

Writes PHOTO_pose.png (the skeleton on the image, the 3D pose from two sides) and PHOTO_pose.json (joints with units)
for each photo. For each video it writes VIDEO_pose.mp4 and VIDEO_pose.json, with people tracked and smoothed over the
frames. --video_format=webp writes an animation for web pages instead.

A finder looks for people in the whole image. By default only the most prominent person is predicted; --people=N allows
up to N. --box and --boxes give the person's place instead. Without --model, the shipped weights are used.
"""

import csv
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from absl import flags
from tqdm import tqdm

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.core.progress import progress
from keras_pose.inference.predictor import UNITS, PosePredictor, PoseResult
from keras_pose.inference.tracker import PeopleTracker, PoseTracker, TrackedPerson
from keras_pose.io import atomic, images, media
from keras_pose.io.video import FORMATS, VideoWriter
from keras_pose.visualization.drawing import contact_sheet, draw_keypoints, draw_result, fit_height, save_png
from keras_pose.weights import DEFAULT_WEIGHTS

CAMERA = "camera:"
BATCH = 8
SHEET_SUFFIXES = (".png", ".webp")
FALLBACK_FPS = 30.0  # for cameras and files that do not report a rate

FLAGS = flags.FLAGS


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string(
        "model",
        None,
        "A run folder, an exported .tflite or .onnx file, or the name of shipped weights; default: the shipped model.",
        flag_values=values,
    )
    flags.DEFINE_integer("people", 1, "Most people per image, the most prominent first.", lower_bound=1,
                         flag_values=values)  # fmt: skip
    flags.DEFINE_list("box", [], "x0,y0,x1,y1 in pixels: the person's box in every photo.", flag_values=values)
    flags.DEFINE_string(
        "boxes",
        None,
        "A CSV file with lines FILE,x0,y0,x1,y1: boxes of people in photos, by file name. Photos that are not listed "
        "are searched.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "flip_test",
        None,
        "Average with the mirrored image; default: for runs and shipped weights, not for exported files.",
        flag_values=values,
    )
    flags.DEFINE_string("output", "predictions", "Folder for images, videos and JSON.", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Replace existing results.", flag_values=values)
    flags.DEFINE_integer("height", 480, "Height of the result images in pixels.", lower_bound=64, flag_values=values)
    flags.DEFINE_integer(
        "max_frames", None, "Stop each video or camera after this many frames.", lower_bound=1, flag_values=values
    )
    flags.DEFINE_string(
        "sheet", None, "Also write the results of all photos side by side into this .png or .webp.", flag_values=values
    )
    flags.DEFINE_integer("columns", 2, "Results per row of the sheet.", lower_bound=1, flag_values=values)
    flags.DEFINE_enum(
        "video_format", "mp4", FORMATS, "mp4 for playback, webp for web pages (short videos).", flag_values=values
    )


@dataclass(frozen=True)
class Job:
    """One input and the path of its results: `output` plus a suffix. `listed` if the user named it, not its folder."""

    source: str
    output: Path
    is_video: bool
    listed: bool


@dataclass(frozen=True)
class Wanted:
    """Which people to predict: up to `people`, or those in the box `everywhere` or in `boxes` (by photo name)."""

    people: int = 1
    everywhere: tuple[float, ...] | None = None
    boxes: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)

    def boxes_of(self, source: str) -> list[tuple[float, ...]]:
        """The boxes given for a photo; empty if it should be searched."""
        return self.boxes.get(Path(source).name, [self.everywhere] if self.everywhere else [])


def main(inputs: list[str]) -> int:
    """Runs the command; returns 1 if files in a folder could not be read. Ctrl-C in a video also skips the rest."""
    if not inputs:
        raise UserError("nothing to predict; name photos, folders, videos or camera:0")
    jobs = list_jobs(inputs, Path(FLAGS.output))
    if not FLAGS.overwrite:
        refuse_existing(jobs, FLAGS.video_format)
    sheet = Sheet(FLAGS.sheet, FLAGS.columns, FLAGS.overwrite) if FLAGS.sheet else None
    wanted = wanted_people(jobs)
    if not FLAGS.model:
        print(f"no --model given; using the shipped weights {DEFAULT_WEIGHTS}")
    predictor = PosePredictor(FLAGS.model or DEFAULT_WEIGHTS, flip_test=FLAGS.flip_test)
    if wanted.people > 1 and predictor.finder is None:
        raise UserError(f"--people={wanted.people} needs a finder, and {predictor.model.name} has none; leave it out")
    pictures = [job for job in jobs if not job.is_video]
    unread, empty = predict_pictures(predictor, pictures, FLAGS.height, wanted, sheet) if pictures else ([], 0)
    if sheet and sheet.images:
        sheet.write()
    done = len(pictures) - len(unread)
    stopped = False
    for job in [job for job in jobs if job.is_video]:
        try:
            stopped = predict_video(predictor, job, FLAGS.height, FLAGS.max_frames, FLAGS.video_format, wanted.people)
            done += 1
        except UserError as error:
            if job.listed:
                raise
            unread.append(str(error))
        if stopped:
            break
    nobody = f", {empty} without a person" if empty else ""
    unknown = count_unknown(inputs, jobs)
    others = f"; {unknown} other files in folders are neither images nor videos" if unknown else ""
    print(f"{done} of {len(jobs)} done{nobody}, results in {FLAGS.output}/{others}")
    for message in unread:
        print(f"skipped: {message}")
    return 1 if unread else 0


class Sheet:
    """The results of all photos in one image, in rows of `columns`.

    Raises UserError if the file is of another format, or exists and may not be replaced.
    """

    def __init__(self, path: str, columns: int, overwrite: bool):
        self.path, self.columns, self.images = Path(path), columns, []
        if self.path.suffix not in SHEET_SUFFIXES:
            raise UserError(f"--sheet={path} must end in {' or '.join(SHEET_SUFFIXES)}")
        if self.path.exists() and not overwrite:
            raise UserError(f"{path} exists; choose another --sheet, or add --overwrite")

    def write(self) -> None:
        """Writes the file, whole or not at all."""
        sheet = cv2.cvtColor(contact_sheet(self.images, self.columns), cv2.COLOR_RGB2BGR)
        quality = [cv2.IMWRITE_WEBP_QUALITY, 85] if self.path.suffix == ".webp" else []
        atomic.write_atomically(self.path, cv2.imencode(self.path.suffix, sheet, quality)[1].tobytes())


# --- which people ----------------------------------------------------------------------------------------------


def wanted_people(jobs: Sequence[Job]) -> Wanted:
    """Reads --people, --box and --boxes; raises UserError if they contradict each other or the inputs."""
    if not (FLAGS.box or FLAGS.boxes):
        return Wanted(FLAGS.people)
    if FLAGS.box and FLAGS.boxes or FLAGS.people > 1:
        raise UserError("--box, --boxes and --people are mutually exclusive; give only one of them")
    videos = [job.source for job in jobs if job.is_video]
    if videos:
        raise UserError(f"{videos[0]} is a video, in which people move; leave --box and --boxes out")
    if FLAGS.box:
        return Wanted(everywhere=parse_box(FLAGS.box, "--box=" + ",".join(FLAGS.box)))
    boxes = read_boxes(Path(FLAGS.boxes))
    names = {Path(job.source).name for job in jobs}
    unknown = sorted(set(boxes) - names)
    if unknown:
        raise UserError(f"{FLAGS.boxes} has a box for {unknown[0]}, which is not among the photos; check the names")
    return Wanted(boxes=boxes)


def parse_box(words: Sequence[str], where: str) -> tuple[float, ...]:
    """(x0, y0, x1, y1); the UserError names the place of the invalid box."""
    try:
        box = tuple(float(word) for word in words)
    except ValueError:
        box = ()
    if len(box) != 4 or not np.isfinite(box).all() or box[0] >= box[2] or box[1] >= box[3]:
        raise UserError(f"{where} is not a box; give x0,y0,x1,y1 in pixels with x0 < x1 and y0 < y1")
    return box


def read_boxes(path: Path) -> dict[str, list[tuple[float, ...]]]:
    """The boxes in a CSV file by photo name; a first line without numbers is a header."""
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"--boxes={path} cannot be read as CSV ({error}); give lines FILE,x0,y0,x1,y1") from error
    boxes: dict[str, list[tuple[float, ...]]] = {}
    for number, row in enumerate(rows, 1):
        if not row or number == 1 and len(row) == 5 and not row[1].strip().lstrip("-").replace(".", "", 1).isdigit():
            continue
        boxes.setdefault(Path(row[0].strip()).name, []).append(parse_box(row[1:], f"line {number} of {path}"))
    if not boxes:
        raise UserError(f"--boxes={path} contains no box; give lines FILE,x0,y0,x1,y1")
    return boxes


# --- inputs ----------------------------------------------------------------------------------------------------


def list_jobs(inputs: Sequence[str], output: Path) -> list[Job]:
    """One job per input, with folders expanded; raises UserError if one is missing, unknown, or its name repeats."""
    jobs = [job for name in inputs for job in _jobs_of(name, output)]
    sources: dict[Path, str] = {}
    for job in jobs:
        if job.output in sources:
            raise UserError(
                f"{sources[job.output]} and {job.source} would both be written to {job.output}.json; "
                "predict them separately, each with its own --output"
            )
        sources[job.output] = job.source
    return jobs


def _jobs_of(name: str, output: Path) -> list[Job]:
    if name.startswith(CAMERA):
        if not name[len(CAMERA) :].isdecimal():
            raise UserError(f"{name!r} is not a camera; write {CAMERA}0 for the first one")
        return [Job(name, output / f"{name.replace(':', '')}_pose", is_video=True, listed=True)]
    path = Path(name)
    if path.is_dir():
        found = [(p, media.kind_of(p)) for p in _files(path)]
        if not any(kind for _, kind in found):
            raise UserError(f"folder {name} contains no images or videos; known are {images.FORMATS}, and any video")
        return [_file_job(p, kind, output, listed=False) for p, kind in found if kind]
    if not path.is_file():
        raise UserError(f"{name} is neither a file nor a folder; check the path")
    kind = media.kind_of(path)
    if kind is None:
        known = ", ".join((*images.SUFFIXES, *media.VIDEO_SUFFIXES))
        raise UserError(f"{name} is neither an image nor a video; known: {known}, and other videos that decode")
    return [_file_job(path, kind, output, listed=True)]


def _file_job(path: Path, kind: str, output: Path, listed: bool) -> Job:
    return Job(str(path), output / f"{path.stem}_pose", kind == "video", listed)


def _files(folder: Path) -> list[Path]:
    """The files of a folder, without hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def count_unknown(inputs: Sequence[str], jobs: Sequence[Job]) -> int:
    """The number of files in the input folders that belong to no job."""
    known = {job.source for job in jobs}
    folders = [Path(name) for name in inputs if Path(name).is_dir()]
    return sum(str(path) not in known for folder in folders for path in _files(folder))


def refuse_existing(jobs: Sequence[Job], video_format: str) -> None:
    """Raises UserError if a result already exists."""
    for job in jobs:
        for suffix in (".json", f".{video_format}" if job.is_video else ".png"):
            path = Path(f"{job.output}{suffix}")
            if path.exists():
                raise UserError(f"{path} already exists; choose another --output, or add --overwrite")


# --- images --------------------------------------------------------------------------------------------------


def predict_pictures(
    predictor: PosePredictor, jobs: Sequence[Job], height: int, wanted: Wanted, sheet: "Sheet | None" = None
) -> tuple[list[str], int]:
    """Writes a PNG and a JSON file for each image.

    Returns messages for unreadable files in folders, and the number of images without people.
    """
    unread: list[str] = []
    empty = 0
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
                empty += _predict_batch(predictor, batch, height, wanted, sheet)
                batch = []
            bar.update(1)
    return unread, empty


def _predict_batch(
    predictor: PosePredictor,
    batch: Sequence[tuple[Job, np.ndarray]],
    height: int,
    wanted: Wanted,
    sheet: "Sheet | None" = None,
) -> int:
    """Writes the results of a batch; returns the number of images without people."""
    empty = 0
    for (job, picture), people in zip(batch, _people_of(predictor, batch, wanted), strict=True):
        if not people:
            empty += 1
            tqdm.write(f"no person found in {job.source}")
        drawn = draw(picture, people, height)
        save_png(f"{job.output}.png", drawn)
        if sheet:
            sheet.images.append(drawn)
        size = {"file": job.source, "image_size": list(picture.shape[:2])}
        shared = {"skeleton": predictor.skeleton.to_dict(), "units": UNITS}
        atomic.write_json(f"{job.output}.json", size | shared | {"people": [_without(shared, p) for p in people]})
    return empty


def _people_of(
    predictor: PosePredictor, batch: Sequence[tuple[Job, np.ndarray]], wanted: Wanted
) -> list[list[PoseResult]]:
    """The people in each image of a batch, with few passes of the model if one person or boxes are wanted."""
    if wanted.people > 1:
        return [predictor.predict_people(picture, wanted.people) for _, picture in batch]
    rows = [(i, box) for i, (job, _) in enumerate(batch) for box in wanted.boxes_of(job.source) or [None]]
    results = predictor.predict([batch[i][1] for i, _ in rows], [box for _, box in rows])
    people: list[list[PoseResult]] = [[] for _ in batch]
    for (i, _), result in zip(rows, results, strict=True):
        if result.person_score != 0:
            people[i].append(result)
    return people


def _without(shared: dict, result: PoseResult) -> dict:
    return {key: value for key, value in result.to_dict().items() if key not in shared}


def draw(image: np.ndarray, people: Sequence[PoseResult], height: int) -> np.ndarray:
    """The result image, `height` tall: all people on the image, with the first one's 3D pose beside it."""
    if not people:
        return fit_height(image, height)
    canvas = fit_height(image, height)
    scale = height / image.shape[0]
    for person in people[1:]:
        canvas = draw_keypoints(canvas, person.keypoints_px * scale, person.skeleton, scores=person.scores)
    first = people[0]
    return draw_result(
        canvas, first.keypoints_px * scale, first.pose_3d_mm, first.skeleton, height, scores=first.scores
    )


# --- videos ----------------------------------------------------------------------------------------------------


def predict_video(
    predictor: PosePredictor, job: Job, height: int, max_frames: int | None, video_format: str, max_people: int
) -> bool:
    """Writes the video and JSON for one video. Ctrl-C ends it and keeps the frames so far; returns whether it did."""
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
            each = [{"id": person.id} | _without(shared, person.result) for person in people]
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


if __name__ == "__main__":
    define_flags()
    command.run(main)
