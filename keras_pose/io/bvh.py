"""Reads BVH motion capture files. Every fault in a file becomes a UserError with file and line."""

import dataclasses
import warnings
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from keras_pose.core.errors import UserError

_ROTATIONS = {"Xrotation": 0, "Yrotation": 1, "Zrotation": 2}
_CHANNELS = {*_ROTATIONS, "Xposition", "Yposition", "Zposition"}
_MOST_JOINTS = 1000
_Number = TypeVar("_Number", int, float)


@dataclass
class BvhJoint:
    """One joint: `offset` (3,) from its `parent` in the file's unit; the root's `parent` is -1.

    `channels` maps a channel's name to its column of the motion, in the file's order.
    """

    name: str
    parent: int
    offset: np.ndarray
    channels: dict[str, int]


@dataclass
class Bvh:
    """A motion: `joints` with parents before children, and `motion` (F, C) float64 in degrees and the file's unit.

    `axes` (3, 3) rotates the file's world. All methods return values in the rotated world; see `turned`.
    """

    name: str
    joints: list[BvhJoint]
    motion: np.ndarray
    axes: np.ndarray = field(default_factory=lambda: np.eye(3))

    def index(self, *names: str) -> int | None:
        """The index of the first joint with one of `names`, ignoring case; None if there is none."""
        wanted = {name.lower() for name in names}
        return next((j for j, joint in enumerate(self.joints) if joint.name.lower() in wanted), None)

    def turned(self, axes: np.ndarray) -> "Bvh":
        """The same motion in a world rotated further by (3, 3) `axes`."""
        return dataclasses.replace(self, axes=axes @ self.axes)

    def rotation(self, joint: int) -> np.ndarray:
        """(F, 3, 3) local rotations of a joint: the product of its channels from left to right."""
        result = np.broadcast_to(np.eye(3), (len(self.motion), 3, 3))
        for channel, column in self.joints[joint].channels.items():
            if channel in _ROTATIONS:
                result = result @ _about_axis(_ROTATIONS[channel], np.deg2rad(self.motion[:, column]))
        return self.axes @ result @ self.axes.T

    def root_positions(self) -> np.ndarray:
        """(F, 3) positions of the root from its channels, or its offset if it has no position channels."""
        root = self.joints[0]
        columns = [root.channels.get(f"{axis}position") for axis in "XYZ"]
        places = [
            np.full(len(self.motion), o) if c is None else self.motion[:, c]
            for c, o in zip(columns, root.offset, strict=True)
        ]
        return np.stack(places, axis=-1) @ self.axes.T

    def forward_kinematics(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Positions (F, 3) relative to the root and world rotations (F, 3, 3), per joint."""
        positions, turns = [], []
        for j, joint in enumerate(self.joints):
            if joint.parent < 0:
                positions.append(np.zeros((len(self.motion), 3)))
                turns.append(self.rotation(j))
            else:
                positions.append(positions[joint.parent] + turns[joint.parent] @ (self.axes @ joint.offset))
                turns.append(turns[joint.parent] @ self.rotation(j))
        return positions, turns

    def rest_positions(self) -> np.ndarray:
        """(J, 3) positions of the joints at rest: sums of offsets, the root's included."""
        positions = np.array([joint.offset for joint in self.joints])
        for j, joint in enumerate(self.joints):
            if joint.parent >= 0:
                positions[j] += positions[joint.parent]
        return positions @ self.axes.T


def is_motion_file(name: str) -> bool:
    """Whether a path is a BVH file. The `._*` files that macOS leaves beside each one are not."""
    return name.lower().endswith(".bvh") and not name.replace("\\", "/").rpartition("/")[2].startswith("._")


def parse_bvh(text: str, name: str) -> Bvh:
    """Parses the text of a BVH file; raises UserError that begins with `name`."""
    lines = text.splitlines()
    reader = _Reader(lines, name)
    joints = _read_hierarchy(reader)
    columns = sum(len(joint.channels) for joint in joints)
    if not columns:
        raise UserError(f"{name}: no joint has channels; leave the file out")
    reader.expect("MOTION")
    reader.expect("Frames:")
    frames = reader.number(int)
    reader.expect("Frame")
    reader.expect("Time:")
    reader.number(float)
    return Bvh(name, joints, _read_motion(lines[reader.line :], reader.line, frames, columns, name))


def parse_skeleton(text: str, name: str) -> Bvh:
    """Like `parse_bvh`, but only the hierarchy: a motion without frames."""
    joints = _read_hierarchy(_Reader(text.splitlines(), name))
    return Bvh(name, joints, np.zeros((0, sum(len(joint.channels) for joint in joints))))


class _Reader:
    """Reads the file word by word and counts lines, for messages."""

    def __init__(self, lines: list[str], name: str):
        self.name, self.line, self._lines = name, 0, lines
        self._words: list[str] = []

    def next(self) -> str:
        while not self._words:
            if self.line >= len(self._lines):
                raise UserError(f"{self.name}: ends at line {self.line} before its motion; export the file again")
            self._words = self._lines[self.line].split()[::-1]
            self.line += 1
        return self._words.pop()

    def fail(self, what: str) -> UserError:
        return UserError(f"{self.name}: line {self.line}: {what}; export the file again")

    def expect(self, word: str) -> None:
        found = self.next()
        if found != word:
            raise self.fail(f"found {found[:40]!r} instead of {word!r}")

    def number(self, kind: type[_Number]) -> _Number:
        word = self.next()
        try:
            value = kind(word)
        except ValueError:
            raise self.fail(f"{word[:40]!r} is not a number") from None
        if not abs(value) < 1e9:
            raise self.fail(f"{word[:40]!r} is out of range")
        return value


def _read_hierarchy(reader: _Reader) -> list[BvhJoint]:
    reader.expect("HIERARCHY")
    reader.expect("ROOT")
    joints: list[BvhJoint] = []
    columns = 0
    open_joints = [-1]  # indices of joints with open braces; -2 for an end site
    pending: str | None = reader.next()  # the joint that the next brace opens; None for an end site
    while True:
        reader.expect("{")
        reader.expect("OFFSET")
        offset = np.array([reader.number(float) for _ in range(3)])
        if pending is None:
            open_joints.append(-2)
        else:
            channels = _read_channels(reader, columns)
            columns += len(channels)
            joints.append(BvhJoint(pending, open_joints[-1], offset, channels))
            open_joints.append(len(joints) - 1)
            if len(joints) > _MOST_JOINTS or any(joint.name == pending for joint in joints[:-1]):
                raise reader.fail(f"too many joints, or joint {pending[:40]!r} appears twice")
        word = reader.next()
        while word == "}":
            open_joints.pop()
            if len(open_joints) == 1:
                return joints
            word = reader.next()
        if open_joints[-1] == -2 or word not in ("JOINT", "End"):
            raise reader.fail(f"found {word[:40]!r} instead of JOINT, End or a brace")
        pending = None
        if word == "JOINT":
            pending = reader.next()
        else:
            reader.expect("Site")


def _read_channels(reader: _Reader, first_column: int) -> dict[str, int]:
    reader.expect("CHANNELS")
    count = reader.number(int)
    if not 0 <= count <= 6:
        raise reader.fail(f"{count} channels; a joint has 0 to 6")
    channels = {}
    for i in range(count):
        word = reader.next()
        if word not in _CHANNELS or word in channels:
            raise reader.fail(f"channel {word[:40]!r} is unknown or repeated")
        channels[word] = first_column + i
    return channels


def _read_motion(lines: list[str], first_line: int, frames: int, columns: int, name: str) -> np.ndarray:
    """(frames, columns), one line per frame."""
    lines = [line for line in lines if line.strip()]
    if frames < 1 or len(lines) != frames:
        raise UserError(f"{name}: declares {frames} frames but has {len(lines)}; export the file again")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            values = np.fromstring(" ".join(lines), np.float64, sep=" ")
        except (DeprecationWarning, ValueError):
            values = np.empty(0)
    if len(values) == frames * columns and np.abs(values).max() < 1e9:
        return values.reshape(frames, columns)
    raise UserError(
        f"{name}: line {first_line + 1 + _bad_line(lines, columns)} does not hold {columns} numbers; "
        "export the file again"
    )


def _bad_line(lines: list[str], columns: int) -> int:
    for i, line in enumerate(lines):
        try:
            values = [float(word) for word in line.split()]
        except ValueError:
            return i
        if len(values) != columns or not all(abs(value) < 1e9 for value in values):
            return i
    return 0


def _about_axis(axis: int, angles: np.ndarray) -> np.ndarray:
    """(F, 3, 3) rotations about a coordinate axis by `angles` (F,) radians."""
    result = np.zeros((len(angles), 3, 3))
    j, k = (axis + 1) % 3, (axis + 2) % 3
    result[:, axis, axis] = 1
    result[:, j, j] = result[:, k, k] = np.cos(angles)
    result[:, k, j] = np.sin(angles)
    result[:, j, k] = -result[:, k, j]
    return result
