"""Reads the tensors of PyTorch files (.pth, .pt, .bin) without PyTorch, and without running what they say.

A .pth file is a pickle, and a pickle is a program. Here only the instructions that build dicts, lists, numbers and
tensors are let through; all others, and every name but the few below, are refused before anything is built.
Both layouts are read: the zip archive of PyTorch 1.6 and later, and the bare pickles of older versions, which the
official HRNet checkpoints are.
"""

import io
import os
import pickle
import pickletools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from keras_pose.core.errors import UserError

# The type that a storage's class name stands for; bfloat16 is the upper half of float32.
_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
# Parts of training records (a NumPy score beside the weights): they become an empty object.
_IGNORED = {
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}
_OPCODES = frozenset(
    "PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT "
    "BINFLOAT SHORT_BINUNICODE BINUNICODE BINUNICODE8 UNICODE SHORT_BINSTRING BINSTRING STRING SHORT_BINBYTES BINBYTES "
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS "
    "PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD BINPERSID".split()
)
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


def read_torch_file(path: str | os.PathLike):
    """What `torch.save` wrote: nested dicts, lists and tuples with tensors as NumPy arrays; bfloat16 as float32.

    Raises UserError where the file is missing, damaged, or asks for anything but tensors.
    """
    try:
        with open(path, "rb") as file:
            if zipfile.is_zipfile(file):
                return _read_zip(file)
            file.seek(0)
            return _read_legacy(io.BytesIO(file.read()))
    except FileNotFoundError:
        raise UserError(f"no file {path}; check the path") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:  # a broken pickle may raise almost anything
        raise UserError(
            f"{path} is damaged or no PyTorch file ({type(error).__name__}: {error}); download it again"
        ) from error


# --- the two layouts -------------------------------------------------------------------------------------------


def _read_zip(file) -> object:
    """`<name>/data.pkl` and one `<name>/data/<key>` a storage, none of them compressed."""
    with zipfile.ZipFile(file) as archive:
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise UserError("its parts are compressed, which PyTorch never writes; save it again with torch.save")
        names = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
        if len(names) != 1:
            raise UserError("a zip file without one data.pkl, so not a PyTorch file; name a .pth file")
        folder = names[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
            raise UserError("its numbers are big-endian; save it again on a little-endian machine")
        described = _unpickle(io.BytesIO(archive.read(names[0])))
        return _fill(described, lambda storage: archive.read(f"{folder}data/{storage.key}"))


def _read_legacy(stream: io.BytesIO) -> object:
    """Magic number, protocol, system, the object, its storages' keys; then each storage: its length, its numbers."""
    if _unpickle(stream) != _LEGACY_MAGIC:
        raise UserError("not a PyTorch file; name a .pth file that torch.save wrote")
    _, _, described, keys = (_unpickle(stream) for _ in range(4))
    itemsizes: dict[str, int] = {}
    _walk(described, lambda tensor: itemsizes.update({tensor.storage.key: _itemsize(tensor.storage.dtype)}), {})
    parts = {}
    for key in keys:
        size = int.from_bytes(stream.read(8), "little") * itemsizes.get(key, 1)
        parts[key] = stream.read(size)
        if len(parts[key]) < size:
            raise UserError("it ends in the middle of a tensor; download it again")
    return _fill(described, lambda storage: parts[storage.key])


# --- pickles ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Storage:
    dtype: str
    key: str


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Dict(dict):
    """A dict that may carry attributes: a state_dict has `_metadata`."""


class _Ignored:
    """Stands for what is neither a container nor a tensor, and takes any state."""

    def __setstate__(self, state):
        pass


def _unpickle(stream: io.BytesIO) -> object:
    """The next pickle of the stream, with `_Tensor`s in the place of tensors."""
    start = stream.tell()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if opcode.name not in _OPCODES:
            raise UserError(f"its pickle has the instruction {opcode.name}, which no tensor needs; do not trust it")
        if "PUT" in opcode.name and argument > count:
            raise UserError("its pickle is damaged; download it again")
    end = stream.tell()
    stream.seek(start)
    return _TensorUnpickler(io.BytesIO(stream.read(end - start))).load()


class _TensorUnpickler(pickle.Unpickler):
    """Knows tensors and ordered dicts. Each callable is made anew, so that a file cannot alter it for the next."""

    def find_class(self, module: str, name: str) -> object:
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _tensor(storage, offset, shape, strides)
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if (module, name) == ("collections", "OrderedDict"):
            return lambda: _Dict()
        if (module, name) in _IGNORED:
            return lambda *_: _Ignored()
        raise UserError(f"its pickle asks for {module}.{name}, which is not a tensor; do not trust it")

    def persistent_load(self, identifier: tuple) -> _Storage:
        kind, dtype, key, *_ = identifier
        if kind != "storage" or dtype not in _DTYPES.values():
            raise UserError(f"its pickle holds {kind!r} of {dtype!r}, which is not a tensor")
        return _Storage(dtype, str(key))


def _tensor(storage: _Storage, offset: int, shape: tuple, strides: tuple) -> _Tensor:
    if not isinstance(storage, _Storage) or len(shape) != len(strides):
        raise UserError("a tensor's description is broken; download it again")
    return _Tensor(storage, int(offset), tuple(int(n) for n in shape), tuple(int(n) for n in strides))


# --- numbers ---------------------------------------------------------------------------------------------------


def _itemsize(dtype: str) -> int:
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def _walk(value, visit: Callable[[_Tensor], object], seen: dict[int, object]):
    """A copy of nested containers with `visit(tensor)` in the place of each tensor.

    `seen` maps the id of what was met to its copy, so that a part that stands in many places is copied once.
    """
    if isinstance(value, dict | list | tuple | _Tensor) and id(value) in seen:
        return seen[id(value)]
    if isinstance(value, _Tensor):
        result = visit(value)
    elif isinstance(value, dict):
        result = {key: _walk(item, visit, seen) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        result = type(value)(_walk(item, visit, seen) for item in value)
    else:
        return value
    seen[id(value)] = result
    return result


def _fill(described, read: Callable[[_Storage], bytes]):
    """The described object with arrays in the place of its tensors: views of the storages, so none takes memory."""
    storages: dict[_Storage, np.ndarray] = {}

    def fill(tensor: _Tensor) -> np.ndarray:
        if tensor.storage not in storages:
            storages[tensor.storage] = _numbers(tensor.storage.dtype, read(tensor.storage))
        return _view(tensor, storages[tensor.storage])

    return _walk(described, fill, {})


def _numbers(dtype: str, content: bytes) -> np.ndarray:
    numbers = np.frombuffer(content, "<u2" if dtype == "bfloat16" else dtype, len(content) // _itemsize(dtype))
    return (numbers.astype(np.uint32) << 16).view(np.float32) if dtype == "bfloat16" else numbers


def _view(tensor: _Tensor, numbers: np.ndarray) -> np.ndarray:
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
    negative = min((tensor.offset, *tensor.shape, *tensor.strides)) < 0
    if negative or (last >= len(numbers) and 0 not in tensor.shape):
        raise UserError("a tensor reaches beyond its numbers; download the file again")
    if np.prod(tensor.shape, dtype=float) > len(numbers):
        raise UserError("a tensor repeats its numbers, which no weight does; do not trust it")
    steps = [step * numbers.itemsize for step in tensor.strides]
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, steps, writeable=False)
