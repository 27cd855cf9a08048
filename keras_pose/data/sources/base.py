"""Shared by the sources: their description, the items they list, and reading files."""

import contextlib
import hashlib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton, get_skeleton
from keras_pose.data.example import LARGEST_RADIUS_MM, SMALLEST_RADIUS_MM, PoseExample
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.io import images
from keras_pose.io.archives import check_archive

NO_PICTURE = (
    f"the image is missing or damaged, smaller than {images.SMALLEST_SIDE} pixels per side or larger than "
    f"{images.LARGEST_PIXELS / 1e6:.0f} megapixels; get it again"
)


@dataclass(frozen=True)
class Options:
    """The user's options for a source.

    `image_size` (height, width) of the crops; `frame_step` n takes every nth frame; `skeleton` names the target
    skeleton, None for the source's own; `margin` is the crop's side relative to the person's box; `smooth` smooths
    images before they shrink; `allow_pickle` permits files that can run code when loaded; `drop_bad_sequences` leaves
    out sequences known to be mislabeled; `split` puts everything into one split, None keeps the source's splits;
    `teacher` lists the model files that add missing labels; `teacher_cache` names the file that keeps their answers.
    """

    image_size: tuple[int, int] = (256, 256)
    frame_step: int = 1
    skeleton: str | None = None
    margin: float = 1.25
    smooth: bool = True
    allow_pickle: bool = False
    drop_bad_sequences: bool = False
    split: str | None = None
    teacher: tuple[str, ...] = ()
    teacher_cache: str | None = None


@dataclass(frozen=True)
class Item:
    """A part of a source that is read as a whole: a video, a chunk of a label file, an image.

    It has at most `frames` examples; messages name `file`; `data` is for `read_item`, and picklable, because it is sent
    to a worker process.
    """

    split: str
    subject: str
    action: str
    frames: int
    file: str
    data: Any = None


@dataclass(frozen=True)
class Source:
    """A supported input format.

    Attributes:
        name: its name for `--source`.
        summary: one line: what to download, and what the input folder must contain.
        terms: one line: the license.
        skeleton: the joints that it labels.
        list_items: (input folder, options) -> items in a fixed order, and BadFrames for unusable entries of a label
            file. Must be fast. Raises UserError that names a missing file.
        read_item: (item, options) -> examples, and BadFrames for frames to leave out. Runs in a worker process. A
            UserError leaves out the item's remaining frames.
        has_images: False for poses without images.
        takes_file: whether the input may also be a single file.
    """

    name: str
    summary: str
    terms: str
    skeleton: Skeleton
    list_items: Callable[[Path, Options], list[Item | BadFrame]]
    read_item: Callable[[Item, Options], Iterator[PoseExample | BadFrame]]
    has_images: bool = True
    takes_file: bool = False

    def target_skeleton(self, options: Options) -> Skeleton:
        """The skeleton of the examples; raises UserError for an unknown name."""
        return get_skeleton(options.skeleton) if options.skeleton else self.skeleton


def check_millimetres(poses: np.ndarray, root: int, file: str) -> None:
    """Raises UserError if (T, J, 3) `poses` of a file cannot be a person in millimeters; they may be in meters."""
    radii = np.linalg.norm(poses - poses[:, root : root + 1], axis=-1).max(axis=-1)  # (T,)
    finite = np.flatnonzero(np.isfinite(radii))
    if len(finite) and not SMALLEST_RADIUS_MM < np.median(radii[finite]) < LARGEST_RADIUS_MM:
        raise UserError(
            f"{file}: in frame {finite[0]} the joint farthest from the root is at {radii[finite[0]]:.4g}, which is no "
            "person in millimeters; convert the poses to millimeters"
        )


# --- files -----------------------------------------------------------------------------------------------------


