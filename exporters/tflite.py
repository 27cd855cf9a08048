"""Exports a trained run to one .tflite file.

    python -m exporters.tflite --model=runs/e2e --output=pose.tflite --quantize=int8

--quantize=float16 halves the download; int8 is the form for phones. docs/deploy.md has the measurements.
"""

import contextlib
import io
import os
import re
import tempfile
import warnings
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from absl import flags
from ai_edge_quantizer import qtyping, quantizer, recipe_manager
from ai_edge_quantizer.calibrator import CalibrationMode, Calibrator
from ai_edge_quantizer.utils import qsv_utils
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from exporters import flags as shared_flags
from exporters.contract import Form
from exporters.inference_graph import Source
from exporters.samples import load_samples
from exporters.tflite_file import append_metadata, finish, operations, read_info, read_metadata, read_operations
from keras_pose.core import command
from keras_pose.core.quiet import quiet
from keras_pose.io.model_info import FINDER, Description, ModelInfo

__all__ = ["OPERATIONS", "convert", "operations", "read_info", "read_metadata"]

FORMS = ("none", "float16", "dynamic", "int8")

# Operations of CPUs, GPU delegates and WebGPU. MINIMUM and RELU clip the scores; quantization adds the last two.
OPERATIONS = {
    "ADD", "CAST", "CONV_2D", "DIV", "FULLY_CONNECTED", "LOGISTIC", "MAXIMUM", "MINIMUM", "MUL", "PAD", "REDUCE_MAX",
    "RELU", "RESHAPE", "RESIZE_NEAREST_NEIGHBOR", "SOFTMAX", "SUB", "TRANSPOSE", "QUANTIZE", "DEQUANTIZE",
}  # fmt: skip

# By tensor name. The heatmap layer and the normalization stay in float: soft-argmax weighs differences between heatmap
# cells by beta, and eight bits are too few for both the range and the differences.
QUANTIZED_LAYERS = "/hrnet(?!.*(final_layer|normalize_image))"
# The finder's maps stay in float: eight bits of a score near 0 are too few to compare neighbors.
FINDER_LAYERS = "/finder(?!.*(centers|boxes|normalize_image))"
NO_QUANTIZE = quantizer.AlgorithmName.NO_QUANTIZE
# Weights in float16, arithmetic in float32. Soft-argmax is left out, because float16 cannot represent 1 / 48.
HALVED_LAYERS = "/(hrnet|encoder|finder)"


def convert(graph: keras.Model, info: Description, calibration: np.ndarray | None = None) -> bytes:
    """Converts a fixed-batch model to the bytes of a .tflite file, quantized by `info.exported.quantization`.

    Args:
        calibration: (N, ...) inputs of the model, for int8.
    """
    return quantize(convert_float(graph, info), info, calibration)


def convert_float(graph: keras.Model, info: Description) -> bytes:
    """A fixed-batch model in float32, without the metadata archive."""
    with tempfile.TemporaryDirectory() as folder, quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _save_frozen(graph, info, folder)
        return finish(tf.lite.TFLiteConverter.from_saved_model(folder).convert(), info)


def _save_frozen(graph: keras.Model, info: Description, folder: str) -> None:
    """Saves a SavedModel with constant weights: with variables, W32 takes three times as long to convert."""
    (name,) = info.exported.inputs
    signature = [tf.TensorSpec(graph.inputs[0].shape, graph.inputs[0].dtype, name=name)]
    traced = tf.function(lambda inputs: graph(inputs, training=False), signature, autograph=False)
    frozen = convert_variables_to_constants_v2(traced.get_concrete_function())
    module = tf.Module()
    module.infer = tf.function(
        lambda inputs: dict(zip(info.exported.outputs, frozen(inputs), strict=True)), signature, autograph=False
    )
    tf.saved_model.save(module, folder, signatures=module.infer.get_concrete_function())


