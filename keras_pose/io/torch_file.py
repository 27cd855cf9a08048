"""Reads the tensors of PyTorch files (.pth, .pt, .bin) without PyTorch and without running any code in them.

A .pth file is a pickle, and a pickle is a program. Only the instructions that build dicts, lists, numbers and tensors
are allowed; all others are refused before anything is built. Every name except the few below is refused, and none is
imported. Both layouts are read: the zip archive of PyTorch 1.6 and later, and the bare pickles of older versions, such
as the official HRNet checkpoints.
"""

import io
import os
import pickle
import pickletools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from keras_pose.core.errors import UserError

# Storage class name to dtype; bfloat16 is the upper half of float32.
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
# Parts of training records (a NumPy score beside the weights, logs and settings of MMEngine and Lightning). They become
# empty objects, and none of their modules is imported.
_IGNORED = {
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("_codecs", "encode"),
    ("mmengine.logging.history_buffer", "HistoryBuffer"),
    ("builtins", "getattr"),  # of HistoryBuffer's methods
    *(("builtins", name) for name in ("set", "frozenset", "object", "int", "long", "float", "list", "dict", "slice")),
    ("argparse", "Namespace"),
    ("pathlib", "Path"),
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
    ("torch", "device"),
    ("torch", "Size"),
    ("lightning.fabric.utilities.data", "AttributeDict"),
    ("lightning_fabric.utilities.data", "AttributeDict"),
    ("pytorch_lightning.utilities.parsing", "AttributeDict"),
}
_OPCODES = frozenset(
    "PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT "
    "BINFLOAT SHORT_BINUNICODE BINUNICODE BINUNICODE8 UNICODE SHORT_BINSTRING BINSTRING STRING SHORT_BINBYTES BINBYTES "
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS "
    "PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD BINPERSID "
    "NEWOBJ EMPTY_SET ADDITEMS".split()
)
_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # names in protocol 2
_NEEDED = {"torch.nn.parameter.Parameter"}
_TORCHSCRIPT = (
    "it holds a TorchScript module, which is a program, instead of only its weights; save them with "
    "torch.save(torch.jit.load(path).state_dict(), 'weights.pth') and give that file"
)
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


def read_torch_file(path: str | os.PathLike) -> Any:
    """Reads what `torch.save` wrote: nested dicts, lists and tuples, with tensors as read-only arrays.

    bfloat16 becomes float32, and parts of training records (`_IGNORED`) become empty objects. Raises UserError if the
    file is missing or damaged, or asks for anything else.
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
            f"{path} is damaged or not a PyTorch file ({type(error).__name__}: {error}); download it again"
        ) from error


# --- the two layouts -------------------------------------------------------------------------------------------


def _read_zip(file: IO[bytes]) -> object:
    """`<name>/data.pkl` and one uncompressed `<name>/data/<key>` per storage."""
    with zipfile.ZipFile(file) as archive:
        if any(name.split("/")[1:] == ["constants.pkl"] for name in archive.namelist()):
            raise UserError(_TORCHSCRIPT)
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
    """Magic number, protocol, system, object and storage keys, then the length and numbers of each storage."""
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
    """A dict that can carry attributes: a state_dict has `_metadata`."""


class _Ignored:
    """Replaces objects that are neither containers nor tensors; accepts any state and any parts."""

    def __init__(self, *_):
        pass

    def __new__(cls, *_):
        return super().__new__(cls)

    def __setstate__(self, state):
        pass

    def __call__(self, *_):
        return self

    def __setitem__(self, key, value):
        pass

    def append(self, value):
        pass

    def extend(self, values):
        pass


def _unpickle(stream: io.BytesIO) -> Any:
    """The next pickle of the stream, with a `_Tensor` for each tensor."""
    start = stream.tell()
    _refuse_module(stream)
    stream.seek(start)
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if opcode.name not in _OPCODES:
            raise UserError(f"its pickle has the instruction {opcode.name}, which no tensor needs; do not trust it")
        if "PUT" in opcode.name and argument is not None and argument > count:
            raise UserError("its pickle is damaged; download it again")
    end = stream.tell()
    stream.seek(start)
    return _TensorUnpickler(io.BytesIO(stream.read(end - start))).load()


def _refuse_module(stream: io.BytesIO) -> None:
    """Raises UserError with a remedy if the next pickle holds a whole network instead of its weights.

    Opening such a file runs its code. Most are harmless results of `torch.save(model, path)`.
    """
    names: list[str] = []
    strings: list[str] = []
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name == "GLOBAL":
            names.append(str(argument).replace(" ", "."))
        elif opcode.name == "STACK_GLOBAL":
            names.append(".".join(strings[-2:]))
        elif isinstance(argument, str):
            strings.append(argument)
    if not any(name.startswith("torch.nn.") and name not in _NEEDED for name in names):
        return
    own = [name for name in names if name.split(".")[0] not in ("torch", "collections", "builtins", "__builtin__")]
    raise UserError(
        f"it holds a whole pickled module ({[*own, *names][0][:80]}), which runs code when opened, instead of only its "
        "weights; if you made it, save them with torch.save(model.state_dict(), 'weights.pth') and give that "
        "file"
    )


class _TensorUnpickler(pickle.Unpickler):
    """Knows tensors, dicts and ignored objects. Creates each callable anew, so no file can alter the next one's."""

    def find_class(self, module: str, name: str) -> object:
        module = _PYTHON_2.get(module, module)
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _tensor(storage, offset, shape, strides)
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if module == "collections" and name in ("OrderedDict", "defaultdict", "Counter"):
            return lambda *_: _Dict()
        if (module, name) in _IGNORED:
            return type(name, (_Ignored,), {})
        if (module, name) in (("copyreg", "_reconstructor"), ("copyreg", "__newobj__")):
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


def _walk(value: Any, visit: Callable[[_Tensor], object], seen: dict[int, Any]) -> Any:
    """A copy of nested containers with each tensor replaced by `visit(tensor)`.

    `seen` maps the id of each visited object to its copy, so shared parts are copied once.
    """
    if isinstance(value, dict | list | tuple | _Tensor) and id(value) in seen:
        return seen[id(value)]
    if isinstance(value, _Tensor):
        result: Any = visit(value)
    elif isinstance(value, dict):
        result = {key: _walk(item, visit, seen) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        result = type(value)(_walk(item, visit, seen) for item in value)
    else:
        return value
    seen[id(value)] = result
    return result


def _fill(described: Any, read: Callable[[_Storage], bytes]) -> Any:
    """The described object with arrays for its tensors: views of the storages, which cost no memory."""
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
        raise UserError("a tensor extends beyond its data; download the file again")
    if np.prod(tensor.shape, dtype=float) > len(numbers):
        raise UserError("a tensor repeats its data, which weights never do; do not trust it")
    steps = [step * numbers.itemsize for step in tensor.strides]
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, steps, writeable=False)
