"""The inputs of keras_pose.predict: photos, videos and cameras, and which people in them are wanted."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.io import images, media

CAMERA = "camera:"


@dataclass(frozen=True)
class Job:
    """One input and the path of its results, `output` plus a suffix; `listed` if the user named it, not its folder."""

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


# --- which people ----------------------------------------------------------------------------------------------


def wanted_people(jobs: Sequence[Job], people: int, box: Sequence[str], boxes: str | None) -> Wanted:
    """Who --people, --box and --boxes ask for; raises UserError if they contradict each other or the inputs."""
    if not (box or boxes):
        return Wanted(people)
    if box and boxes or people > 1:
        raise UserError("--box, --boxes and --people are mutually exclusive; give only one of them")
    videos = [job.source for job in jobs if job.is_video]
    if videos:
        raise UserError(f"{videos[0]} is a video, in which people move; leave --box and --boxes out")
    if box:
        return Wanted(everywhere=parse_box(box, "--box=" + ",".join(box)))
    listed = read_boxes(Path(boxes or ""))
    names = {Path(job.source).name for job in jobs}
    unknown = sorted(set(listed) - names)
    if unknown:
        raise UserError(f"{boxes} has a box for {unknown[0]}, which is not among the photos; check the names")
    return Wanted(boxes=listed)


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
            raise UserError(f"folder {name} contains no images or videos; supported: {images.FORMATS}, and any video")
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