def quantize(content: bytes, info: Description, calibration: np.ndarray | None = None) -> bytes:
    """Completes the file of `convert_float`, with the requested quantization."""
    is_finder = info.kind == FINDER
    layers = FINDER_LAYERS if is_finder else QUANTIZED_LAYERS
    if info.exported.quantization == "none":
        return append_metadata(content, info)
    every = qtyping.TFLOperationName.ALL_SUPPORTED
    silence = io.StringIO()
    with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        job = quantizer.Quantizer(content)
        _halve_weights(job)
        measured = None
        if info.exported.quantization == "dynamic":
            job.add_dynamic_config(layers, qtyping.TFLOperationName.CONV_2D, num_bits=8)
        elif info.exported.quantization == "int8":
            assert calibration is not None, "int8 needs calibration inputs"
            job.add_static_config(layers, every, activation_num_bits=8, weight_num_bits=8)
            if not is_finder:  # its few additions lose nothing
                kept = float_additions(content)
                job.update_quantization_recipe(kept, qtyping.TFLOperationName.ADD, algorithm_key=NO_QUANTIZE)
            (name,) = info.exported.inputs
            measured = _measure_ranges(content, job, [{name: sample[None]} for sample in calibration])
        content = bytes(job.quantize(measured, enable_progress_report=False).quantized_model)
    return append_metadata(content, info)


def _measure_ranges(content: bytes, job: quantizer.Quantizer, samples: list[dict]) -> dict:
    """The smallest and largest value of each tensor over the samples, for the recipe of `job`.

    The quantizer's own calibration uses a moving average over the samples, which cuts off the peaks of heatmaps: 2D
    shifts 2.6 times as much. It also passes every tensor to Python, which takes twice as long.
    """
    recipe = recipe_manager.RecipeManager()
    recipe.load_quantization_recipe(job.get_quantization_recipe())
    calibrator = Calibrator(
        content,
        num_threads=os.cpu_count(),
        mode=CalibrationMode.CALIBRATION_PROFILER_BASED,
        qsv_update_func=qsv_utils.min_max_update,
    )
    calibrator.calibrate({"serving_default": samples}, recipe)
    return calibrator.get_model_qsvs()


def float_additions(content: bytes) -> str:
    """A regex for the additions that stay in float in an int8 file: those of the two highest resolutions.

    Each addition rounds a residual stream again, about thirty times on its way through W32. This, not the convolutions,
    costs eight-bit HRNet its precision (docs/deploy.md). These two streams are the thinnest, with C and 2C channels,
    and cause nearly all of the loss.
    """
    sums = [
        (operation.shape[-1], operation.output)
        for operation in read_operations(content)
        if operation.kind == "ADD" and re.search(QUANTIZED_LAYERS, operation.output)
    ]
    fewest = min(channels for channels, _ in sums)
    names = [re.escape(name) for channels, name in sums if channels <= 2 * fewest]
    return f"^({'|'.join(names)});?$"


def _halve_weights(job: quantizer.Quantizer) -> None:
    weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    config = qtyping.OpQuantizationConfig(
        weight_tensor_config=weights, compute_precision=qtyping.ComputePrecision.FLOAT
    )
    for operation in (qtyping.TFLOperationName.CONV_2D, qtyping.TFLOperationName.FULLY_CONNECTED):
        job.update_quantization_recipe(HALVED_LAYERS, operation, config, quantizer.AlgorithmName.FLOAT_CASTING)


def calibration_inputs(source: Source, form: Form, values: flags.FlagValues) -> np.ndarray:
    """(N, ...) real inputs of the graph, from the data set of --calibration or the run's own."""
    dataset = values.calibration or shared_flags.data_of(source, values)
    samples = load_samples(dataset, ("train", "validation"), values.calibration_samples, source.info, pictures=True)
    assert samples.image is not None
    return samples.image.astype(form.input_dtype)


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    shared_flags.define_export_flags(values)
    flags.DEFINE_enum("quantize", "none", FORMS, "See docs/deploy.md; int8 is for phones.", flag_values=values)
    define_calibration_flags(values)


def define_calibration_flags(values: flags.FlagValues) -> None:
    """Defines the flags of `calibration_inputs`."""
    flags.DEFINE_string(
        "calibration", None, "Data for int8; default: the training split of the run's data.", flag_values=values
    )
    flags.DEFINE_integer("calibration_samples", 100, "Images for int8 calibration.", lower_bound=1, flag_values=values)


def main(arguments: list[str], values: flags.FlagValues = flags.FLAGS) -> int:
    """Runs the command."""

    def converter(source: Source, form: Form) -> Callable[[keras.Model, ModelInfo], bytes]:
        calibration = calibration_inputs(source, form, values) if form.quantization == "int8" else None
        return lambda graph, info: convert(graph, info, calibration)

    return shared_flags.run_export(arguments, values, ".tflite", converter, quantization=values.quantize)


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    command.run(main)
