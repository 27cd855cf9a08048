"""Runs TensorFlow.js graph models, the format of many published phone models, in TensorFlow.

A model is `<name>.json` with the graph as JSON of TensorFlow's GraphDef, and .bin files beside it with the weights, one
after the other. TensorFlow.js's converter stores weights in fewer bits and fuses operations for which TensorFlow has no
kernels. This module widens the weights and splits the fused operations again.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf import json_format

from keras_pose.core.errors import UserError

DTYPES = {"float32": np.float32, "int32": np.int32, "bool": np.bool_}
# Types of quantized weights: half precision, or integers that `scale` and `min` map back to floats.
STORED = {"float16": np.float16, "uint8": np.uint8, "uint16": np.uint16}
# By fused operation: the plain operation it begins with.
FUSED = {"_FusedConv2D": "Conv2D", "FusedDepthwiseConv2dNative": "DepthwiseConv2dNative", "_FusedMatMul": "MatMul"}
# Operations that may follow it after the bias; each has one input.
ACTIVATIONS = ("Relu", "Relu6", "Elu", "Sigmoid", "Tanh")
# Attributes that only the fused operation has.
FUSED_ATTRIBUTES = ("fused_ops", "num_args", "epsilon", "leakyrelu_alpha", "use_cudnn_on_gpu")


@dataclass(frozen=True)
class TfjsGraph:
    """A graph with one input and one output.

    `input_shape` and `output_shape` come from the file's signature. `run` maps an array of the one to an array of the
    other; `function` is the same graph as a concrete function of TensorFlow.
    """

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    run: Callable[[np.ndarray], np.ndarray]
    function: Callable


def load_tfjs_graph(path: Path) -> TfjsGraph:
    """Opens `<name>.json`.

    Raises UserError if it is not a graph model, a weight file is missing or too short, or this module cannot split one
    of its fused operations.
    """
    try:
        model = json.loads(path.read_text())
        weights = dict(_weights(path, model["weightsManifest"]))
        graph = json_format.ParseDict(model["modelTopology"], tf.compat.v1.GraphDef())
        (source,), (result,) = (model["signature"][side].values() for side in ("inputs", "outputs"))
        shapes = [tuple(int(dim["size"]) for dim in value["tensorShape"]["dim"]) for value in (source, result)]
        graph = _split_fused(_with_weights(graph, weights))
        wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
        function = wrapped.prune(source["name"], result["name"])
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (OSError, KeyError, TypeError, ValueError, json_format.ParseError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise UserError(
            f"{path} is no graph model of TensorFlow.js ({reason}); get the .json and .bin again"
        ) from error
    dtype = function.inputs[0].dtype
    return TfjsGraph(*shapes, lambda values: function(tf.cast(values, dtype)).numpy(), function)


def _weights(path: Path, manifest: list[dict]) -> Iterator[tuple[str, np.ndarray]]:
    """Yields each weight's name and value, in the type that the graph expects."""
    for group in manifest:
        content = b"".join((path.parent / name).read_bytes() for name in group["paths"])
        for weight in group["weights"]:
            dtype, stored = DTYPES[weight["dtype"]], weight.get("quantization")
            kept = np.dtype(STORED[stored["dtype"]] if stored else dtype)
            size = int(np.prod(weight["shape"])) * kept.itemsize
            if len(content) < size:
                raise UserError(f"{', '.join(group['paths'])} ends before {weight['name']}; get the .bin again")
            values = np.frombuffer(content[:size], kept.newbyteorder("<")).astype(dtype).reshape(weight["shape"])
            content = content[size:]
            if stored and "scale" in stored:
                values = (values * stored["scale"] + stored["min"]).astype(dtype)
            yield weight["name"], values


def _with_weights(graph, weights: dict[str, np.ndarray]):
    """Puts the weights into the graph's constants, which the file leaves empty."""
    for node in graph.node:
        if node.op == "Const":
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(weights[node.name]))
    return graph


def _split_fused(graph):
    """The same graph with plain operations only; the last one of each chain keeps the fused operation's name."""
    plain = tf.compat.v1.GraphDef(versions=graph.versions)
    for node in graph.node:
        if node.op not in FUSED:
            plain.node.add().CopyFrom(node)
            continue
        operations = [name.decode() for name in node.attr["fused_ops"].list.s]
        if operations[:1] != ["BiasAdd"] or not set(operations[1:]) <= set(ACTIVATIONS):
            raise UserError(f"{node.name} fuses {', '.join(operations)}, which this loader does not split")
        first = plain.node.add()
        first.CopyFrom(node)
        first.op, first.name = FUSED[node.op], f"{node.name}/{FUSED[node.op]}"
        first.input[:] = node.input[:2]
        for attribute in FUSED_ATTRIBUTES:
            first.attr.pop(attribute, None)
        below = first.name
        for i, operation in enumerate(operations):
            name = node.name if i == len(operations) - 1 else f"{node.name}/{operation}"
            step = plain.node.add(op=operation, name=name, input=[below])
            step.attr["T"].CopyFrom(node.attr["T"])
            if operation == "BiasAdd":
                step.input.append(node.input[2])
            below = name
    return plain
