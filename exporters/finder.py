"""Exports a finder to one .tflite or .onnx file, for use beside the pose model's.

    python -m exporters.finder --output=finder.tflite --quantize=int8
    python -m exporters.finder --output=finder.onnx

`PosePredictor("pose.tflite")` uses the `finder.tflite` in the same folder. docs/deploy.md describes the contract and
how to read the maps.
"""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
from absl import flags, logging
from keras import ops

from exporters import exporter_of
from exporters.compare import check_operations
from exporters.contract import sha256
from exporters.export import publishing
from exporters.worker import measure
from keras_pose import __version__
from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.inference import finder as inference
from keras_pose.inference import runtimes
from keras_pose.io import atomic
from keras_pose.io.finder_info import FinderInfo
from keras_pose.io.model_info import Export, Tensor, sidecar_path
from keras_pose.models.model_folder import MODEL, load_finder
from keras_pose.weights import FINDER

FLAGS = flags.FLAGS
QUANTIZATIONS = {".tflite": ("none", "float16", "dynamic", "int8"), ".onnx": ("none", "float16")}
SAMPLES = 64
# Allowed mean differences of `centers` and `boxes` from Keras, per form. A box becomes a crop 1.4 times as large, so an
# error of 2 % of the image per side does no harm.
TOLERANCES = {"none": (1e-5, 1e-5), "float16": (2e-3, 2e-3), "dynamic": (0.01, 0.02), "int8": (0.01, 0.02)}


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string(
        "finder", None, "A run of keras_pose.finding.train; default: the shipped one.", flag_values=values
    )
    flags.DEFINE_string("output", None, "File to write, .tflite or .onnx.", flag_values=values)
    flags.DEFINE_enum("quantize", "none", QUANTIZATIONS[".tflite"], "int8 is for phones.", flag_values=values)
    flags.DEFINE_string("calibration", "embedded", "Data for int8 and for the comparison.", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Replace an existing file.", flag_values=values)
    flags.DEFINE_string("json", None, "File to write the results to.", flag_values=values)


def build_graph(model: keras.Model) -> keras.Model:
    """The finder with a batch of one and uint8 input."""
    side = model.input_shape[1]
    image = keras.Input(batch_shape=(1, side, side, 3), dtype="uint8", name="image")
    outputs = model(ops.cast(image, "float32"))
    return keras.Model(image, {name: outputs[name] for name in sorted(outputs)}, name="inference")


def describe_export(info: FinderInfo, quantization: str, run: Path) -> FinderInfo:
    """The description of an exported finder, stored inside and beside it; `info` is the run's."""
    side, cells = info.input_size[0], info.input_size[0] // info.stride
    export = Export(
        quantization=quantization,
        layout="nhwc",
        inputs={"image": Tensor((1, side, side, 3), "uint8")},
        outputs={"boxes": Tensor((1, cells, cells, 4)), "centers": Tensor((1, cells, cells, 1))},
        run=run.name,
        model_sha256=sha256(run / MODEL),
        version=__version__,
    )
    return replace(info, export=export)


def mosaics(dataset: str, side: int, count: int) -> np.ndarray:
    """(count, side, side, 3) uint8: mosaics of 1, 4, 9 or 16 crops of people from a data set.

    People then appear in several sizes, as the finder sees them.
    """
    import cv2

    from keras_pose.data import pipeline
    from keras_pose.data.dataset import naming_broken_shards, open_dataset

    data = open_dataset(dataset)
    with naming_broken_shards(data):
        batches = list(pipeline.make_batches(data, "train", 16, training=False).take(16))
    crops = np.concatenate([batch["image"].numpy() for batch in batches])
    rng = np.random.default_rng(0)
    images = np.zeros((count, side, side, 3), np.uint8)
    for i, image in enumerate(images):
        parts = i % 4 + 1
        edges = np.linspace(0, side, parts + 1).astype(int)
        for y0, y1 in zip(edges[:-1], edges[1:], strict=True):
            for x0, x1 in zip(edges[:-1], edges[1:], strict=True):
                image[y0:y1, x0:x1] = cv2.resize(crops[rng.integers(len(crops))], (x1 - x0, y1 - y0))
    return images


def export(run: Path, output: Path, quantization: str, dataset: str) -> dict:
    """Writes the file if it agrees with the Keras model; returns the results.

    Raises UserError if the run is not a finder, or the file differs too much.
    """
    model, run_info = load_finder(run)
    info = describe_export(run_info, quantization, run)
    graph, samples = build_graph(model), mosaics(dataset, model.input_shape[1], SAMPLES)
    exporter = exporter_of(output)
    arguments = (samples,) if quantization == "int8" else ()
    with publishing(output) as partial:
        atomic.write_atomically(partial, exporter.convert(graph, info, *arguments))
        info.write(sidecar_path(partial))
        measure(partial, threads=1)
        operations = check_operations(partial)
        figures = {"file": output.name, "size_mb": partial.stat().st_size / 1e6, "operations": operations}
        differences = compare(partial, model, samples)
        found = (differences["mean_center_difference"], differences["mean_box_difference"])
        if any(value > allowed for value, allowed in zip(found, TOLERANCES[quantization], strict=True)):
            raise UserError(
                f"did not write {output}: centers differ from Keras' by {found[0]:.4f} on average, boxes by "
                f"{found[1]:.4f}; the limits are {TOLERANCES[quantization]}"
            )
        return figures | differences


def compare(path: Path, model: keras.Model, samples: np.ndarray) -> dict[str, float]:
    """The mean differences of a file's maps from the Keras model's; for boxes, only in cells with a person."""
    session = runtimes.open_session(path, threads=1)
    expected = {key: np.asarray(value) for key, value in model(samples.astype(np.float32), training=False).items()}
    found = [session.infer({"image": image[None]}) for image in samples]
    centers, boxes = (np.concatenate([each[key] for each in found]) for key in ("centers", "boxes"))
    someone = expected["centers"][..., 0] >= inference.SCORE
    box_difference = np.abs(boxes - expected["boxes"])[someone]
    return {
        "mean_center_difference": float(np.abs(centers - expected["centers"]).mean()),
        "mean_box_difference": float(box_difference.mean()) if someone.any() else 0.0,
    }


def main(arguments: list[str]) -> int:
    """Runs the command."""
    logging.set_verbosity(logging.WARNING)  # saving and converting log every step
    if arguments:
        raise UserError(f"unknown argument {arguments[0]!r}; flags are written --name=value")
    output = Path(FLAGS.output or "")
    if output.suffix not in QUANTIZATIONS:
        raise UserError(f"--output={FLAGS.output or ''} must name a .tflite or .onnx file")
    if FLAGS.quantize not in QUANTIZATIONS[output.suffix]:
        raise UserError(f"--quantize={FLAGS.quantize} does not apply to {output.suffix}; choose none or float16")
    if output.exists() and not FLAGS.overwrite:
        raise UserError(f"{output} already exists; choose another --output, or add --overwrite")
    if not FLAGS.finder and not FINDER.is_dir():
        raise UserError("the shipped finder is missing; add --finder=RUN, a run of keras_pose.finding.train")
    figures = export(Path(FLAGS.finder) if FLAGS.finder else FINDER, output, FLAGS.quantize, FLAGS.calibration)
    for name, value in figures.items():
        print(f"{name:24} {value if isinstance(value, str | int) else f'{value:.5f}'}")
    if FLAGS.json:
        atomic.write_json(FLAGS.json, figures)
    print(f"wrote {output} and {output.name}.json")
    return 0


if __name__ == "__main__":
    define_flags()
    command.run(main)
