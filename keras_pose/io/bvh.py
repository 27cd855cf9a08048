"""Reads BVH motion capture files. Whatever is wrong with a file becomes a UserError that names file and line."""

import warnings
from dataclasses import dataclass

import numpy as np

from keras_pose.core.errors import UserError

_ROTATIONS = {"Xrotation": 0, "Yrotation": 1, "Zrotation": 2}
_CHANNELS = {*_ROTATIONS, "Xposition", "Yposition", "Zposition"}
_MOST_JOINTS = 1000


@dataclass
class BvhJoint:
    """One joint: `offset` (3,) from its parent in the file's unit, -1 for the root's `parent`.

    `channels` maps a channel's name to its column of the motion, in the file's order.
    """

    name: str
    parent: int
    offset: np.ndarray
    channels: dict[str, int]


@dataclass
class Bvh:
    """A motion: `joints`, parents before children, and `motion` (F, C) float64, degrees and the file's unit."""

    name: str
    joints: list[BvhJoint]
    motion: np.ndarray

    def index(self, *names: str) -> int | None:
        """The joint that has one of `names`, whatever its capitals; None where there is none."""
        wanted = {name.lower() for name in names}
        return next((j for j, joint in enumerate(self.joints) if joint.name.lower() in wanted), None)

    def rotation(self, joint: int) -> np.ndarray:
        """(F, 3, 3) local rotations of a joint, its channels multiplied from left to right."""
        result = np.broadcast_to(np.eye(3), (len(self.motion), 3, 3))
        for channel, column in self.joints[joint].channels.items():
            if channel in _ROTATIONS:
                result = result @ _about_axis(_ROTATIONS[channel], np.deg2rad(self.motion[:, column]))
        return result

    def rest_positions(self) -> np.ndarray:
        """(J, 3) joints of the skeleton at rest, relative to the root's own offset."""
        positions = np.array([joint.offset for joint in self.joints])
        for j, joint in enumerate(self.joints):
            if joint.parent >= 0:
                positions[j] += positions[joint.parent]
        return positions

    def check_stands(self, left_hip: int, right_hip: int, head: int) -> None:
        """Raises UserError unless the skeleton at rest stands along +y and faces +z."""
        rest = self.rest_positions()
        left = rest[left_hip] - rest[right_hip]
        up = rest[head] - (rest[left_hip] + rest[right_hip]) / 2
        if not (left[0] > 0.5 * np.linalg.norm(left) and up[1] > 0.5 * np.linalg.norm(up)):
            raise UserError(f"{self.name}: the skeleton at rest does not stand along +y facing +z; export it so")


def is_motion_file(name: str) -> bool:
    """Whether a path is a BVH file's; Macs put others beside each, whose names begin with a dot and an underscore."""
    return name.lower().endswith(".bvh") and not name.replace("\\", "/").rpartition("/")[2].startswith("._")


def parse_bvh(text: str, name: str) -> Bvh:
    """Parses the text of a BVH file; `name` stands in messages."""
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


class _Reader:
    """Words of the hierarchy, with the number of the line they stand on."""

    def __init__(self, lines: list[str], name: str):
        self.name, self.line, self._lines, self._words = name, 0, lines, []

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
            raise self.fail(f"{found[:40]!r} where {word!r} should stand")

    def number(self, kind: type) -> float | int:
        word = self.next()
        try:
            value = kind(word)
        except ValueError:
            raise self.fail(f"{word[:40]!r} is not a number") from None
        if not abs(value) < 1e9:
            raise self.fail(f"{word[:40]!r} is no sensible number")
        return value


def _read_hierarchy(reader: _Reader) -> list[BvhJoint]:
    reader.expect("HIERARCHY")
    reader.expect("ROOT")
    joints: list[BvhJoint] = []
    columns = 0
    open_joints = [-1]  # indices of the joints whose braces are open; -2 stands for an end site
    pending = reader.next()
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
                raise reader.fail(f"too many joints, or a second {pending[:40]!r}")
        word = reader.next()
        while word == "}":
            open_joints.pop()
            if len(open_joints) == 1:
                return joints
            word = reader.next()
        if open_joints[-1] == -2 or word not in ("JOINT", "End"):
            raise reader.fail(f"{word[:40]!r} where JOINT, End or a brace should stand")
        pending = reader.next() if word == "JOINT" else reader.expect("Site")


def _read_channels(reader: _Reader, first_column: int) -> dict[str, int]:
    reader.expect("CHANNELS")
    count = reader.number(int)
    if not 0 <= count <= 6:
        raise reader.fail(f"{count} channels, 0 to 6 are known")
    channels = {}
    for i in range(count):
        word = reader.next()
        if word not in _CHANNELS or word in channels:
            raise reader.fail(f"channel {word[:40]!r} is unknown or given twice")
        channels[word] = first_column + i
    return channels


def _read_motion(lines: list[str], first_line: int, frames: int, columns: int, name: str) -> np.ndarray:
    """(frames, columns); one line a frame."""
    lines = [line for line in lines if line.strip()]
    if frames < 1 or len(lines) != frames:
        raise UserError(f"{name}: promises {frames} frames and has {len(lines)}; export the file again")
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
