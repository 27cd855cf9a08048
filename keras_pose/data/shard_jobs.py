"""Jobs that fill a data set folder shard by shard: parallel, resumable, with their settings stored in the folder.

`python -m keras_pose.data.prepare` and `python -m keras_pose.synthetic` are such jobs. This module does not import
TensorFlow, so worker processes start fast.
"""

import contextlib
import itertools
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import astuple, dataclass
from pathlib import Path

import cv2

from keras_pose.core.errors import UserError
from keras_pose.core.progress import progress
from keras_pose.data import shards
from keras_pose.data.example import PoseExample
from keras_pose.io import atomic
from keras_pose.io.folder_lock import LOCK, locked

SETTINGS = "settings.json"
LABELS = "labels"  # the setting that has a hash of the input's labels
BAD_FRAMES = "bad_frames.txt"
# If a larger share of the frames is unusable, the whole input is probably faulty.
LARGEST_BAD_SHARE = 0.01


@dataclass(frozen=True)
class BadFrame:
    """A frame to leave out: `where` names file and frame, `why` gives the reason and the fix.

    `skipped` frames are expected, such as labels for images that a subset does not contain. They are listed and counted
    like the others, but not in the share of bad frames that ends a job.
    """

    where: str
    why: str
    skipped: bool = False


@dataclass(frozen=True)
class ShardPlan:
    """One planned shard: number `index` of `count` in its split, made from `items`, with at most `frames` examples."""

    split: str
    index: int
    count: int
    items: tuple
    frames: int

    @property
    def file(self) -> str:
        return shards.shard_name(self.split, self.index, self.count)


# Yields the examples of one shard from its items. It runs in a worker process, so it must be picklable.
Producer = Callable[[tuple], Iterator[PoseExample | BadFrame]]


def plan_shards(split: str, items: Sequence, frames: Sequence[int], shard_size: int) -> list[ShardPlan]:
    """Plans a split's shards from whole items in order: a shard ends once it has at least `shard_size` frames.

    `frames` are the items' numbers of frames.
    """
    groups, size = [[]], 0
    for item, count in zip(items, frames, strict=True):
        if size >= shard_size:
            groups.append([])
            size = 0
        groups[-1].append((item, count))
        size += count
    return [
        ShardPlan(split, i, len(groups), tuple(item for item, _ in group), sum(count for _, count in group))
        for i, group in enumerate(groups)
        if group
    ]


@contextlib.contextmanager
def claimed(directory: str | os.PathLike, settings: dict) -> Iterator[bool]:
    """Reserves the folder for one job while the block runs; yields whether an earlier job has already finished it.

    Raises UserError and changes nothing if another process is filling the folder, or if it contains other files or a
    job with other settings.
    """
    if is_finished(directory, settings):  # such a folder may be read-only
        yield True
        return
    with locked(directory):
        yield start_or_resume(directory, settings)


def start_or_resume(directory: str | os.PathLike, settings: dict) -> bool:
    """Stores a new job's settings in the folder; returns and raises the same as `is_finished`."""
    finished = is_finished(directory, settings)
    path = Path(directory) / SETTINGS
    if not path.is_file():
        atomic.write_json(path, settings)
    return finished


def is_finished(directory: str | os.PathLike, settings: dict) -> bool:
    """Whether a job with these settings has finished the folder.

    Raises UserError if it contains other files or a job with other settings.
    """
    directory = Path(directory)
    path = directory / SETTINGS
    wanted = json.loads(json.dumps(settings))
    if directory.exists() and not directory.is_dir():
        raise UserError(f"{directory} is a file; name a folder for the output")
    if not path.is_file():
        if directory.is_dir() and {entry.name for entry in directory.iterdir()} - {LOCK}:
            raise UserError(f"{directory} holds other files and no {SETTINGS}; choose a new or empty folder")
        return False
    try:
        stored = dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged; remove {directory} and start again") from error
    if LABELS not in stored:  # begun before settings had them
        wanted.pop(LABELS, None)
    for key in wanted | stored:
        if key == LABELS and stored[key] != wanted.get(key):
            raise UserError(f"{directory} was started with other labels than the input has now; choose another folder")
        if stored.get(key) != wanted.get(key):
            raise UserError(
                f"{directory} was started with {key} {stored.get(key)!r}, now it is {wanted.get(key)!r}; "
                "use the same settings to resume, or another folder"
            )
    return (directory / shards.MANIFEST).is_file()


