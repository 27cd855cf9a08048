"""Writes one exported file: converts it, checks it under a temporary name, and renames it once it passes."""

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras

from exporters.compare import Parity, compare_file, describe_failure, keras_outputs, read_part
from exporters.contract import Form, describe_export
from exporters.inference_graph import Source, build_inference_graph
from exporters.samples import Samples
from keras_pose.core.errors import UserError
from keras_pose.io.atomic import write_atomically
from keras_pose.io.model_info import ModelInfo, sidecar_path

# Disk space for the file, its SavedModel and their copies, as a multiple of the weights.
SPACE_FACTOR = 4


@dataclass(frozen=True)
class Check:
    """The reference for a new file; `tolerance_mm=None` means the form's own."""

    samples: Samples
    tolerance_mm: float | None = None


def export(
    source: Source,
    form: Form,
    output: Path,
    convert: Callable[[keras.Model, ModelInfo], bytes],
    check: Check | None,
) -> Parity | None:
    """Writes `output` and its metadata beside it. Returns the parity results, or None without `check`.

    Raises:
        UserError: the run lacks the part, the disk is full, or the file fails parity; then no file is left.
    """
    info = describe_export(form, source.info, source.path.name, source.weights)
    check_space(source, output.parent)
    graph = build_inference_graph(source, form)
    with publishing(output) as partial:
        write_atomically(partial, convert(graph, info))
        info.write(sidecar_path(partial))
        if not check:
            return None
        expected = keras_outputs(source, read_part(partial, source), check.samples, form.flip_test)
        result = compare_file(partial, source, check.samples, expected, check.tolerance_mm)
        result = dataclasses.replace(result, file=output.name)
        if not result.passed:
            raise UserError(f"did not write {output}: {describe_failure(result)}")
        return result


@contextlib.contextmanager
def publishing(output: Path) -> Iterator[Path]:
    """Yields a temporary name for a file, whose metadata go beside it; both get their final names after the block.

    If the block fails, older files stay and no new ones are left.
    """
    partial = output.with_name(f"{output.stem}.partial{output.suffix}")
    try:
        yield partial
        os.replace(sidecar_path(partial), sidecar_path(output))
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)
        sidecar_path(partial).unlink(missing_ok=True)


def check_space(source: Source, folder: Path) -> None:
    """Raises UserError if the disk under `folder` has too little space for the export."""
    while not folder.exists():
        folder = folder.parent
    needed = SPACE_FACTOR * source.weights.stat().st_size
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder.resolve()} has {free >> 20} MB free, the export needs {needed >> 20}; free some space"
        )
