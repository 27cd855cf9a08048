"""Reads MATLAB's MAT files of version 5 (from MATLAB 5 to 7.2), checking every length.

scipy's reader crashes the process on some damaged files, such as incomplete downloads; this one raises an error. It
does not read version 7.3, which is HDF5; h5py does.
Format: "MAT-File Format", The MathWorks.
"""

import struct
import zlib
from collections.abc import Container
from pathlib import Path

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.data.sources.base import reading

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_TEXT = {16: "utf-8", 17: "utf-16", 18: "utf-32"}
# Array classes.
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMERIC = range(6, 16)
_COMPLEX = 0x08
_LARGEST_VARIABLE = 1 << 32


def read_mat(path: str | Path, names: Container[str]) -> dict[str, np.ndarray]:
    """The variables of a file that are in `names`; those that the file lacks are left out.

    Arrays have at least two dimensions. Texts are arrays of single characters, cells object arrays, structs arrays with
    one object field per field. Raises UserError for a broken or foreign file, or a variable of an unsupported class.
    """
    with reading(path):
        content = memoryview(Path(path).read_bytes())
        mark = bytes(content[126:128])
        if len(content) < 136 or mark not in (b"IM", b"MI"):
            raise UserError(f"{path} is not a MAT file of version 5; get it again, or save it in MATLAB with -v7")
        order = "<" if mark == b"IM" else ">"
        file, found = _Stream(content[128:], order), {}
        while file.left:
            kind, data = file.element()
            if kind == _COMPRESSED:
                data = memoryview(zlib.decompressobj().decompress(data, _LARGEST_VARIABLE))
                kind, data = _Stream(data, order).element()
            if kind == _MATRIX:
                name, array = _matrix(_Stream(data, order), names)
                if array is not None:
                    found[name] = array
        return found


class _Stream:
    """A sequence of tagged elements."""

    def __init__(self, content: memoryview, order: str):
        self._content, self.order, self._position = content, order, 0

    @property
    def left(self) -> int:
        return len(self._content) - self._position

    def _take(self, size: int) -> memoryview:
        if size > self.left:
            raise ValueError(f"{size} bytes needed, but {self.left} are left")
        self._position += size
        return self._content[self._position - size : self._position]

    def element(self) -> tuple[int, memoryview]:
        """Type and bytes of the next element, which is padded to 8 bytes unless compressed."""
        kind, size = struct.unpack(self.order + "II", self._take(8))
        if kind >> 16:  # a small element: type, size and up to four bytes in one tag
            self._position -= 4
            return kind & 0xFFFF, self._take(4)[: kind >> 16]
        data = self._take(size)
        if kind != _COMPRESSED:
            self._take(min(-size % 8, self.left))
        return kind, data

    def numbers(self) -> np.ndarray:
        """The next element as a one-dimensional array; text as code points."""
        kind, data = self.element()
        if kind in _TEXT:
            return np.array([ord(c) for c in bytes(data).decode(_TEXT[kind])], np.uint32)
        if kind not in _NUMBERS:
            raise ValueError(f"an element of type {kind} instead of numbers")
        return np.frombuffer(data, self.order + _NUMBERS[kind])

    def text(self) -> str:
        return self.numbers().astype(np.uint8).tobytes().decode("latin-1")


def _matrix(stream: _Stream, names: Container[str] | None = None) -> tuple[str, np.ndarray | None]:
    """Name and value of an array; the value is None if the name is not in `names`."""
    if not stream.left:
        return "", np.zeros((0, 0))
    flags, shape, name = int(stream.numbers()[0]), tuple(int(n) for n in stream.numbers()), stream.text()
    if names is not None and name not in names:
        return name, None
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"{name or 'an array'} has shape {shape}")
    kind = flags & 0xFF
    if kind in _NUMERIC:
        values = stream.numbers()
        if flags >> 8 & _COMPLEX:
            values = values + 1j * stream.numbers()
    elif kind == _CHAR:
        values = np.array([chr(c) for c in stream.numbers()], "U1")
    elif kind == _CELL:
        values = _cells(stream, int(np.prod(shape, dtype=object)))
    elif kind == _STRUCT:
        values = _structs(stream, int(np.prod(shape, dtype=object)))
    else:
        raise ValueError(f"{name or 'an array'} has the unsupported class {kind}")
    return name, values.reshape(shape, order="F")


def _cells(stream: _Stream, count: int) -> np.ndarray:
    """The next elements as a (count,) object array of arrays."""
    if 8 * count > stream.left:
        raise ValueError(f"{count} cells in {stream.left} bytes")
    values = np.empty(count, object)
    for i in range(count):
        kind, data = stream.element()
        if kind != _MATRIX:
            raise ValueError(f"an element of type {kind} instead of an array")
        values[i] = _matrix(_Stream(data, stream.order))[1]
    return values


def _structs(stream: _Stream, count: int) -> np.ndarray:
    """(count,) structs, with an object field per field."""
    length, joined = int(stream.numbers()[0]), stream.text()
    fields = [joined[i : i + length].partition("\0")[0] for i in range(0, len(joined), max(length, 1))]
    if count > max(stream.left, 1):
        raise ValueError(f"{count} structs in {stream.left} bytes")
    cells = _cells(stream, count * len(fields)).reshape(count, len(fields))
    values = np.empty(count, [(field, object) for field in fields])
    for i, field in enumerate(fields):
        values[field] = cells[:, i]
    return values
