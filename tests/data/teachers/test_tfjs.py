"""Graph models of TensorFlow.js: a small one with every fused operation, and MoveNet's form."""

import base64
import json

import numpy as np
import pytest
import tensorflow as tf

from keras_pose.core.errors import UserError
from keras_pose.data.teachers.tfjs import load_tfjs_graph
from keras_pose.evaluation.peers import open_peer

HEIGHT, WIDTH = 4, 6


def text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def node(op: str, name: str, *inputs: str, **attributes) -> dict:
    return {"op": op, "name": name, "input": list(inputs), "attr": attributes}


def constant(name: str, dtype: str = "DT_FLOAT") -> dict:
    return node("Const", name, dtype={"type": dtype}, value={"tensor": {"dtype": dtype, "tensorShape": {}}})


def fused(op: str, name: str, below: str, operations: list[str], **attributes) -> dict:
    own = {"fused_ops": {"list": {"s": [text(o) for o in operations]}}, "num_args": {"i": "1"}}
    return node(op, name, below, f"{name}_w", f"{name}_b", T={"type": "DT_FLOAT"}, **own, **attributes)


def convolution(stride: int) -> dict:
    ones = {"list": {"i": ["1", "1", "1", "1"]}}
    strides = {"list": {"i": ["1", str(stride), str(stride), "1"]}}
    return {"padding": {"s": text("SAME")}, "strides": strides, "dilations": ones, "data_format": {"s": text("NHWC")}}


def dimensions(shape) -> dict:
    return {"dim": [{"size": str(size)} for size in shape]}


