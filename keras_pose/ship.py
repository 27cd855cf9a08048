"""Turns a trained run into small weights that ship with the package and are used by name.

    python -m keras_pose.ship --model=runs/phone --output=keras_pose/weights/phone

The same command ships a finder (`keras_pose.finding.train`), to keras_pose/weights/finder.

Weights are rounded, kernels to 6 significant bits (an error of at most 1/64, and of 1/200 on average), the few others
to 11, and model.keras is compressed to a third. --dataset names data that everyone has, which the exporters use to
calibrate and check. The training data is recorded in model.json under `trained_on`. The run's resolved.flags is
copied as recipe.flags.

--average names further runs of the same network that started from one another or from the same weights: what ships is
the mean of all their weights, which is often better than any of them (Wortsman et al. 2022, arXiv:2203.05482).
"""

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.data.dataset import open_dataset
from keras_pose.io import atomic
from keras_pose.io.finder_info import FinderInfo
from keras_pose.io.model_info import Description, ModelInfo, is_finder
from keras_pose.models import model_folder
from keras_pose.training import run_folder

FLAGS = flags.FLAGS
FLOAT_BITS = 24  # significant ones of float32
KERNEL_BITS, VECTOR_BITS = 6, 11  # of what ships
RECIPE = "recipe.flags"
NAMING = ("--dataset", "--init_from", "--pretrained")


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("model", None, "Folder of a finished run.", flag_values=values)
    flags.DEFINE_string("output", None, "Folder to write; its last part names the weights.", flag_values=values)
    flags.DEFINE_list(
        "average", [], "Further runs, whose weights are averaged with those of --model.", flag_values=values
    )
    flags.DEFINE_string("dataset", "embedded", "Data to calibrate and check exports with.", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Replace existing weights.", flag_values=values)


def main(arguments: list[str]) -> None:
    """Runs the command."""
    if arguments:
        raise UserError(f"unknown argument {arguments[0]!r}; name the run with --model=RUN")
    if not (FLAGS.model and FLAGS.output):
        raise UserError("missing folders; give the run with --model=RUN and the output with --output=FOLDER")
    output = Path(FLAGS.output)
    if (output / model_folder.MODEL).exists() and not FLAGS.overwrite:
        raise UserError(f"{output} already holds weights; choose another --output, or add --overwrite")
    run = Path(FLAGS.model)
    if is_finder(run / model_folder.MODEL_INFO):
        if FLAGS.average:
            raise UserError("--average is of pose models, and this is a finder; leave it out")
        ship_finder(run, output)
    else:
        ship(run, output, FLAGS.dataset, [Path(name) for name in FLAGS.average])
    print(f"wrote {output}: {(output / model_folder.MODEL).stat().st_size / 1e6:.1f} MB")
    for name in exports_of_others(output):
        print(f"{output / name} was exported from other weights; export it again with --overwrite")


def ship(run: Path, output: Path, dataset: str, others: Sequence[Path] = ()) -> None:
    """Writes model.keras, model.json and recipe.flags to `output`; the weights are the mean of `run` and `others`.

    Raises UserError if a run is missing, damaged or of another network, or its skeleton differs from the data's.
    """
    model, info = model_folder.load_run(run)
    data = open_dataset(dataset)
    if data.skeleton != info.skeleton:
        raise UserError(f"{run} has a different skeleton than data set {dataset}; choose another --dataset")
    recipe = run / run_folder.RESOLVED_FLAGS
    if not recipe.is_file():
        raise UserError(f"{run} has no {recipe.name}; name the folder that training wrote")
    weights = averaged([model.get_weights(), *(_weights_of(other, info, model) for other in others)])
    model.set_weights([round_weights(array) for array in weights])
    named = {"dataset": dataset, "manifest_hash": data.manifest_hash, "train": data.count("train")}
    trained_on = {**info.data, "dataset": without_folders(info.data["dataset"])}
    shipped = replace(info, data=named, trained_on=trained_on)
    if others:  # the first run's metrics are not those of the mean
        names = [run.name, *(other.name for other in others)]
        shipped = replace(shipped, metrics={}, trained_on=trained_on | {"averaged": names})
    lines = [name_data(line) for line in recipe.read_text().splitlines()]
    _write(output, model, shipped, "\n".join(lines) + "\n")


def _write(output: Path, model: keras.Model, info: Description, recipe: str) -> None:
    """Writes the folder; model.keras and model.json replace older ones only once both are complete."""
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output) as scratch:
        model_folder.write_model(scratch, model, info)
        compress(Path(scratch) / model_folder.MODEL)
        for name in (model_folder.MODEL, model_folder.MODEL_INFO):
            shutil.move(Path(scratch) / name, output / name)
    atomic.write_atomically(output / RECIPE, recipe.encode())


