"""Which model is served, and its file together with its metadata."""

import hashlib
import io
import json
import os
import threading
import zipfile
import zlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from keras_pose.core.errors import UserError
from keras_pose.io.archives import check_archive
from keras_pose.io.model_info import METADATA_KEY, sidecar_path
from keras_pose.weights import finder_for

SHIPPED = ("weights", "phone", "pose_int8.tflite")  # in keras_pose
INSIDE = f"{METADATA_KEY}.json"  # a copy of the metadata, in the archive at the end of the file
EXPORT = "python -m exporters.tflite --model=RUN --output=pose.tflite --quantize=int8"


def find_model(named: str | os.PathLike | None, folder: Path = Path(), shipped: Path | None = None) -> tuple[Path, str]:
    """The file to serve, and the reason for the choice.

    Args:
        named: the user's choice; if None, the newest export in `folder` or under its runs/, else `shipped`.
        folder: where to look for exports.
        shipped: by default, the model included in keras_pose.
    Raises UserError if there is no model, or the named one cannot be served.
    """
    if named is not None:
        path = Path(named)
        if path.suffix != ".tflite" or not path.is_file():
            raise UserError(f"--model={named} is not a .tflite file; export one: {EXPORT}")
        return path, "chosen by --model"
    exports = [path for path in [*folder.glob("*.tflite"), *folder.glob("runs/**/*.tflite")] if _is_image_model(path)]
    found = [path for path in exports if not path.name.endswith(".partial.tflite")]  # not verified yet
    if found:
        return max(found, key=lambda path: path.stat().st_mtime_ns), "the newest export here"
    if shipped is None:
        shipped = Path(str(resources.files("keras_pose").joinpath(*SHIPPED)))
    if shipped.is_file():
        return shipped, "the included weights"
    raise UserError(
        f"no image model (.tflite with .tflite.json) here or under runs/, and no included weights; export one: {EXPORT}"
    )


@dataclass(frozen=True)
class Pair:
    """A model's file and its metadata; `tag` is the SHA-256 of both."""

    model: bytes
    metadata: bytes
    tag: str


NO_FINDER = Pair(b"", b"null", "none")  # an answer that the page can cache, instead of an error


class ModelFile:
    """A model that may be exported again while it is served. `current()` never mixes an old file with a new one.

    Raises UserError if the file or its metadata cannot be read.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._lock = threading.Lock()
        self._stamp = self._stat()
        self._pair = self._read()

    def current(self) -> Pair:
        """The files on disk; while they are incomplete or missing, the previous ones."""
        with self._lock:
            try:
                stamp = self._stat()
                if stamp != self._stamp:
                    self._stamp = stamp  # also for broken files, which are not read again until they change
                    pair = self._read()
                    if self._stat() == stamp:  # neither was replaced while reading
                        self._pair = pair
            except UserError:
                pass
            return self._pair

    def _stat(self) -> list[tuple]:
        try:
            return [_stamp(path) for path in (self.path, sidecar_path(self.path))]
        except OSError as error:
            raise self._unreadable(error) from error

    def _read(self) -> Pair:
        try:
            model, metadata = self.path.read_bytes(), sidecar_path(self.path).read_bytes()
        except OSError as error:
            raise self._unreadable(error) from error
        if not model:
            raise UserError(f"{self.path} is empty; export the model again")
        try:
            outside = json.loads(metadata)
        except ValueError as error:
            raise UserError(f"{sidecar_path(self.path)} is not JSON; export the model again") from error
        if not describes_image_model(outside):
            raise UserError(f"{self.path} does not find joints in images; export the part pose or keypoints")
        inside = metadata_inside(model)
        if inside is not None and inside != outside:
            raise UserError(f"{sidecar_path(self.path)} belongs to another model; export {self.path} again")
        return Pair(model, metadata, hashlib.sha256(model + metadata).hexdigest())

    def _unreadable(self, error: OSError) -> UserError:
        fix = "keep a model and its .tflite.json in the same folder"
        return UserError(f"cannot read {error.filename or self.path}: {error.strerror}; {fix}")


class FinderFile(ModelFile):
    """The finder of a model, which may appear, change and disappear while the model is served.

    It is served unchecked: the page reports what is wrong with it and works without it.
    """

    def __init__(self, model: str | os.PathLike):
        super().__init__(finder_for(Path(model)))

    def _stat(self) -> list[tuple]:
        return [_stamp(path) for path in (self.path, sidecar_path(self.path)) if path.is_file()]

    def _read(self) -> Pair:
        try:
            model = self.path.read_bytes()
        except OSError:
            return NO_FINDER
        try:
            metadata = sidecar_path(self.path).read_bytes()
        except OSError:
            metadata = json.dumps(metadata_inside(model) or {}).encode()
        return Pair(model, metadata, hashlib.sha256(model + metadata).hexdigest())


def describes_image_model(metadata) -> bool:
    """Whether the metadata belongs to a model that finds joints in images. (A lifter starts from joints.)"""
    inputs, outputs = (metadata.get(key) if isinstance(metadata, dict) else None for key in ("inputs", "outputs"))
    return (
        isinstance(inputs, dict)
        and "image" in inputs
        and isinstance(outputs, dict)
        and {"keypoints_2d", "scores"} <= outputs.keys()
    )


def _stamp(path: Path) -> tuple:
    """A value that changes when the file changes."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _is_image_model(path: Path) -> bool:
    try:
        return describes_image_model(json.loads(sidecar_path(path).read_bytes()))
    except (OSError, ValueError):
        return False


def metadata_inside(model: bytes) -> dict | None:
    """The metadata at the end of an exported file; None if there is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            check_archive(archive, INSIDE)
            return json.loads(archive.read(INSIDE))
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, RuntimeError, UserError):  # damaged, or encrypted
        return None