def run(
    directory: str | os.PathLike,
    plans: Sequence[ShardPlan],
    produce: Producer,
    workers: int,
    known_bad: Sequence[BadFrame] = (),
    max_bad_share: float = LARGEST_BAD_SHARE,
) -> tuple[dict[str, tuple[shards.ShardEntry, ...]], list[BadFrame]]:
    """Makes the shards that earlier runs did not finish; returns all entries by split, and the bad frames.

    Lists the bad frames in `bad_frames.txt`, first `known_bad`, which are in no plan. With one worker, everything runs
    in this process.

    Raises UserError if the bad frames that are not `skipped` exceed `max_bad_share` of all frames; the next run then
    remakes the shards that had some. Raises UserError also if a worker process dies.
    """
    directory = Path(directory)
    job = _Job(directory, sum(plan.frames for plan in plans), known_bad, max_bad_share)
    todo = [plan for plan in plans if not job.take_finished(plan)]
    with progress((), job.frames, "frames", initial=job.frames - sum(p.frames for p in todo)) as bar:
        for plan, entry in _write_all(directory, todo, produce, workers):
            job.take(plan, entry)
            bar.update(plan.frames)
            bar.set_postfix_str(f"{len(job.bad)} bad" if job.bad else "", refresh=False)
    splits = {}
    for plan in plans:
        splits.setdefault(plan.split, []).append(job.entries[plan.file])
    return {split: tuple(entries) for split, entries in splits.items()}, job.bad


def finish(directory: str | os.PathLike, manifest: shards.Manifest) -> None:
    """Writes the manifest and removes the files that only an unfinished job needs."""
    shards.write_manifest(directory, manifest)
    (Path(directory) / LOCK).unlink(missing_ok=True)  # whoever locks the folder next finds the manifest
    for entries in manifest.splits.values():
        for entry in entries:
            _bad_path(Path(directory) / entry.file).unlink(missing_ok=True)


class _Job:
    """The state of a job: the finished entries by file name, and all bad frames so far."""

    def __init__(self, directory: Path, frames: int, known_bad: Sequence[BadFrame], max_bad_share: float):
        self.directory, self.frames, self._max_bad_share = directory, frames, max_bad_share
        self._planned = frames + sum(not frame.skipped for frame in known_bad)
        self.entries: dict[str, shards.ShardEntry] = {}
        self.bad: list[BadFrame] = []
        self._bad_files: list[str] = []
        if known_bad:
            self._add(known_bad)

    def take_finished(self, plan: ShardPlan) -> bool:
        """Accepts a shard that an earlier run finished; returns whether there is one."""
        entry = shards.finished_shard(self.directory / plan.file)
        if entry is not None:
            self.take(plan, entry)
        return entry is not None

    def take(self, plan: ShardPlan, entry: shards.ShardEntry) -> None:
        """Records a finished shard; raises UserError if there are now too many bad frames."""
        path = self.directory / plan.file
        self.entries[plan.file] = entry
        if not _bad_path(path).is_file():
            return
        self._bad_files.append(plan.file)
        self._add([BadFrame(*values) for values in json.loads(_bad_path(path).read_text())])

    def _add(self, frames: Sequence[BadFrame]) -> None:
        self.bad += frames
        atomic.write_atomically(self.directory / BAD_FRAMES, "".join(_lines(self.bad)).encode())
        bad = [frame for frame in self.bad if not frame.skipped]
        if len(bad) > self._max_bad_share * self._planned:
            for file in self._bad_files:
                (self.directory / file).unlink()
            raise UserError(
                f"{bad[0].where}: {bad[0].why} ({len(bad)} of {self._planned} frames cannot be used, over "
                f"{self._max_bad_share:.0%}; all are in {self.directory / BAD_FRAMES}; fix them and run again, or "
                "raise --max_bad_share)"
            )


def _lines(bad: Sequence[BadFrame]) -> Iterator[str]:
    """One line per bad frame, or per run of equal ones, such as the frames of a broken file."""
    for frame, same in itertools.groupby(bad):
        count = len(list(same))
        yield f"{frame.where}: {frame.why}{f' ({count} frames)' if count > 1 else ''}\n"


def _bad_path(shard: Path) -> Path:
    return shard.with_name(shard.name + ".bad.json")


def _write_all(
    directory: Path, plans: Iterable[ShardPlan], produce: Producer, workers: int
) -> Iterator[tuple[ShardPlan, shards.ShardEntry]]:
    """Yields each plan with its entry as soon as the shard is written."""
    if workers <= 1:
        for plan in plans:
            yield plan, _write(directory, plan, produce)
        return
    # spawn, because a forked copy of a process with threads (OpenCV's) may hang.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker) as pool:
        pending: dict[Future, ShardPlan] = {pool.submit(_write, directory, plan, produce): plan for plan in plans}
        try:
            while pending:
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    yield pending.pop(future), future.result()
        except BrokenProcessPool as error:
            raise UserError("a worker process died, most likely from lack of memory; use fewer --workers") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a worker at once, without a traceback
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)


def _end_with_parent() -> None:
    """Ends this worker if the job is killed; otherwise it would wait forever, or write beside the next job."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _write(directory: Path, plan: ShardPlan, produce: Producer) -> shards.ShardEntry:
    path = directory / plan.file

    def good() -> Iterator[PoseExample]:
        bad = []
        for result in produce(plan.items):
            if isinstance(result, BadFrame):
                bad.append(astuple(result))
            else:
                yield result
        # Stored before the shard gets its name, so that a finished shard never lacks its list.
        if bad:
            atomic.write_json(_bad_path(path), bad)
        else:
            _bad_path(path).unlink(missing_ok=True)

    return shards.write_shard(path, good())