def quantize(values: np.ndarray, dtype: str | None) -> tuple[np.ndarray, np.ndarray, dict]:
    """How the converter stores values: (as stored, as they come back, the manifest's entry)."""
    if dtype is None:
        return values, values, {}
    if dtype == "float16":
        stored = values.astype(np.float16)
        return stored, stored.astype(np.float32), {"quantization": {"dtype": dtype, "original_dtype": "float32"}}
    low, scale = float(values.min()), float(np.ptp(values)) / np.iinfo(dtype).max
    stored = np.round((values - low) / scale).astype(dtype)
    return (
        stored,
        (stored * scale + low).astype(np.float32),
        {"quantization": {"dtype": dtype, "scale": scale, "min": low}},
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A picture of 4 x 6 through a convolution, a depthwise one and a matrix product to (1, 1, 17, 3)."""
    rng = np.random.default_rng(0)
    kinds = {
        "conv_w": ((3, 3, 3, 5), "float16"),
        "conv_b": ((5,), None),
        "deep_w": ((3, 3, 5, 1), "uint8"),
        "deep_b": ((5,), "uint16"),
        "dense_w": ((30, 51), "float16"),
        "dense_b": ((51,), None),
    }
    content, entries, values = b"", [], {}
    for name, (shape, dtype) in kinds.items():
        stored, values[name], extra = quantize(rng.normal(0, 0.1, shape).astype(np.float32), dtype)
        content += stored.tobytes()
        entries.append({"name": name, "shape": list(shape), "dtype": "float32"} | extra)
    for name, shape in (("rows", [1, 30]), ("joints", [1, 1, 17, 3])):
        content += np.array(shape, np.int32).tobytes()
        entries.append({"name": name, "shape": [len(shape)], "dtype": "int32"})
    kernel, shape = convolution(1), dimensions((1, HEIGHT, WIDTH, 3))
    reshape = {"T": {"type": "DT_FLOAT"}, "Tshape": {"type": "DT_INT32"}}
    nodes = [
        node("Placeholder", "picture", dtype={"type": "DT_INT32"}, shape={"shape": shape}),
        *(constant(name) for name in kinds),
        *(constant(name, "DT_INT32") for name in ("rows", "joints")),
        node("Cast", "float", "picture", SrcT={"type": "DT_INT32"}, DstT={"type": "DT_FLOAT"}),
        fused("_FusedConv2D", "conv", "float", ["BiasAdd", "Relu6"], **convolution(2), epsilon={"f": 0}),
        fused("FusedDepthwiseConv2dNative", "deep", "conv", ["BiasAdd"], **kernel),
        node("Reshape", "row", "deep", "rows", **reshape),
        fused("_FusedMatMul", "dense", "row", ["BiasAdd", "Sigmoid"], transpose_a={"b": False}),
        node("Reshape", "result", "dense", "joints", **reshape),
    ]
    folder = tmp_path_factory.mktemp("tfjs")
    (folder / "a.bin").write_bytes(content[:100])
    (folder / "b.bin").write_bytes(content[100:])
    signature = {
        "inputs": {"p": {"name": "picture:0", "dtype": "DT_INT32", "tensorShape": shape}},
        "outputs": {"r": {"name": "result:0", "dtype": "DT_FLOAT", "tensorShape": dimensions((1, 1, 17, 3))}},
    }
    manifest = [{"paths": ["a.bin", "b.bin"], "weights": entries}]
    file = {"modelTopology": {"node": nodes, "versions": {}}, "weightsManifest": manifest, "signature": signature}
    (folder / "toy.json").write_text(json.dumps(file))
    return folder / "toy.json", values


def expected(values: dict, picture: np.ndarray) -> np.ndarray:
    """The same, by TensorFlow's own operations on the weights that the file can hold."""
    x = tf.nn.relu6(tf.nn.conv2d(np.float32(picture), values["conv_w"], 2, "SAME") + values["conv_b"])
    x = tf.nn.depthwise_conv2d(x, values["deep_w"], (1, 1, 1, 1), "SAME") + values["deep_b"]
    return tf.sigmoid(tf.reshape(x, (1, 30)) @ values["dense_w"] + values["dense_b"]).numpy().reshape(1, 1, 17, 3)


def test_the_graph_computes_what_its_operations_say(model):
    path, values = model
    graph = load_tfjs_graph(path)
    assert graph.input_shape == (1, HEIGHT, WIDTH, 3) and graph.output_shape == (1, 1, 17, 3)
    picture = np.random.default_rng(1).integers(0, 20, (1, HEIGHT, WIDTH, 3)).astype(np.uint8)
    found = graph.run(picture)
    np.testing.assert_allclose(found, expected(values, picture), atol=1e-6)
    assert found.std() > 0.01


def test_movenet_gives_y_before_x(model):
    path, values = model
    peer = open_peer(str(path))
    pictures = np.random.default_rng(2).integers(0, 20, (2, HEIGHT, WIDTH, 3)).astype(np.uint8)
    outputs = peer.run(pictures)
    rows = np.concatenate([expected(values, picture[None])[0] for picture in pictures])  # (2, 17, 3)
    np.testing.assert_allclose(outputs["keypoints_2d"], rows[..., [1, 0]], atol=1e-6)
    np.testing.assert_allclose(outputs["scores"], rows[..., 2], atol=1e-6)
    assert peer.input_size == (HEIGHT, WIDTH) and peer.skeleton.name == "coco_17"


def test_what_is_broken_is_told(model, tmp_path):
    source = model[0]
    for name in ("a.bin", "b.bin"):
        (tmp_path / name).write_bytes((source.parent / name).read_bytes())

    def broken(change) -> str:
        values = json.loads(source.read_text())
        change(values)
        (tmp_path / "toy.json").write_text(json.dumps(values))
        return str(tmp_path / "toy.json")

    def unknown_activation(values):
        values["modelTopology"]["node"][10]["attr"]["fused_ops"]["list"]["s"][1] = text("Prelu")

    with pytest.raises(UserError, match="conv fuses BiasAdd, Prelu, which this loader does not split"):
        open_peer(broken(unknown_activation))
    with pytest.raises(UserError, match="toy.json is no graph model of TensorFlow.js .*signature.*get the .json"):
        open_peer(broken(lambda values: values.pop("signature")))
    shape = dimensions((1, 1, 5, 3))
    with pytest.raises(UserError, match=r"to \(1, 1, 5, 3\), MoveNet maps an image to \(1, 1, 17, 3\)"):
        open_peer(broken(lambda values: values["signature"]["outputs"]["r"].update(tensorShape=shape)))
    path = broken(lambda values: None)
    (tmp_path / "b.bin").write_bytes(b"")
    with pytest.raises(UserError, match="a.bin, b.bin ends before conv_w; get the .bin again"):
        open_peer(path)
    (tmp_path / "b.bin").unlink()
    with pytest.raises(UserError, match="toy.json is no graph model.*b.bin"):
        open_peer(path)
