"""Exporters: from a trained run to one file that takes images and gives joints in millimeters.

An exporter is a module with

- `OPERATIONS`: the names of the operations that its files may hold; phones run each of them,
- `convert(graph, info, ...)`: a fixed-batch Keras model to the file's bytes, metadata inside,
- `operations(path)`: what a file holds, as (operation, shape of its output) pairs,
- `read_metadata(path)`: the text of the description inside a file; `read_info(path)`: the `ModelInfo` that it gives,
- `define_flags(values)`, and a `main` that ends in `exporters.flags.run_export`.

Its files are run by `keras_pose.inference.runtimes.SESSIONS`.
"""

import importlib
from pathlib import Path
from types import ModuleType

from keras_pose.core.errors import UserError

# The suffix of a file: the module that writes it.
EXPORTERS = {
    ".tflite": "exporters.tflite",
    ".onnx": "exporters.onnx",
}


def exporter_of(path: Path) -> ModuleType:
    """The exporter that writes files of this suffix; raises UserError that lists the known ones."""
    if path.suffix not in EXPORTERS:
        raise UserError(f"{path} is of no known kind; exported files end in {', '.join(sorted(EXPORTERS))}")
    return importlib.import_module(EXPORTERS[path.suffix])
