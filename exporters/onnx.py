"""Exports a trained run as one .onnx file.

    python -m exporters.onnx --model=runs/e2e --output=pose.onnx

--precision=float16 halves the download, float16_arithmetic also computes in half precision, for GPUs; --layout=nchw
takes the channels first. docs/deploy.md has the measured table.
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
from keras_pose.io.model_info import METADATA_KEY, ModelInfo

# What ONNX Runtime and onnxruntime-web run on CPU and WebGPU.
OPERATIONS = {
    "Add", "Cast", "Conv", "Div", "Gemm", "GlobalMaxPool", "MatMul", "Max", "Min", "Mul", "ReduceMax", "Relu",
    "Reshape", "Resize", "Softmax", "Squeeze", "Sub", "Transpose",
}  # fmt: skip

DEFAULT_OPSET = 18
OPSETS = (13, 18)  # uint8 Cast and per-axis shapes as they are now; tf2onnx writes no later one
FORMS = {"float32": "none", "float16": "float16", "float16_arithmetic": "float16_arithmetic"}  # by --precision
# Operations whose second input is a weight, and the nodes, by their names, whose weights are halved.
WEIGHTED, HALVED_LAYERS = ("Conv", "Gemm", "MatMul"), ("/hrnet", "/encoder")
# Nodes whose names hold one of these compute in float32 in a file of half arithmetic.
FLOAT32_LAYERS = ("normalize_image", "final_layer", "soft_argmax", "encoder")


def convert(graph: keras.Model, info: ModelInfo, opset: int = DEFAULT_OPSET) -> bytes:
    """A fixed-batch model as the bytes of an .onnx file, in the precision that `info.export.quantization` says."""
    return finish(convert_float(graph, opset), info)


def convert_float(graph: keras.Model, opset: int = DEFAULT_OPSET) -> onnx.ModelProto:
    """A fixed-batch model in float32, still without metadata.

    `Model.export` would do the same, but first compares all parts of the model with one another, seconds for W32.
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


def finish(model: onnx.ModelProto, info: ModelInfo) -> bytes:
    """The model of `convert_float`, which is changed, in its final form."""
    if info.export.quantization == "float16":
        _halve_weights(model)
    elif info.export.quantization == "float16_arithmetic":
        model = _halve_arithmetic(model)
    model.producer_name, model.producer_version = METADATA_KEY, info.export.version
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
    """The description inside a file; raises UserError where there is none."""
    properties = {entry.key: entry.value for entry in _load(path).metadata_props}
    if METADATA_KEY not in properties:
        raise UserError(f"{path} holds no metadata {METADATA_KEY}; export the model again")
    return ModelInfo.from_text(properties[METADATA_KEY], f"{path}: its metadata", "export the model again")


def _load(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf's errors share no base class across its versions
        raise UserError(f"{path} is not a whole ONNX file; export the model again") from error


def _plain_resizes(model: onnx.ModelProto) -> None:
    """tf2onnx writes TensorFlow's deprecated rule for resizing; by whole factors the plain one gives the same."""
    for node in model.graph.node:
        for attribute in node.attribute if node.op_type == "Resize" else ():
            if attribute.name == "coordinate_transformation_mode":
                attribute.s = b"asymmetric"


def _halve_weights(model: onnx.ModelProto) -> None:
    """Stores weights in float16; a Cast, which runtimes do once when they load, gives them to the same operations."""
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
    """The command's flags."""
    shared_flags.define_export_flags(values)
    flags.DEFINE_enum(
        "precision",
        "float32",
        list(FORMS),
        "Of the weights; float16_arithmetic: of the network's arithmetic, too.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "opset", DEFAULT_OPSET, "ONNX operator set.", lower_bound=OPSETS[0], upper_bound=OPSETS[1], flag_values=values
    )
    flags.DEFINE_enum(
        "layout", "nhwc", LAYOUTS, "Of the image: channels last, as cameras give them, or first.", flag_values=values
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
