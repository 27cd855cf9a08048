"""Exports a trained run to one .onnx file.

    python -m exporters.onnx --model=runs/e2e --output=pose.onnx

--precision=float16 halves the download; float16_arithmetic also computes in half precision, for GPUs. --layout=nchw
puts the channels first. docs/deploy.md has the measurements.
"""

import contextlib
import io
import warnings
from pathlib import Path

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from absl import flags
from keras.src.export.onnx import patch_tf2onnx

from exporters import flags as shared_flags
from exporters.contract import LAYOUTS
from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.io.model_info import METADATA_KEY, Description, ModelInfo

# Operations that ONNX Runtime and onnxruntime-web run on CPU and WebGPU.
OPERATIONS = {
    "Add", "Cast", "Conv", "Div", "Gemm", "GlobalMaxPool", "MatMul", "Max", "Min", "Mul", "ReduceMax", "Relu",
    "Reshape", "Resize", "Sigmoid", "Softmax", "Squeeze", "Sub", "Transpose",
}  # fmt: skip

DEFAULT_OPSET = 18
OPSETS = (13, 18)  # from 13 on, uint8 Cast and per-axis shapes are as needed; tf2onnx writes none later than 18
FORMS = {"float32": "none", "float16": "float16", "float16_arithmetic": "float16_arithmetic"}  # by --precision
# Operations whose second input is a weight, and the names of nodes whose weights are halved.
WEIGHTED, HALVED_LAYERS = ("Conv", "Gemm", "MatMul"), ("/hrnet", "/encoder", "/finder")
# With half arithmetic, nodes whose names contain one of these still compute in float32.
FLOAT32_LAYERS = ("normalize_image", "final_layer", "soft_argmax", "encoder")


def convert(graph: keras.Model, info: Description, opset: int = DEFAULT_OPSET) -> bytes:
    """Converts a fixed-batch model to the bytes of an .onnx file, in the precision `info.exported.quantization`."""
    return finish(convert_float(graph, opset), info)


def convert_float(graph: keras.Model, opset: int = DEFAULT_OPSET) -> onnx.ModelProto:
    """A fixed-batch model in float32, without metadata.

    `Model.export` does the same, but first compares all parts of the model, which takes seconds for W32.
    """
    (image,) = graph.inputs
    signature = [tf.TensorSpec(image.shape, image.dtype, name=image.name)]
    infer = tf.function(lambda inputs: graph(inputs, training=False), signature, autograph=False)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        patch_tf2onnx()  # for NumPy 2
        model, _ = tf2onnx.convert.from_function(infer, signature, opset=opset)
    _plain_resizes(model)
    return model


def finish(model: onnx.ModelProto, info: Description) -> bytes:
    """Completes the model of `convert_float` in place."""
    if info.exported.quantization == "float16":
        _halve_weights(model)
    elif info.exported.quantization == "float16_arithmetic":
        model = _halve_arithmetic(model)
    model.producer_name, model.producer_version = METADATA_KEY, info.exported.version
    onnx.helper.set_model_props(model, {METADATA_KEY: info.to_text()})
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def operations(path: Path) -> list[tuple[str, tuple[int, ...]]]:
    """(operation, shape of its first output) of the whole file; raises UserError for a damaged one."""
    model = onnx.shape_inference.infer_shapes(_load(path))
    shapes = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in [*model.graph.value_info, *model.graph.output]
    }
    return [(node.op_type, shapes.get(node.output[0], ())) for node in model.graph.node]


def read_info(path: Path) -> ModelInfo:
    """The description inside a file; raises UserError if there is none."""
    return ModelInfo.from_text(read_metadata(path), f"{path}: its metadata", "export the model again")


def read_metadata(path: Path) -> str:
    """The text of the description inside a file; raises UserError if there is none."""
    properties = {entry.key: entry.value for entry in _load(path).metadata_props}
    if METADATA_KEY not in properties:
        raise UserError(f"{path} has no metadata {METADATA_KEY}; export the model again")
    return properties[METADATA_KEY]


def _load(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf's errors have no common base class across versions
        raise UserError(f"{path} is not a complete ONNX file; export the model again") from error


def _plain_resizes(model: onnx.ModelProto) -> None:
    """Replaces TensorFlow's deprecated resizing rule, which tf2onnx writes, by one that is equal for whole factors."""
    for node in model.graph.node:
        for attribute in node.attribute if node.op_type == "Resize" else ():
            if attribute.name == "coordinate_transformation_mode":
                attribute.s = b"asymmetric"


def _halve_weights(model: onnx.ModelProto) -> None:
    """Stores weights in float16, with a Cast to float32 that runtimes do once, on loading."""
    of_weights = (node for node in model.graph.node if node.op_type in WEIGHTED)
    halved = {node.input[1] for node in of_weights if any(layer in node.name for layer in HALVED_LAYERS)}
    casts = []
    for tensor in model.graph.initializer:
        if tensor.name in halved and tensor.data_type == onnx.TensorProto.FLOAT:
            casts.append(
                onnx.helper.make_node(
                    "Cast", [f"{tensor.name}_half"], [tensor.name], f"{tensor.name}_cast", to=onnx.TensorProto.FLOAT
                )
            )
            half = onnx.numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{tensor.name}_half"))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _halve_arithmetic(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    exact = [node.name for node in model.graph.node if any(layer in node.name for layer in FLOAT32_LAYERS)]
    halved = OnnxModel(convert_float_to_float16(model, keep_io_types=True, node_block_list=exact))
    halved.topological_sort()  # the casts were appended
    return halved.model


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    shared_flags.define_export_flags(values)
    flags.DEFINE_enum(
        "precision",
        "float32",
        list(FORMS),
        "Precision of the weights; with float16_arithmetic, also of the computation.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "opset", DEFAULT_OPSET, "ONNX operator set.", lower_bound=OPSETS[0], upper_bound=OPSETS[1], flag_values=values
    )
    flags.DEFINE_enum(
        "layout",
        "nhwc",
        LAYOUTS,
        "Image layout: channels last, as from cameras, or channels first.",
        flag_values=values,
    )


def main(arguments: list[str], values: flags.FlagValues = flags.FLAGS) -> int:
    """Runs the command."""
    return shared_flags.run_export(
        arguments,
        values,
        ".onnx",
        lambda source, form: lambda graph, info: convert(graph, info, values.opset),
        quantization=FORMS[values.precision],
        layout=values.layout,
    )


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    command.run(main)
