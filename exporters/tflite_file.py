"""Reads and writes parts of .tflite files: operations, names, and the standard TFLite metadata.

The metadata is in the two places that TFLite tools read. The buffer `TFLITE_METADATA` names and describes every tensor
(Netron and Android Studio show it). A zip archive at the end of the file contains all of it as `keras_pose.json`
(Android's MetadataExtractor reads it, and `unzip -p pose.tflite keras_pose.json`).
"""

import io
import zipfile
from pathlib import Path
from typing import NamedTuple

import flatbuffers
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from keras_pose.core.errors import UserError
from keras_pose.io.archives import check_archive
from keras_pose.io.model_info import METADATA_KEY, Description, ModelInfo

ASSOCIATED_FILE = f"{METADATA_KEY}.json"
STANDARD_BUFFER = "TFLITE_METADATA"
STANDARD_IDENTIFIER = b"M001"
OPERATION_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}


def finish(content: bytes, info: Description) -> bytes:
    """Adds the contract's names and metadata to the converter's file, and simplifies residual additions."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    _name_tensors(model)
    _drop_flattening(model)
    buffer = schema.BufferT()
    buffer.data = list(_standard_metadata(info))
    entry = schema.MetadataT()
    entry.name, entry.buffer = STANDARD_BUFFER, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def append_metadata(content: bytes, info: Description) -> bytes:
    """Appends the archive with the metadata, as the last step."""
    stream = io.BytesIO(content)
    stream.seek(0, io.SEEK_END)
    with zipfile.ZipFile(stream, "a") as archive:
        entry = zipfile.ZipInfo(ASSOCIATED_FILE)  # without a time: the same model gives the same bytes
        archive.writestr(entry, info.to_text())
    return stream.getvalue()


def read_info(path: Path) -> ModelInfo:
    """The description inside a file; raises UserError if there is none."""
    return ModelInfo.from_text(read_metadata(path), f"{path}: its {ASSOCIATED_FILE}", "export the model again")


def read_metadata(path: Path) -> bytes:
    """The text of the description inside a file; raises UserError if there is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            check_archive(archive, path)
            return archive.read(ASSOCIATED_FILE)
    except UserError:
        raise
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise UserError(f"{path} contains no {ASSOCIATED_FILE}; export the model again") from error


def operations(path: Path) -> list[tuple[str, tuple[int, ...]]]:
    """(operation, shape of its first output) of the whole file; raises UserError for a damaged one."""
    try:
        return [(operation.kind, operation.shape) for operation in read_operations(path.read_bytes())]
    except Exception as error:  # flatbuffers does not check its input and may fail in any way
        raise UserError(f"{path} is not a complete TFLite file ({error!r}); export the model again") from error


class Operation(NamedTuple):
    """One operation of a file: the names of its inputs, and the name and shape of its first output."""

    kind: str
    inputs: tuple[str, ...]
    output: str
    shape: tuple[int, ...]


def read_operations(content: bytes) -> list[Operation]:
    """The operations of a whole file in the order of execution."""
    model = schema.Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    found = []
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = OPERATION_NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        inputs = [operator.Inputs(i) for i in range(operator.InputsLength())]
        names = tuple(graph.Tensors(i).Name().decode() for i in inputs if i >= 0)  # -1: an absent optional input
        output = graph.Tensors(operator.Outputs(0))
        found.append(Operation(kind, names, output.Name().decode(), tuple(output.ShapeAsNumpy().tolist())))
    return found


def _name_tensors(model: schema.ModelT) -> None:
    """Gives inputs and outputs the names and order of the signature, for tools that only know tensors."""
    graph = model.subgraphs[0]
    (signature,) = model.signatureDefs
    for tensor in [*signature.inputs, *signature.outputs]:
        graph.tensors[tensor.tensorIndex].name = tensor.name
    graph.outputs = [tensor.tensorIndex for tensor in sorted(signature.outputs, key=lambda tensor: tensor.name)]