def optional_import(module: str) -> ModuleType:
    """Imports a library of the extra `data`; raises UserError with the pip command if it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"this source needs {module}; run: pip install 'keras_pose[data]'") from error


def require(path: Path, what: str) -> Path:
    """Returns `path`; raises UserError that says what is missing if it does not exist."""
    if not path.exists():
        raise UserError(f"{path} is missing: {what}; check --input and that the download is complete")
    return path


@contextlib.contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turns any exception inside the block, such as a parser's on a broken file, into a UserError naming the file."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise UserError(f"{path} cannot be read ({reason}); the download may be incomplete, so get it again") from error


def usable(read: Callable[[], Any], where: str, bad: list[BadFrame]) -> Any:
    """The result of `read` for one entry of a label file; if that fails, None, and a BadFrame is added to `bad`."""
    try:
        return read()
    except UserError as error:
        why = " ".join(str(error).removeprefix(where).lstrip(":, ").split())
    except Exception as error:
        why = "cannot be read ({}); fix the entry or leave it out".format(
            " ".join(f"{type(error).__name__}: {error}".split())[:160]
        )
    bad.append(BadFrame(where, why))
    return None


def load_npz(path: Path, arrays: dict[str, tuple[int | None, ...]], allow_pickle: bool = False) -> dict:
    """The named arrays of an .npz file, each checked against its shape (see `check_shape`).

    Raises UserError for a broken file, a missing array, a wrong shape, or pickled arrays without `allow_pickle`.
    """
    with reading(path), np.load(path, allow_pickle=allow_pickle) as archive:
        check_archive(archive.zip, path)
        missing = [name for name in arrays if name not in archive.files]
        if missing:
            raise UserError(f"{path} has no array {missing[0]!r}; this source does not read such files")
        result = {}
        for name, shape in arrays.items():
            try:
                result[name] = archive[name]
            except ValueError as error:
                if "allow_pickle" not in str(error):
                    raise
                raise UserError(
                    f"{path} is pickled, which can run code; if you trust it, add --allow_pickle"
                ) from error
            check_shape(result[name], shape, f"{path}: {name}")
        return result


def check_shape(array: np.ndarray, shape: tuple[int | None, ...], what: str) -> None:
    """Raises UserError if an array has another shape than `shape`, in which None allows any length."""
    fits = len(shape) == array.ndim and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    if not fits:
        wanted = " x ".join("any" if n is None else str(n) for n in shape)
        raise UserError(f"{what} has shape {array.shape}, not {wanted}; this source does not read such files")


def check_picture_size(picture: np.ndarray, size: tuple[int, int], file: str | Path) -> None:
    """Raises UserError if an image does not have the (height, width) that its labels are for."""
    if picture.shape[:2] != tuple(size):
        raise UserError(
            f"{file} is {picture.shape[1]} x {picture.shape[0]} pixels, its labels are for {size[1]} x {size[0]}; "
            "use the original images, not resized ones"
        )


def read_picture(path: str | Path, turn: bool = False) -> np.ndarray | None:
    """An image file as (H, W, 3) uint8 RGB; None if it is missing, damaged, too small or too large.

    `turn` applies the EXIF orientation, which the labels of published data sets ignore.
    """
    try:
        return images.read(path, turn=turn)
    except UserError:
        return None


def read_video(path: str | Path, frames: list[int]) -> Iterator[tuple[int, np.ndarray | None]]:
    """(frame number, (H, W, 3) uint8 RGB) for increasing frame numbers; None if the video has no such frame.

    Decodes the video from its start, because seeking is inexact in many files. Raises UserError for frames that are too
    small or too large.
    """
    video = cv2.VideoCapture(str(path))
    position = 0
    try:
        images.check_video(video, path)
        for frame in frames:
            while position < frame and video.grab():
                position += 1
            ok, image = video.read() if position == frame else (False, None)
            position += ok
            yield frame, cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if ok else None
    finally:
        video.release()


def describe_items(items: list[Item], input_dir: Path) -> str:
    """A hash of the list of items (not of their labels), independent of the location of `input_dir`."""
    lines = (f"{i.split}|{i.subject}|{i.action}|{i.frames}|{i.file.removeprefix(str(input_dir))}" for i in items)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
