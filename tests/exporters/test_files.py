"""Every form of export: the content of its file, and agreement with the Keras model."""

import hashlib
import json

import numpy as np
import onnx as onnx_package
import pytest
from ai_edge_litert import schema_py_generated as schema

from exporters import EXPORTERS, exporter_of, tflite_file, worker
from exporters.compare import compare_file, file_outputs, read_part
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.inference import runtimes
from keras_pose.io.model_info import read_sidecar, sidecar_path
from tests.exporters.conftest import FORMS, HEATMAP_PEAK, SIZE

JOINTS = HUMAN36M_17.num_joints
SHAPES = {
    "keypoints_2d": (1, JOINTS, 2),
    "scores": (1, JOINTS),
    "pose_3d": (1, JOINTS, 3),
    "heatmaps": (1, 16, 24, JOINTS),
}
OUTPUTS = {
    "pose": {"keypoints_2d", "scores", "pose_3d"},
    "keypoints": {"keypoints_2d", "scores", "heatmaps"},
    "lifter": {"pose_3d"},
}
# Mean distances (px, mm) that rounding may cost a model that was not trained; float32 keeps its own tolerance.
MEAN_BOUNDS = {
    "none": (0.001, 0.01),
    "float16": (0.1, 2.0),
    "float16_arithmetic": (0.1, 2.0),
    "dynamic": (1.0, 40.0),
    "int8": (2.0, 40.0),
}


@pytest.fixture(params=FORMS)
def name(request):
    return request.param


def test_every_exporter_is_covered():
    assert {f".{name.rpartition('.')[2]}" for name in FORMS} == set(EXPORTERS) == set(runtimes.SESSIONS)


def test_shapes_and_types_are_fixed(exported, name):
    form = FORMS[name]
    session = runtimes.open_session(exported[name])
    image = (1, *SIZE, 3) if form.layout == "nhwc" else (1, 3, *SIZE)
    inputs = {"keypoints_2d": ((1, JOINTS, 2), np.float32)}
    if form.part != "lifter":
        inputs = {"image": (image, np.dtype(form.input_dtype))}
    assert session.inputs == inputs
    outputs = session.infer({key: np.zeros(shape, dtype) for key, (shape, dtype) in inputs.items()})
    assert set(outputs) == OUTPUTS[form.part]
    for key, value in outputs.items():
        assert value.shape == SHAPES[key] and value.dtype == np.float32, key


def test_operations_are_among_those_that_phones_run(exported, name):
    exporter = exporter_of(exported[name])
    found = exporter.operations(exported[name])
    assert {operation for operation, _ in found} <= exporter.OPERATIONS
    assert max(len(shape) for _, shape in found) <= 4
    resizes = {operation for operation, _ in found if operation.upper().startswith("RESIZE")}
    assert resizes == (set() if FORMS[name].part == "lifter" else {exporter_resize(name)})


def exporter_resize(name):
    return "Resize" if name.endswith(".onnx") else "RESIZE_NEAREST_NEIGHBOR"


def test_metadata_inside_and_beside(exported, name, runs):
    path, form = exported[name], FORMS[name]
    info = exporter_of(path).read_info(path)
    assert info == read_sidecar(path)
    inside = json.loads(sidecar_path(path).read_text())
    assert inside == info.to_dict()
    assert inside["skeleton"] == HUMAN36M_17.to_dict()
    assert inside["joint_names"] == list(HUMAN36M_17.joint_names)
    assert [tuple(edge) for edge in inside["edges"]] == list(HUMAN36M_17.bones)
    assert (inside["part"], inside["quantization"], inside["layout"]) == (form.part, form.quantization, form.layout)
    assert inside["input_size"] == list(SIZE) and inside["colour_order"] == "RGB"
    assert inside.get("flip_test", False) is form.flip_test
    assert set(inside["outputs"]) == OUTPUTS[form.part]
    weights = (runs["pose"] / "model.keras").read_bytes()
    assert inside["source"] == {"run": "pose", "model_sha256": hashlib.sha256(weights).hexdigest()}
    session = runtimes.open_session(path)
    described = {key: (tuple(value["shape"]), np.dtype(value["dtype"])) for key, value in inside["inputs"].items()}
    assert described == session.inputs


def test_equals_keras_over_real_samples(exported, name, source, samples, expected):
    path = exported[name]
    part = read_part(path, source)
    of_keras = expected[part, FORMS[name].flip_test]
    result = compare_file(path, source, samples, of_keras)
    px, mm = MEAN_BOUNDS[FORMS[name].quantization]
    assert result.mean_px is None if part == "lifter" else 0 <= result.mean_px < px, result
    assert result.mean_mm is None if part == "keypoints" else 0 <= result.mean_mm < mm, result
    assert result.passed or FORMS[name].quantization != "none", result
    assert result.samples == len(samples) == 6
    if part != "lifter":
        found = file_outputs(path, source, part, samples)
        tolerance = {"none": 1e-5, "float16": 2e-3, "float16_arithmetic": 2e-3}.get(FORMS[name].quantization, 0.1)
        assert np.allclose(found["scores"], of_keras["scores"], atol=tolerance)