def _drop_flattening(model: schema.ModelT) -> None:
    """Undoes a trick of Keras, which adds two (1, N) tensors by flattening one to (N,), like a bias.

    GPU delegates treat the first axis as the batch and refuse such a RESHAPE, which the addition does not need.
    """
    graph = model.subgraphs[0]
    codes = [OPERATION_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
    flattened = {}
    for operator in graph.operators:
        source, target = operator.inputs[0], operator.outputs[0]
        if codes[operator.opcodeIndex] == "RESHAPE" and len(graph.tensors[target].shape) == 1:
            flattened[int(target)] = source
    for operator in graph.operators:
        if codes[operator.opcodeIndex] == "ADD":
            operator.inputs = [flattened.get(int(index), index) for index in operator.inputs]
    used = {int(index) for operator in graph.operators for index in operator.inputs} | set(map(int, graph.outputs))
    graph.operators = [
        op for op in graph.operators if int(op.outputs[0]) in used or int(op.outputs[0]) not in flattened
    ]
    _drop_unused_tensors(model)


def _drop_unused_tensors(model: schema.ModelT) -> None:
    """Removes tensors that no operation uses, and renumbers the others."""
    graph = model.subgraphs[0]
    lists = [(owner, name) for owner in [graph, *graph.operators] for name in ("inputs", "outputs")]
    used = sorted({int(index) for owner, name in lists for index in getattr(owner, name) if index >= 0})
    number = {old: new for new, old in enumerate(used)} | {-1: -1}  # -1: an absent optional input
    for owner, name in lists:
        setattr(owner, name, [number[int(index)] for index in getattr(owner, name)])
    for signature in model.signatureDefs:
        for tensor in [*signature.inputs, *signature.outputs]:
            tensor.tensorIndex = number[tensor.tensorIndex]
    graph.tensors = [graph.tensors[index] for index in used]


# --- the flatbuffer of https://ai.google.dev/edge/litert/models/metadata: tables by field numbers -------------------


def _standard_metadata(info: Description) -> bytes:
    builder = flatbuffers.Builder(1024)
    inputs = _vector(builder, [_tensor(builder, name, info.unit_of(name)) for name in info.exported.inputs])
    outputs = _vector(builder, [_tensor(builder, name, info.unit_of(name)) for name in info.exported.outputs])
    graph = _table(builder, {2: inputs, 3: outputs})  # SubGraphMetadata
    file = _table(builder, {0: builder.CreateString(ASSOCIATED_FILE)})  # AssociatedFile
    fields = {
        0: builder.CreateString(f"{METADATA_KEY} {info.kind}"),
        1: builder.CreateString(_sentence(info)),
        2: builder.CreateString(info.exported.version),
        3: _vector(builder, [graph]),
        6: _vector(builder, [file]),
        7: builder.CreateString("1.0.0"),  # the oldest parser that knows these fields
    }
    builder.Finish(_table(builder, fields), file_identifier=STANDARD_IDENTIFIER)  # ModelMetadata
    return bytes(builder.Output())


def _sentence(info: Description) -> str:
    """A description of the model for tools that read the standard metadata."""
    if isinstance(info, ModelInfo):
        return f"Joints in the order of {info.skeleton.name}; see {ASSOCIATED_FILE}."
    return f"Finds people in an image; see {ASSOCIATED_FILE}."


def _tensor(builder: flatbuffers.Builder, name: str, unit: str) -> int:
    """TensorMetadata: name and description."""
    return _table(builder, {0: builder.CreateString(name), 1: builder.CreateString(unit)})


def _vector(builder: flatbuffers.Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _table(builder: flatbuffers.Builder, fields: dict[int, int]) -> int:
    builder.StartObject(max(fields) + 1)
    for number, offset in fields.items():
        builder.PrependUOffsetTRelativeSlot(number, offset, 0)
    return builder.EndObject()
