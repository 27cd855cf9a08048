"""A file that keeps the teachers' answers, so that no image runs through them twice.

Preparing photos for another size, skeleton or margin needs the same answers, and computing them takes most of the time.
The file is an SQLite database. Its keys are hashes of the teachers' files, the image's pixels and the crop; its values
are rows of numbers. Positions are rounded to 1/8192 of the person's crop, poses to half-precision millimeters, and
scores to 1/255.
"""

import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.data.teachers.blazepose import Landmarks
from keras_pose.data.teachers.crop import Crop
from keras_pose.data.teachers.movenet import Keypoints

APPLICATION_ID, VERSION = 0x6B706F73, 1  # "kpos"; SQLite stores both to identify the file's format
STEPS = 8192  # positions are stored in this many steps across the crop
PATIENCE_S = 60  # how long a worker waits while another one writes
ROW = np.dtype([
    ("crop", "<f4", 4),
    ("movenet_px", "<i2", (17, 2)),
    ("movenet_score", "u1", 17),
    ("blazepose_px", "<i2", (18, 2)),
    ("pose_mm", "<f2", (18, 3)),
    ("visibility", "u1", 18),
    ("presence", "u1", 18),
    ("score", "u1"),
    ("has", "u1", 2),
])  # fmt: skip

Answer = tuple[Keypoints | None, Landmarks | None]


class Answers:
    """The answers of the teachers whose files are `teachers`, kept in `path`, which is created if missing.

    Several processes may use one file. Raises UserError if it is a file of another kind or cannot be written.
    """

    def __init__(self, path: str | Path, teachers: Sequence[str]):
        self._path, self._teachers = path, _hash_of_files(teachers)
        try:
            self._connection = sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None)
            if self._ids() != (APPLICATION_ID, VERSION):
                self._begin()
        except sqlite3.Error as error:
            raise self._error(error) from error

    def get(self, image: np.ndarray, crop: Crop | None) -> Answer | None:
        """The answer for an (H, W, 3) uint8 RGB image and a crop of it; None if it is not in the file.

        Raises UserError if the file is damaged or cannot be read.
        """
        try:
            row = self._value("SELECT row FROM answers WHERE key = ?", self._key(image, crop))
        except sqlite3.Error as error:
            raise self._error(error) from error
        if row is not None and len(row) != ROW.itemsize:
            raise UserError(f"--teacher_cache={self._path} is damaged; remove it, and the teachers run again")
        return None if row is None else _unpack(np.frombuffer(row, ROW)[0])

    def put(self, image: np.ndarray, crop: Crop | None, answer: Answer) -> Answer:
        """Stores an answer and returns it rounded, as `get` will; raises UserError if the file cannot be written."""
        row = _pack(answer)
        try:
            self._connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?)", (self._key(image, crop), row.tobytes())
            )
        except sqlite3.Error as error:
            raise self._error(error) from error
        return _unpack(row)

    def _ids(self) -> tuple[int, int]:
        return self._value("PRAGMA application_id"), self._value("PRAGMA user_version")

    def _begin(self) -> None:
        """Creates the table of a new file in one transaction, since another process may be doing the same."""
        self._connection.execute("BEGIN IMMEDIATE")
        ids = self._ids()
        if ids == (0, 0) and not self._value("SELECT count(*) FROM sqlite_master"):
            self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._connection.execute(f"PRAGMA user_version = {VERSION}")
            self._connection.execute("CREATE TABLE answers (key BLOB PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID")
        elif ids != (APPLICATION_ID, VERSION):
            raise UserError(f"--teacher_cache={self._path} is not a file of teachers' answers; name another one")
        self._connection.execute("COMMIT")

    def _value(self, statement: str, *values):
        """The single value that a statement returns, or None."""
        row = self._connection.execute(statement, values).fetchone()
        return row and row[0]

    def _key(self, image: np.ndarray, crop: Crop | None) -> bytes:
        around = [] if crop is None else [*crop.center_px, crop.side_px, crop.rotation_deg]
        digest = hashlib.blake2b(self._teachers, digest_size=16)
        digest.update(repr((image.shape, [round(float(value), 2) for value in around])).encode())
        digest.update(np.ascontiguousarray(image).tobytes())
        return digest.digest()

    def _error(self, error: sqlite3.Error) -> UserError:
        return UserError(f"--teacher_cache={self._path} cannot be used ({error}); name a file that can be written")


def _hash_of_files(paths: Sequence[str]) -> bytes:
    """A hash of model files, with the weights beside a TensorFlow.js graph; independent of the order of `paths`."""
    digests = []
    for path in map(Path, paths):
        files = [path, *sorted(path.parent.glob(f"{path.stem}*.bin"))] if path.suffix == ".json" else [path]
        digests.append(hashlib.blake2b(b"".join(file.read_bytes() for file in files)).digest())
    return hashlib.blake2b(b"".join(sorted(digests)), digest_size=16).digest()


def _pack(answer: Answer) -> np.ndarray:
    """An answer as one row, a scalar array of dtype `ROW`."""
    seen, found = answer
    crop = found.next_crop if found else _box_of(seen)
    row = np.zeros((), ROW)
    row["crop"] = [*crop.center_px, crop.side_px, crop.rotation_deg]
    row["has"] = seen is not None, found is not None
    if seen:
        row["movenet_px"] = _to_steps(seen.keypoints_px, row["crop"])
        row["movenet_score"] = _to_byte(seen.scores)
    if found:
        row["blazepose_px"] = _to_steps(found.keypoints_px, row["crop"])
        row["pose_mm"] = found.pose_mm
        for name in ("visibility", "presence", "score"):
            row[name] = _to_byte(getattr(found, name))
    return row


def _unpack(row: np.ndarray) -> Answer:
    seen = found = None
    crop = row["crop"].astype(np.float64)
    if row["has"][0]:
        seen = Keypoints(_from_steps(row["movenet_px"], crop), row["movenet_score"] / 255)
    if row["has"][1]:
        found = Landmarks(
            keypoints_px=_from_steps(row["blazepose_px"], crop),
            pose_mm=row["pose_mm"].astype(np.float64),
            visibility=row["visibility"] / 255,
            presence=row["presence"] / 255,
            score=float(row["score"]) / 255,
            next_crop=Crop(crop[:2], float(crop[2]), float(crop[3])),
        )
    return seen, found


def _box_of(seen: Keypoints) -> Crop:
    low, high = seen.keypoints_px.min(0), seen.keypoints_px.max(0)
    return Crop((low + high) / 2, max(float((high - low).max()), 1.0))


def _to_steps(points: np.ndarray, crop: np.ndarray) -> np.ndarray:
    limit = np.iinfo(np.int16).max
    return np.clip(np.rint((points - crop[:2]) / crop[2] * STEPS), -limit, limit)


def _from_steps(steps: np.ndarray, crop: np.ndarray) -> np.ndarray:
    return steps.astype(np.float64) / STEPS * crop[2] + crop[:2]


def _to_byte(share) -> np.ndarray:
    return np.rint(np.clip(share, 0, 1) * 255)
