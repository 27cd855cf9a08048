"""Every reader of foreign files, each with a small good file; see `fuzz`."""

import functools
import json
import zipfile
from pathlib import Path

import cv2
import keras
import numpy as np
import OpenEXR
import safetensors.numpy
import torch
from absl import flags

from exporters import onnx as onnx_exporter
from exporters import tflite_file
from keras_pose.core import command
from keras_pose.core.skeleton import HUMAN36M_17, SKELETONS, get_skeleton
from keras_pose.data import audit, shard_jobs, shards
from keras_pose.data.dataset import open_dataset
from keras_pose.data.sources import base, get_source
from keras_pose.data.sources.base import Options
from keras_pose.flags import build_experiment, define_flags
from keras_pose.inference.runtimes import open_session
from keras_pose.io import images
from keras_pose.io.bvh import parse_bvh
from keras_pose.io.model_info import ModelInfo, read_sidecar
from keras_pose.io.torch_file import read_torch_file
from keras_pose.models import model_folder
from keras_pose.models.hrnet_checkpoint import read_checkpoint
from keras_pose.models.keras_file import check_keras_file
from keras_pose.models.pose_model import PoseModelConfig, PoseStatistics, build_lifter
from keras_pose.synthetic.body.garment import read_garment
from keras_pose.synthetic.body.wavefront import read_obj
from keras_pose.synthetic.motion.poses import bvh_texts
from keras_pose.synthetic.render.panorama import load_panorama
from keras_pose.training import checkpoint
from tests.conftest import write_dataset
from tests.data.sources import test_fuzz, test_fuzz_2d
from tests.data.sources.test_mocap import figure
from tests.faults.fuzz import Reader

JSON_TEXT = {"format_version": 1, "kind": "pose", "skeleton": HUMAN36M_17.to_dict(), "input_size": [64, 48]}
OBJ = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nvt 0 0\nvt 1 1\ng skin\nf 1/1 2/2 3/1\nf 1 3 4 2\n"
GARMENT = (
    "name shirt\nobj_file a.obj\nx_scale 0 1 2.0\nverts 0\n0\n1\n2\n0 1 2 0.2 0.3 0.5 0 0 0\ndelete_verts\n1 - 3\n"
)


def write_json(path: Path, values) -> None:
    path.write_text(json.dumps(values))


def tiny_dataset(folder: Path) -> None:
    write_dataset(folder, {"train": 3, "validation": 2})


def read_shard(folder: Path) -> None:
    """A shard whose checksum nobody verified, as if its manifest had been made for it."""
    manifest = shards.read_manifest(folder)
    (entry,) = manifest.splits["train"]
    audit._check_shard(str(folder / entry.file), entry, manifest)


def known_skeletons_only(read):
    """A reader that may register skeletons, which are removed afterwards."""

    @functools.wraps(read)
    def reads(folder: Path):
        before = dict(SKELETONS)
        try:
            return read(folder)
        finally:
            SKELETONS.clear()
            SKELETONS.update(before)

    return reads


def keras_file(folder: Path) -> None:
    statistics = {
        f"{name}_{kind}": np.full((17, size), kind == "std", float).tolist()
        for name, size in (("keypoints_2d", 2), ("pose_3d", 3))
        for kind in ("mean", "std")
    }
    build_lifter(PoseModelConfig(width=4), PoseStatistics.from_dict(statistics)).save(folder / "a.keras")


def tflite_model(folder: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.infer = tf.function(
        lambda image: {"scores": tf.reduce_mean(image, (1, 2))}, [tf.TensorSpec((1, 8, 8, 3), name="image")]
    )
    tf.saved_model.save(module, str(folder / "saved"), signatures=module.infer)
    converted = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved")).convert()
    content = tflite_file.append_metadata(converted, ModelInfo.from_dict(JSON_TEXT))
    (folder / "a.tflite").write_bytes(content)


def onnx_model(folder: Path) -> None:
    import onnx

    tensor = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Identity", ["image"], ["scores"])
    shape = (1, 3)
    graph = onnx.helper.make_graph([node], "a", [tensor("image", 1, shape)], [tensor("scores", 1, shape)])
    model = onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 13)])
    onnx.helper.set_model_props(model, {"keras_pose": json.dumps(JSON_TEXT)})
    (folder / "a.onnx").write_bytes(model.SerializeToString())