def averaged(runs: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """The mean of each weight over the runs, in its own type; whole numbers, such as counters, are the first run's."""
    means = [
        np.mean(arrays, axis=0, dtype=np.float64).astype(arrays[0].dtype) if arrays[0].dtype.kind == "f" else arrays[0]
        for arrays in zip(*runs, strict=True)
    ]
    return means if len(runs) > 1 else list(runs[0])


def _weights_of(run: Path, info: ModelInfo, model: keras.Model) -> list[np.ndarray]:
    other, other_info = model_folder.load_run(run)
    shapes = [[weight.shape for weight in each.weights] for each in (model, other)]
    if shapes[0] != shapes[1] or other_info.skeleton != info.skeleton:
        raise UserError(f"--average={run} is of another network or skeleton than --model; leave it out")
    return other.get_weights()


def ship_finder(run: Path, output: Path) -> None:
    """Like `ship`, for a finder's run, whose recipe already names no folders."""
    model, info = model_folder.load_finder(run)
    recipe = run / RECIPE
    if not recipe.is_file():
        raise UserError(f"{run} has no {recipe.name}; name the folder that keras_pose.finding.train wrote")
    model.set_weights([round_weights(weights) for weights in model.get_weights()])
    _write(output, model, info, recipe.read_text())


def exports_of_others(folder: Path) -> list[str]:
    """Exported files in the folder whose JSON names other weights than the folder's."""
    weights = hashlib.sha256((folder / model_folder.MODEL).read_bytes()).hexdigest()
    sidecars = sorted([*folder.glob("*.tflite.json"), *folder.glob("*.onnx.json")])
    kind: type[Description] = FinderInfo if is_finder(folder / model_folder.MODEL_INFO) else ModelInfo
    infos = {path.stem: kind.read_beside(path.with_suffix("")) for path in sidecars}
    return [name for name, info in infos.items() if not info.export or info.export.model_sha256 != weights]


def name_data(line: str) -> str:
    """A line of a flag file, with this machine's folders removed from file names."""
    flag, _, value = line.partition("=")
    return f"{flag}={without_folders(value)}" if flag in NAMING else line


def without_folders(spec: str) -> str:
    """A data set's name, or a weighted mix, with each path reduced to its last part."""
    return ",".join(Path(word).name for word in spec.split(","))


def round_weights(weights: np.ndarray) -> np.ndarray:
    """Rounds float32 kernels to 6 significant bits, vectors to 11; leaves other types and non-finite values alone."""
    if weights.dtype != np.float32:
        return weights
    dropped = FLOAT_BITS - (KERNEL_BITS if weights.ndim > 1 else VECTOR_BITS)
    bits = weights.view(np.uint32).astype(np.uint64) + (1 << (dropped - 1))
    rounded = (bits >> dropped << dropped).astype(np.uint32).view(np.float32)
    return np.where(np.isfinite(weights) & np.isfinite(rounded), rounded, weights)


def compress(path: Path) -> None:
    """Compresses the parts of a .keras file, which Keras stores uncompressed but reads either way.

    LZMA distinguishes the bytes of a float, so rounded weights take a fifth less space than with Deflate.
    """
    packed = path.with_name(path.name + ".packed")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w") as target:
        for entry in source.infolist():
            target.writestr(zipfile.ZipInfo(entry.filename), source.read(entry), zipfile.ZIP_LZMA)
    packed.replace(path)


if __name__ == "__main__":
    define_flags()
    command.run(main)