def test_the_flip_test_is_inside_the_file_and_costs_no_bytes(exported, expected, samples):
    """The network is stored once and runs twice."""
    plain, tested = (exported[f"pose{name}_int8.tflite"].stat().st_size for name in ("", "_flip_test"))
    assert tested < 1.3 * plain  # the graph is twice as long, its weights are not
    apart = np.linalg.norm(expected["pose", True]["keypoints_2d"] - expected["pose", False]["keypoints_2d"], axis=-1)
    assert apart.max() > 0.02  # of the crop: a file that left the mirrored view out would not pass as exact


def test_scores_are_shares_of_the_runs_own_peak(exported, samples):
    session = runtimes.open_session(exported["keypoints.tflite"])
    outputs = session.infer({"image": samples.image[:1].astype(np.float32)})
    expected = np.clip(outputs["heatmaps"].max((1, 2)) / HEATMAP_PEAK, 0, 1)
    assert np.allclose(outputs["scores"], expected, atol=1e-6) and 0 < expected.max() < 1


def test_int8_keeps_heatmaps_soft_argmax_lifter_and_thin_residuals_in_float(exported):
    graph = schema.Model.GetRootAs(exported["pose_int8.tflite"].read_bytes()).Subgraphs(0)
    found = tflite_file.operations(exported["pose_int8.tflite"])
    outputs = [graph.Tensors(graph.Operators(i).Outputs(0)).Type() for i in range(graph.OperatorsLength())]
    int8, float32 = schema.TensorType.INT8, schema.TensorType.FLOAT32

    def types(name, wanted=lambda shape: True):
        return {kind for (op, shape), kind in zip(found, outputs, strict=True) if op == name and wanted(shape)}

    heatmaps = (1, 16, 24, JOINTS)
    assert types("CONV_2D", lambda shape: shape != heatmaps) == {int8}
    assert types("CONV_2D", lambda shape: shape == heatmaps) == {float32}
    assert types("SOFTMAX") == types("FULLY_CONNECTED") == {float32}
    maps = 4  # dimensions, of the backbone's additions
    assert types("ADD", lambda shape: len(shape) == maps and 3 < shape[3] <= 16) == {float32}
    assert types("ADD", lambda shape: len(shape) == maps and shape[3] > 16) == {int8}


def test_smaller_forms_are_smaller(exported):
    size = {name: path.stat().st_size for name, path in exported.items()}
    for kind in ("tflite", "onnx"):
        assert size[f"pose_float16.{kind}"] < 0.6 * size[f"pose.{kind}"]
    assert size["pose_int8.tflite"] < 0.5 * size["pose.tflite"]


def test_standard_tflite_metadata(exported):
    """Where readers of TFLite look: the buffer of that name, with its identifier, and an archive at the end."""
    import zipfile

    path = exported["pose.tflite"]
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    buffer = bytes(model.buffers[entry.buffer].data)
    assert buffer[4:8] == b"M001"
    for word in (b"keypoints_2d", b"pose_3d", b"scores", b"image", b"keras_pose.json"):
        assert word in buffer
    assert zipfile.ZipFile(path).namelist() == ["keras_pose.json"]
    names = [model.subgraphs[0].tensors[index].name for index in model.subgraphs[0].outputs]
    assert names == [b"keypoints_2d", b"pose_3d", b"scores"]


def test_no_tensor_is_flattened_to_one_axis(exported):
    """Keras adds (1, N) tensors through a flattened one, which GPU delegates take for a batch of N."""
    assert all(len(shape) > 1 for _, shape in exporter_of(exported["pose.tflite"]).operations(exported["pose.tflite"]))


def test_onnx_opset(exported):
    assert onnx_package.load(exported["pose.onnx"]).opset_import[0].version == 18


@pytest.mark.parametrize("name", ["pose_float16.onnx", "pose_float16_arithmetic.onnx", "lifter_float16.onnx"])
def test_onnx_in_half_precision(exported, name):
    """Every weight of the network and of the lifter is halved; only one form multiplies halves."""
    model = onnx_package.load(exported[name])
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    half = onnx_package.TensorProto.FLOAT16
    halves = {name for name, kind in types.items() if kind == half}
    assert len(halves) >= (6 if name.startswith("lifter") else 40)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    if name == "pose_float16_arithmetic.onnx":
        assert any(types.get(node.input[1]) == half for node in convolutions)
    else:
        casts = {node.output[0] for node in model.graph.node if node.op_type == "Cast" and node.input[0] in halves}
        assert len(casts) == len(halves)
        weighted = [n for n in model.graph.node if n.op_type in ("Conv", "Gemm") and "/soft_argmax" not in n.name]
        assert weighted and all(node.input[1] in casts for node in weighted)


@pytest.mark.parametrize("damage", ["truncated", "altered", "empty"])
@pytest.mark.parametrize("name", ["lifter.tflite", "lifter.onnx"])
def test_damaged_files_are_errors(exported, tmp_path, name, damage):
    content = bytearray(exported[name].read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 3]
    elif damage == "altered":
        content[8:4000:3] = b"\xff" * len(content[8:4000:3])
    else:
        content = b""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(runtimes.UserError, match=name.replace(".", r"\.")):
        worker.measure(path, threads=1)