def read_flags(folder: Path) -> None:
    """Like the command: absl reports unknown flags."""
    values = flags.FlagValues()
    define_flags(values)
    command.parse_flags(["train", f"--flagfile={folder / 'a.flags'}"], values)
    build_experiment(values)


# What a checkpoint is known by as HRNet's.
HRNET_NAMES = ("conv1.weight", "transition1.0.0.weight", "final_layer.weight")


def torch_file(folder: Path, zipped: bool) -> None:
    value = {"conv1.weight": torch.arange(6.0).reshape(2, 3), "epoch": 3} | {
        name: torch.ones((2, 2, 1, 1)) for name in HRNET_NAMES
    }
    torch.save(value, folder / "a.pth", _use_new_zipfile_serialization=zipped)


def exr(folder: Path) -> None:
    pixels = np.random.default_rng(0).random((16, 32, 3)).astype(np.float32)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"RGB": pixels}).write(str(folder / "a.exr"))


def picture(folder: Path, suffix: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    (folder / f"a{suffix}").write_bytes(cv2.imencode(suffix, image)[1].tobytes())


def hdr(folder: Path) -> None:
    cv2.imwrite(str(folder / "a.hdr"), np.random.default_rng(0).random((16, 32, 3)).astype(np.float32))


def video(folder: Path) -> None:
    writer = cv2.VideoWriter(str(folder / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 24))
    for i in range(3):
        writer.write(np.full((24, 32, 3), 60 * i, np.uint8))
    writer.release()


def saved_checkpoint(folder: Path) -> None:
    variables = {"a": keras.Variable(np.arange(6.0).reshape(2, 3)), "b": keras.Variable(7, dtype="int32")}
    checkpoint.save(folder / "last.npz", checkpoint.Progress(1, 2, 3, {"loss": 0.1}, None, "hash"), variables)


def restored(folder: Path) -> None:
    checkpoint.load_progress(folder / "last.npz")
    checkpoint.restore(
        folder / "last.npz", {"a": keras.Variable(np.zeros((2, 3))), "b": keras.Variable(0, dtype="int32")}
    )


def zipped_bvh(folder: Path) -> None:
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("walk.bvh", figure({}))


def read_zipped_bvh(folder: Path) -> None:
    for name, text in bvh_texts(folder / "a.zip"):
        parse_bvh(text, name)
    get_source("mocap").list_items(folder / "a.zip", Options((64, 64)))


def garment(folder: Path) -> None:
    (folder / "a.obj").write_text(OBJ)
    (folder / "a.mhclo").write_text(GARMENT)


def settings(folder: Path) -> None:
    shard_jobs.start_or_resume(folder, {"source": "toy", "shard_size": 3})


READERS: dict[str, Reader] = {
    "manifest": Reader("manifest.json", tiny_dataset, lambda f: open_dataset(str(f)), 2),
    "shard": Reader("train-00000-of-00001.tfrecord", tiny_dataset, read_shard, 0.3),
    "job settings": Reader("settings.json", settings, settings, 2),
    "model.json": Reader(
        "model.json", lambda f: write_json(f / "model.json", JSON_TEXT), model_folder.read_model_info, 3
    ),
    "sidecar": Reader("a.json", lambda f: write_json(f / "a.json", JSON_TEXT), lambda f: read_sidecar(f / "a"), 3),
    "skeleton": Reader(
        "a.json", lambda f: write_json(f / "a.json", HUMAN36M_17.to_dict()), lambda f: get_skeleton(f"{f}/a.json"), 3
    ),
    "flag file": Reader(
        "a.flags",
        lambda f: (f / "a.flags").write_text("--batch_size=8\n--variant=w8_tiny\n--alpha=1.5\n--phases=hrnet,e2e\n"),
        read_flags,
        0.5,
        (flags.Error,),
    ),
    "bvh": Reader(
        "a.bvh",
        lambda f: (f / "a.bvh").write_text(figure({})),
        lambda f: parse_bvh((f / "a.bvh").read_text("latin-1"), "a"),
        4,
    ),
    "zipped bvh": Reader("a.zip", zipped_bvh, read_zipped_bvh, 2),
    "wavefront": Reader("a.obj", lambda f: (f / "a.obj").write_text(OBJ), lambda f: read_obj(f / "a.obj"), 4),
    "garment": Reader("a.mhclo", garment, lambda f: read_garment(f / "a.mhclo", 10), 4),
    "exr": Reader("a.exr", exr, lambda f: load_panorama(f / "a.exr"), 1),
    "hdr": Reader("a.hdr", hdr, lambda f: load_panorama(f / "a.hdr"), 1),
    "avi": Reader("a.avi", video, lambda f: list(base.read_video(f / "a.avi", [0, 2])), 0.5),
    "keras": Reader("a.keras", keras_file, lambda f: check_keras_file(f / "a.keras"), 1),
    "keras whole": Reader("a.keras", keras_file, lambda f: model_folder.load_model(f / "a.keras"), 0.1),
    "checkpoint": Reader("last.npz", saved_checkpoint, restored, 2),
    "torch zip": Reader("a.pth", functools.partial(torch_file, zipped=True), lambda f: read_checkpoint(f / "a.pth"), 3),
    "torch legacy": Reader(
        "a.pth", functools.partial(torch_file, zipped=False), lambda f: read_torch_file(f / "a.pth"), 3
    ),
    "safetensors": Reader(
        "a.safetensors",
        lambda f: safetensors.numpy.save_file(
            {name: np.ones((2, 2, 1, 1)) for name in HRNET_NAMES}, f / "a.safetensors"
        ),
        lambda f: read_checkpoint(f / "a.safetensors"),
        3,
    ),
    "tflite": Reader("a.tflite", tflite_model, lambda f: open_session(f / "a.tflite", 1), 2),
    "tflite metadata": Reader("a.tflite", tflite_model, lambda f: tflite_file.read_info(f / "a.tflite"), 2),
    "onnx": Reader("a.onnx", onnx_model, lambda f: open_session(f / "a.onnx", 1), 1),
    "onnx metadata": Reader("a.onnx", onnx_model, lambda f: onnx_exporter.read_info(f / "a.onnx"), 1),
}
for _suffix in (".jpg", ".png", ".bmp", ".webp"):
    READERS[f"picture{_suffix}"] = Reader(
        f"a{_suffix}",
        functools.partial(picture, suffix=_suffix),
        lambda f, suffix=_suffix: images.read(f / f"a{suffix}", turn=True),
        3,
    )
for _name, (_make, _read, _convert) in test_fuzz.READERS.items():
    READERS[f"source {_name}"] = Reader(
        _name,
        lambda f, make=_make, name=_name: make(f / name),
        lambda f, read=_read, name=_name, convert=_convert: (
            getattr(read, "cache_clear", lambda: None)(),
            read((convert or Path)(f / name)),
        ),
        1,
    )
for _name, (_source, _make) in test_fuzz_2d.FORMS.items():
    READERS[f"source {_name}"] = Reader(
        {"coco": "annotations/person_keypoints_train2017.json", "mpii json": "annot/train.json"}.get(_name)
        or {"mpii mat": "mpii_human_pose_v1_u12_1.mat", "lsp": "joints.mat"}.get(_name)
        or f"labels.{_name.split()[-1]}",
        _make,
        lambda f, source=_source: test_fuzz_2d.read(source, f),
        0.5,
    )
for _name in ("manifest", "skeleton", "model.json", "sidecar"):
    _old = READERS[_name]
    READERS[_name] = Reader(_old.file, _old.make, known_skeletons_only(_old.read), _old.share)
