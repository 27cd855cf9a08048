"""Malicious files: none runs code, reads another file or fills the memory; each gives a one-line error."""

import base64
import io
import json
import marshal
import os
import pickle
import zipfile

import h5py
import numpy as np
import pytest

from exporters import tflite_file
from keras_pose.core.errors import UserError
from keras_pose.data.sources import base
from keras_pose.inference.runtimes import open_session
from keras_pose.io.archives import check_archive
from keras_pose.models import model_folder
from keras_pose.models.pose_model import PoseModelConfig, PoseStatistics, build_lifter
from keras_pose.training import checkpoint
from tests.faults.memory import peak_growth_mb

FLAG = "flag"
BOMB = 72 << 20  # bytes of zeros


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A .keras file of this project."""
    statistics = {
        f"{name}_{kind}": np.full((17, size), kind == "std", float).tolist()
        for name, size in (("keypoints_2d", 2), ("pose_3d", 3))
        for kind in ("mean", "std")
    }
    model = build_lifter(PoseModelConfig(width=8), PoseStatistics.from_dict(statistics))
    path = tmp_path_factory.mktemp("good") / "model.keras"
    model.save(path)
    return path


def parts_of(path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, parts: dict[str, bytes], compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def with_config(good, path, change):
    """The good file with `change(layers)` applied to its list of layers."""
    parts = parts_of(good)
    config = json.loads(parts["config.json"])
    change(config["config"]["layers"])
    return write(path, parts | {"config.json": json.dumps(config).encode()})


def layer(class_name: str, module: str = "keras.layers", registered=None, **config) -> dict:
    return {
        "class_name": class_name,
        "module": module,
        "registered_name": registered,
        "config": {"name": "bad"} | config,
        "name": "bad",
        "inbound_nodes": [],
        "build_config": None,
    }


def code_of(folder) -> dict:
    """A lambda as Keras stores it: marshalled code that writes a file."""
    function = compile(f"lambda x: open({str(folder / FLAG)!r}, 'w')", "a", "eval").co_consts[0]
    code = base64.b64encode(marshal.dumps(function)).decode()
    return {"class_name": "__lambda__", "config": {"code": code, "defaults": None, "closure": None}}


HOSTILE_LAYERS = {
    "a lambda": lambda folder: layer("Lambda", function=code_of(folder)),
    "a lambda as an activation": lambda folder: layer("Dense", units=2, activation=code_of(folder)),
    "os.system": lambda folder: layer("system", "os", command=f"touch {folder / FLAG}"),
    "a function by name": lambda folder: layer(
        "function", "builtins", registered="function", config=f"touch {folder / FLAG}"
    ),
    "a hidden module": lambda folder: layer("run", "keras.src.utils.file_utils", origin="x"),
    "a registered stranger": lambda folder: layer("Dense", registered="evil>Dense", units=2),
    "a module of ours that is no layer": lambda folder: layer("write_json", "keras_pose.io.atomic", "keras_pose>write"),
    "a SavedModel": lambda folder: layer("TFSMLayer", filepath=str(folder)),
    "a word list from a file": lambda folder: layer("StringLookup", vocabulary="/etc/passwd"),
    "a layer of 10^12 numbers": lambda folder: layer("Dense", units=10**12),
}


@pytest.mark.parametrize("name", HOSTILE_LAYERS)
def test_a_keras_file_runs_nothing(tmp_path, good, name):
    bad = HOSTILE_LAYERS[name](tmp_path)
    path = with_config(good, tmp_path / "model.keras", lambda layers: layers.append(bad))
    with pytest.raises(UserError, match="model.keras (asks for|has units of).* do not trust it") as caught:
        model_folder.load_model(path)
    assert "\n" not in str(caught.value) and not (tmp_path / FLAG).exists()


def test_a_layer_inside_a_layer_is_checked_too(tmp_path, good):
    inner = layer("TimeDistributed", layer=layer("Lambda", function=code_of(tmp_path)))
    path = with_config(good, tmp_path / "model.keras", lambda layers: layers.append(inner))
    with pytest.raises(UserError, match="asks for"):
        model_folder.load_model(path)
    assert not (tmp_path / FLAG).exists()


@pytest.mark.parametrize("name", ["../../outside.txt", "assets/a.txt", "/etc/absolute"])
def test_a_keras_file_with_other_parts_is_refused(tmp_path, good, name):
    path = write(tmp_path / "model.keras", parts_of(good) | {name: b"x"})
    with pytest.raises(UserError, match="does not have the parts of a Keras model"):
        model_folder.load_model(path)
    assert os.listdir(tmp_path) == ["model.keras"]


def test_a_keras_file_that_unpacks_to_gigabytes_is_refused_at_once(tmp_path, good):
    parts = parts_of(good) | {"model.weights.h5": bytes(BOMB)}
    path = write(tmp_path / "model.keras", parts, zipfile.ZIP_DEFLATED)
    del parts

    def load():
        with pytest.raises(UserError, match="would unpack to 7. MB, far more than it holds"):
            model_folder.load_model(path)

    assert peak_growth_mb(load) < 32


def with_weights(good, path, change):
    """The good file with `change(h5 file)` applied to its weights."""
    parts = parts_of(good)
    content = io.BytesIO(parts["model.weights.h5"])
    with h5py.File(content, "r+") as file:
        change(file)
    return write(path, parts | {"model.weights.h5": content.getvalue()})


def promise_much(file) -> None:
    file.create_dataset("vast", (1 << 20, 1 << 20), "f4", chunks=(64, 64))


def point_outside(file) -> None:
    file["outside"] = h5py.ExternalLink("/etc/hostname", "/")


def point_inside(file) -> None:
    file["inside"] = h5py.SoftLink("/")


def hold_itself(file) -> None:
    file["itself"] = file["/"]


def read_elsewhere(file) -> None:
    file.create_dataset("elsewhere", (8,), "u1", external=[("/etc/hostname", 0, 8)])


def be_virtual(file) -> None:
    layout = h5py.VirtualLayout((8,), "f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "data", (8,))
    file.create_virtual_dataset("virtual", layout)


@pytest.mark.parametrize("change", [promise_much, point_outside, point_inside, hold_itself, read_elsewhere, be_virtual])
def test_weights_that_are_not_in_the_file_are_refused(tmp_path, good, change):
    path = with_weights(good, tmp_path / "model.keras", change)
    with pytest.raises(UserError, match="model.keras: .* do not trust it"):
        model_folder.load_model(path)


def test_the_good_file_itself_loads_packed_or_not(tmp_path, good):
    expected = model_folder.load_model(good).get_weights()
    packed = write(tmp_path / "packed.keras", parts_of(good), zipfile.ZIP_DEFLATED)
    for a, b in zip(model_folder.load_model(packed).get_weights(), expected, strict=True):
        np.testing.assert_array_equal(a, b)


# --- arrays ----------------------------------------------------------------------------------------------------


class Touches:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def pickled_npz(path, folder):
    np.savez(path, meta=np.array([Touches(folder / FLAG)], object), S=np.zeros(2))
    return path


def test_a_pickle_in_arrays_is_not_run(tmp_path):
    path = pickled_npz(tmp_path / "a.npz", tmp_path)
    (tmp_path / FLAG).unlink(missing_ok=True)
    with pytest.raises(UserError, match="a.npz is pickled, which can run code; if you trust it, add --allow_pickle"):
        base.load_npz(path, {"meta": (None,)})
    with pytest.raises(UserError, match="a.npz is not a checkpoint"):
        checkpoint.load_progress(path)
    (tmp_path / "bare.npz").write_bytes(pickle.dumps(Touches(tmp_path / FLAG)))
    for read in (lambda p: base.load_npz(p, {"meta": (None,)}), checkpoint.load_progress):
        with pytest.raises(UserError, match="bare.npz"):
            read(tmp_path / "bare.npz")
    assert not (tmp_path / FLAG).exists()


def npy(shape: tuple[int, ...]) -> bytes:
    """The header of an array without its numbers."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "compression"),
    [(bytes(BOMB), zipfile.ZIP_DEFLATED), (npy((1 << 40,)), zipfile.ZIP_STORED)],
)
def test_arrays_that_unpack_to_gigabytes_are_refused(tmp_path, content, compression):
    path = write(tmp_path / "a.npz", {"meta.npy": content, "S.npy": content}, compression)
    del content

    def read():
        with pytest.raises(UserError, match="a.npz"):
            base.load_npz(path, {"S": (None,)})
        with pytest.raises(UserError, match="a.npz"):
            checkpoint.load_progress(path)

    assert peak_growth_mb(read) < 64


# --- exported files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x18\0\0\0TFL3", b"\xff" * 64, b"\x1c\0\0\0TFL3" + bytes(100)])
@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_a_file_that_is_not_an_export_gives_a_one_line_error(tmp_path, content, suffix):
    path = tmp_path / f"pose{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"pose{suffix} is not a.* export the model again"):
        open_session(path, 1)


def test_metadata_that_unpack_to_gigabytes_are_refused(tmp_path):
    path = write(tmp_path / "a.tflite", {tflite_file.ASSOCIATED_FILE: bytes(BOMB)}, zipfile.ZIP_DEFLATED)

    def read():
        with pytest.raises(UserError, match="would unpack to 7. MB"):
            tflite_file.read_info(path)

    assert peak_growth_mb(read) < 32


def test_an_archive_may_be_large_if_its_content_is(tmp_path):
    numbers = np.random.default_rng(0).bytes(1 << 20)
    path = write(tmp_path / "a.zip", {"a": numbers, "b": bytes(1 << 20)}, zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(path) as archive:
        check_archive(archive, path)
        with pytest.raises(UserError, match="would unpack"):
            check_archive(archive, path, largest=1 << 20)
