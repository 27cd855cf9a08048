"""What the sources share: their description, the items that they list, and how they read files."""

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
    f"the image is missing or damaged, under {images.SMALLEST_SIDE} pixels a side or over "
    f"{images.LARGEST_PIXELS / 1e6:.0f} megapixels; get it again"
)


@dataclass(frozen=True)
class Options:
    """What the user asks of a source.

    `image_size` (height, width) of the crops; `frame_step` n takes every nth frame; `skeleton` names the skeleton to
    map to, None for the source's own; `margin` is the crop's side over the person's box; `smooth` smooths images that
    shrink; `allow_pickle` permits files that can run code when they are loaded; `drop_bad_sequences` leaves out
    sequences that are known to be mislabelled; `split` takes everything into one split, None into the source's own;
    `teacher` are the model files that label what people have not, `teacher_cache` the file that keeps their answers.
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
    """A part of a source that is read at one go: a video, a chunk of a label file, an image.

    `frames` is how many examples it has at most, `file` the file that messages name, `data` what `read_item` needs
    (plain values: it goes to a worker process).
    """

    split: str
    subject: str
    action: str
    frames: int
    file: str
    data: Any = None


@dataclass(frozen=True)
class Source:
    """A format that users hold.

    Attributes:
        name: what `--source` calls it.
        summary: one line, what to download and what the input folder must hold.
        terms: one line, the licence.
        skeleton: the joints that it labels.
        list_items: (input folder, options) -> items in a fixed order, and BadFrames for entries of a label file that
            cannot be used; cheap; raises UserError naming a missing file.
        read_item: (item, options) -> examples, and BadFrames for frames to leave out; runs in a worker process. A
            UserError leaves out the item's remaining frames.
        has_images: False for poses alone.
        takes_file: whether the input may be a single file, too.
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
    """Raises UserError where (T, J, 3) `poses` of a file have no person's size in millimeters (meters, say)."""
    radii = np.linalg.norm(poses - poses[:, root : root + 1], axis=-1).max(axis=-1)  # (T,)
    radii = radii[np.isfinite(radii)]
    if len(radii) and not SMALLEST_RADIUS_MM < np.median(radii) < LARGEST_RADIUS_MM:
        raise UserError(
            f"{file}: in frame 0 the joint farthest from the root is at {radii[0]:.4g}, which is no person in "
            "millimeters; convert the poses to millimeters"
        )


# --- files -----------------------------------------------------------------------------------------------------


def optional_import(module: str) -> ModuleType:
    """Imports a library of the extra `data`; raises UserError with the pip command where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"this source needs {module}; run: pip install 'keras_pose[data]'") from error


def require(path: Path, what: str) -> Path:
    """Returns `path`; raises UserError that says what is missing there."""
    if not path.exists():
        raise UserError(f"{path} is missing: {what}; check --input and that the download is complete")
    return path


@contextlib.contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turns whatever a parser raises on a broken file inside the block into a UserError that names the file."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise UserError(f"{path} cannot be read ({reason}); it may be half a download, so get it again") from error


def usable(read: Callable[[], Any], where: str, bad: list[BadFrame]) -> Any:
    """What `read` makes of one entry of a label file; None, and a BadFrame in `bad`, where the entry is broken."""
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
    """The named arrays of an .npz file, each checked against its shape (None fits any length).

    Raises UserError for a broken file, a missing array, another shape, and pickled arrays without `allow_pickle`.
    """
    with reading(path), np.load(path, allow_pickle=allow_pickle) as archive:
        check_archive(archive.zip, path)
        missing = [name for name in arrays if name not in archive.files]
        if missing:
            raise UserError(f"{path} holds no array {missing[0]!r}; it is another file than this source reads")
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
    """Raises UserError where an array has another shape; None fits any length."""
    fits = len(shape) == array.ndim and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    if not fits:
        wanted = " x ".join("any" if n is None else str(n) for n in shape)
        raise UserError(f"{what} has shape {array.shape}, not {wanted}; it is another file than this source reads")


def check_picture_size(picture: np.ndarray, size: tuple[int, int], file: str | Path) -> None:
    """Raises UserError where an image is not of (height, width) `size`, so that the labels would not fit."""
    if picture.shape[:2] != tuple(size):
        raise UserError(
            f"{file} is {image.shape[1]} x {image.shape[0]} pixels, its labels are for {size[1]} x {size[0]}; "
            "use the original images, not resized ones"
        )


def read_picture(path: str | Path, turn: bool = False) -> np.ndarray | None:
    """An image file as (H, W, 3) uint8 RGB; None where there is `NO_PICTURE`.

    `turn`: as its EXIF orientation says, which labels of published data sets do not heed.
    """
    try:
        return images.read(path, turn=turn)
    except UserError:
        return None


def read_video(path: str | Path, frames: list[int]) -> Iterator[tuple[int, np.ndarray | None]]:
    """(frame number, (H, W, 3) uint8 RGB) for rising frame numbers; None where the video has no such frame.

    Frames are counted while decoding, never sought: seeking is inexact in many files.
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
    """A hash of what the items are, without the folder's own place."""
    lines = (f"{i.split}|{i.subject}|{i.action}|{i.frames}|{i.file.removeprefix(str(input_dir))}" for i in items)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
