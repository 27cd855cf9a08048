"""What a .keras file may contain: layers and numbers. Anything that runs code or reads other files is refused.

Keras itself refuses lambdas (`safe_mode`). This module reads the archive before Keras does and accepts only what models
of this project consist of: known parts, classes of known modules, and numbers in the file itself.
"""

import io
import json
import os
import zipfile

import h5py
import keras

from keras_pose.core.errors import UserError
from keras_pose.io.archives import check_archive
from keras_pose.models import batch_norm, pose_autoencoder, soft_argmax  # noqa: F401  (this registers their layers)

PARTS = {"metadata.json", "config.json", "model.weights.h5"}
MODULES = {
    "keras",
    "keras.constraints",
    "keras.initializers",
    "keras.layers",
    "keras.regularizers",
    "keras.src.models.functional",
    "keras.src.models.sequential",
    "keras.src.ops.image",
    "keras.src.ops.nn",
    "keras.src.ops.numpy",
}
OWN_PACKAGE = "keras_pose>"
# Keras layers that run code from the file, or read files that it names.
REFUSED = {"FlaxLayer", "IntegerLookup", "JaxLayer", "Lambda", "StringLookup", "TFSMLayer", "TextVectorization"}
REFUSED |= {"Hashing", "TorchModuleWrapper", "Pipeline"}
LARGEST_NUMBER = 1 << 14  # units, filters or pixels; a file with a larger layer is meant to exhaust the memory
NOT_SIZES = {"seed", "shared_object_id"}


def check_keras_file(path: str | os.PathLike) -> None:
    """Raises UserError if a .keras file is damaged, or has content that no model of this project has (names it)."""
    try:
        with zipfile.ZipFile(path) as archive:
            check_archive(archive, path)
            names = archive.namelist()
            if set(names) != PARTS or len(names) != len(PARTS):
                odd = next(iter(set(names) ^ PARTS), "the same part twice")
                raise UserError(f"{path} does not have the parts of a Keras model ({odd!r}); do not trust it")
            _check_config(json.loads(archive.read("config.json")), path)
            with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:
                _check_weights(weights, path, {h5py.h5o.get_info(weights.id).addr})
    except UserError:
        raise
    except Exception as error:  # a broken archive may raise almost anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise UserError(f"{path} does not load ({reason}); train or convert it again") from error


def _check_config(values, path) -> None:
    """Walks the configuration; iteratively, because it may be nested without limit."""
    todo = [("", values)]
    while todo:
        key, value = todo.pop()
        if isinstance(value, dict):
            if "class_name" in value or "module" in value:
                _check_class(value, path)
            todo += value.items()
        elif isinstance(value, list):
            todo += [(key, item) for item in value]
        elif isinstance(value, int | float) and abs(value) > LARGEST_NUMBER and key not in NOT_SIZES:
            raise UserError(f"{path} has {key} of {value}, which no layer of a pose model has; do not trust it")


def _check_class(value: dict, path) -> None:
    name, module, registered = (value.get(key) for key in ("class_name", "module", "registered_name"))
    if module is None and name == "__keras_tensor__":
        return
    own = str(registered).startswith(OWN_PACKAGE) and str(module).startswith("keras_pose.")
    if own and keras.saving.get_registered_object(registered) is not None:
        return
    if module not in MODULES or name in REFUSED or not str(name).isidentifier() or registered not in (None, name):
        raise UserError(f"{path} asks for {module}.{name}, which no model of this project has; do not trust it")


def _check_weights(group: h5py.Group, path, seen: set[int]) -> None:
    """Checks that all numbers are in the file; `seen` has the enclosing groups' addresses, to detect a cycle."""
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise UserError(f"{path}: its weights {name!r} are a link to another place; do not trust it")
        item = group[name]
        if isinstance(item, h5py.Group):
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                raise UserError(f"{path}: its weights {name!r} appear in two places; do not trust it")
            _check_weights(item, path, seen | {address})
        elif item.external or item.is_virtual or item.nbytes > item.id.get_storage_size():
            raise UserError(f"{path}: the numbers of {name!r} are not in the file; do not trust it")
