"""Exporters: turn a trained run into one file that takes images and returns joints in millimeters.

An exporter is a module with

- `OPERATIONS`: the names of the allowed operations, which all run on phones,
- `convert(graph, info, ...)`: a fixed-batch Keras model to the file's bytes, metadata included,
- `operations(path)`: the operations in a file, as pairs of (operation, output shape),
- `read_metadata(path)`: the text of the description inside a file; `read_info(path)`: the same as `ModelInfo`,
- `define_flags(values)`, and a `main` that ends with `exporters.flags.run_export`.

`keras_pose.inference.runtimes.SESSIONS` runs the files.
"""

import importlib
from pathlib import Path
from types import ModuleType

from keras_pose.core.errors import UserError

# File suffix to the module that writes it.
EXPORTERS = {
    ".tflite": "exporters.tflite",
    ".onnx": "exporters.onnx",
}


def exporter_of(path: Path) -> ModuleType:
    """The exporter for a file's suffix; raises UserError that lists the known ones."""
    if path.suffix not in EXPORTERS:
        raise UserError(f"{path} has an unknown suffix; exported files end in {', '.join(sorted(EXPORTERS))}")
    return importlib.import_module(EXPORTERS[path.suffix])
