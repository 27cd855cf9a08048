"""Makes a trained run into weights that ship with the package: small, and used by name.

    python -m keras_pose.ship --model=runs/phone --output=keras_pose/weights/phone

Weights are rounded to 11 significant bits (float16's precision, float32's range) and model.keras is compressed, to less
than half. --dataset names data that everyone holds: exporters calibrate and check on it; what the run was trained on
stands in model.json under `trained_on`. The run's resolved.flags goes along as recipe.flags.
"""

import hashlib
import shutil
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.data.dataset import open_dataset
from keras_pose.io import atomic
from keras_pose.io.model_info import read_sidecar, sidecar_path
from keras_pose.models import model_folder
from keras_pose.training import run_folder

FLAGS = flags.FLAGS
DROPPED_BITS = 13  # of float32's 24, which leaves float16's 11
RECIPE = "recipe.flags"
NAMING = ("--dataset", "--init_from", "--pretrained")


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """The command's flags."""
    flags.DEFINE_string("model", None, "The folder of a finished run.", flag_values=values)
    flags.DEFINE_string("output", None, "The folder to write; its last name is the weights' name.", flag_values=values)
    flags.DEFINE_string("dataset", "embedded", "Data to calibrate and check exports on.", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Replace weights that are there already.", flag_values=values)


def main(arguments: list[str]) -> None:
    """Runs the command."""
    if arguments:
        raise UserError(f"unknown argument {arguments[0]!r}; name the run with --model=RUN")
    if not (FLAGS.model and FLAGS.output):
        raise UserError("give the run with --model=RUN and the folder to write with --output=FOLDER")
    output = Path(FLAGS.output)
    if (output / model_folder.MODEL).exists() and not FLAGS.overwrite:
        raise UserError(f"{output} holds weights already; choose another --output, or add --overwrite")
    ship(Path(FLAGS.model), output, FLAGS.dataset)
    print(f"wrote {output}: {(output / model_folder.MODEL).stat().st_size / 1e6:.1f} MB")
    for name in exports_of_others(output):
        print(f"{output / name} was exported from other weights; export it anew with --overwrite")


def ship(run: Path, output: Path, dataset: str) -> None:
    """Writes model.keras, model.json and recipe.flags to `output`.

    Raises UserError where the run is missing or damaged, or is of another skeleton than the data.
    """
    model, info = model_folder.load_run(run)
    data = open_dataset(dataset)
    if data.skeleton != info.skeleton:
        raise UserError(f"{run} has another skeleton than data set {dataset}; choose another --dataset")
    recipe = run / run_folder.RESOLVED_FLAGS
    if not recipe.is_file():
        raise UserError(f"{run} has no {recipe.name}; name the folder that training wrote")
    model.set_weights([round_weights(weights) for weights in model.get_weights()])
    named = {"dataset": dataset, "manifest_hash": data.manifest_hash, "train": data.count("train")}
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output) as scratch:
        trained_on = {**info.data, "dataset": without_folders(info.data["dataset"])}
        model_folder.write_model(scratch, model, replace(info, data=named, trained_on=trained_on))
        compress(Path(scratch) / model_folder.MODEL)
        for name in (model_folder.MODEL, model_folder.MODEL_INFO):
            shutil.move(Path(scratch) / name, output / name)
    lines = [name_data(line) for line in recipe.read_text().splitlines()]
    atomic.write_atomically(output / RECIPE, ("\n".join(lines) + "\n").encode())


def exports_of_others(folder: Path) -> list[str]:
    """Exported files in the folder that are not of its weights, as the JSON beside them tells."""
    weights = hashlib.sha256((folder / model_folder.MODEL).read_bytes()).hexdigest()
    exported = [path for suffix in ("*.tflite", "*.onnx") for path in sorted(folder.glob(suffix))]
    infos = {path.name: read_sidecar(path) for path in exported if sidecar_path(path).is_file()}
    return [name for name, info in infos.items() if not info.export or info.export.model_sha256 != weights]


def name_data(line: str) -> str:
    """A line of a flag file; what names files loses the folders of this machine."""
    flag, _, value = line.partition("=")
    return f"{flag}={without_folders(value)}" if flag in NAMING else line


def without_folders(spec: str) -> str:
    """A data set's name, or a mix of weighted ones, each path by its last name alone."""
    return ",".join(Path(word).name for word in spec.split(","))


def round_weights(weights: np.ndarray) -> np.ndarray:
    """float32 to the nearest number of 11 significant bits; other types, and what is not finite, stay as they are."""
    if weights.dtype != np.float32:
        return weights
    bits = weights.view(np.uint32).astype(np.uint64) + (1 << (DROPPED_BITS - 1))
    rounded = (bits >> DROPPED_BITS << DROPPED_BITS).astype(np.uint32).view(np.float32)
    return np.where(np.isfinite(weights) & np.isfinite(rounded), rounded, weights)


def compress(path: Path) -> None:
    """Packs the parts of a .keras file, which Keras stores unpacked; it reads both.

    By LZMA, which tells the bytes of a float apart: rounded weights take a fifth less than by Deflate.
    """
    packed = path.with_name(path.name + ".packed")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w") as target:
        for entry in source.infolist():
            target.writestr(zipfile.ZipInfo(entry.filename), source.read(entry), zipfile.ZIP_LZMA)
    packed.replace(path)


if __name__ == "__main__":
    define_flags()
    command.run(main)
