"""Shows which layers of a quantized .tflite file lose precision, compared with the same network in float32.

    python -m exporters.layer_errors --model=runs/e2e pose_int8.tflite

Noise is the RMS of a tensor's error, as a share of the tensor's own RMS. `added` is the noise that an operation adds to
its noisiest input, so the largest values show which layers to keep in higher precision. int8 files already keep those
of `exporters.tflite.float_additions`.
"""

import contextlib
import dataclasses
import io
import warnings
from dataclasses import dataclass

import numpy as np
from absl import flags, logging
from ai_edge_quantizer import model_validator
from ai_edge_quantizer.utils.validation_utils import ValidationErrorMetric

from exporters import flags as shared_flags
from exporters import tflite
from exporters.compare import align, read_part
from exporters.contract import Form
from exporters.inference_graph import Source, build_inference_graph, find_run, load_source
from exporters.parity import check_files
from exporters.tflite_file import read_operations
from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.io import atomic
from keras_pose.io.model_info import ModelInfo

MSE = ValidationErrorMetric.MSE


@dataclass(frozen=True)
class LayerError:
    """One operation's output; `noise` and `added` are shares of the signal, as explained in the module."""

    operation: str
    layer: str
    shape: tuple[int, ...]
    noise: float
    added: float


def measure(content: bytes, reference: bytes, inputs: list[dict[str, np.ndarray]]) -> list[LayerError]:
    """The noise of each tensor that both files have, in the order of computation.

    Args:
        content: a quantized file.
        reference: the same network in float32.
        inputs: samples, each a dict of the model's inputs by name.
    """
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compared = model_validator.compare_model(
            reference,
            content,
            {"serving_default": inputs},
            error_metrics=[MSE],
            compare_fns=[_relative_error],
            use_xnnpack=False,
            num_threads=1,
        )
    power = {name: found[MSE.value] for name, found in compared.get_all_tensor_results().items()}
    errors = []
    for operation in read_operations(reference):
        if operation.output not in power:
            continue
        before = max((power.get(name, 0.0) for name in operation.inputs), default=0.0)
        noise = power[operation.output]
        errors.append(
            LayerError(
                operation.kind,
                operation.output.rstrip(";").rsplit(";", 1)[-1],
                operation.shape,
                float(np.sqrt(noise)),
                float(np.sqrt(max(noise - before, 0.0))),
            )
        )
    return errors


def _relative_error(noisy: np.ndarray, clean: np.ndarray) -> float:
    """Mean square of the error over that of the signal."""
    noisy, clean = (np.asarray(values, "float64") for values in (noisy, clean))
    error = np.mean(np.square(noisy - clean))
    return float(error / np.mean(np.square(clean))) if error else 0.0


def float_reference(source: Source, info: ModelInfo) -> bytes:
    """The network of a file before quantization."""
    ((_, image),) = info.exported.inputs.items()
    form = Form(
        part=info.kind,
        quantization=info.exported.quantization,
        layout=info.exported.layout,
        input_dtype=image.dtype,
        heatmaps="heatmaps" in info.exported.outputs,
        flip_test=info.exported.flip_test,
    )
    return tflite.convert_float(build_inference_graph(source, form), info)


def format_table(errors: list[LayerError], worst: int) -> str:
    """The `worst` operations by added noise, in descending order."""
    ranked = sorted(errors, key=lambda error: -error.added)[:worst]
    rows = [("added", "noise", "operation", "output", "layer")]
    for error in ranked:
        shape = " x ".join(map(str, error.shape[1:]))
        rows.append((f"{error.added:.1%}", f"{error.noise:.1%}", error.operation, shape, error.layer))
    return align(rows)


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    shared_flags.define_source_flags(values)
    flags.DEFINE_integer("worst", 20, "Layers to print.", lower_bound=1, flag_values=values)
    values.set_default("samples", 8)


def main(arguments: list[str], values: flags.FlagValues = flags.FLAGS) -> int:
    """Runs the command."""
    logging.set_verbosity(logging.WARNING)
    paths = check_files(arguments)
    if len(paths) != 1 or paths[0].suffix != ".tflite":
        raise UserError("name one quantized .tflite file")
    (path,) = paths
    source = load_source(find_run(values.model))
    part = read_part(path, source)
    info = tflite.read_info(path)
    if info.exported.quantization == "none":
        raise UserError(f"{path} is in float32 and loses nothing; name a quantized file")
    samples = shared_flags.parity_samples(source, part, values)
    ((name, tensor),) = info.exported.inputs.items()
    column = samples.image if name == "image" else samples.keypoints_2d
    assert column is not None
    inputs = [{name: sample[None].astype(tensor.dtype)} for sample in column]
    errors = measure(path.read_bytes(), float_reference(source, info), inputs)
    print(format_table(errors, values.worst))
    if values.json:
        atomic.write_json(values.json, {"layers": [dataclasses.asdict(error) for error in errors]})
    return 0


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    command.run(main)
