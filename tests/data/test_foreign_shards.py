"""Shards written by others, by other rules: faults are named by shard and record before they do harm."""

import hashlib
import json
import os

import numpy as np
import pytest
import tensorflow as tf

from keras_pose.core.errors import UserError
from keras_pose.data import audit, pipeline, records, shards
from keras_pose.data.dataset import naming_broken_shards, open_dataset
from keras_pose.data.example import encode_jpeg
from tests.conftest import make_example, write_dataset
from tests.faults.memory import peak_growth_mb
from tests.io.test_images import claiming, png

SHARD, RECORD = "train-00001-of-00003", 2
NAMED = f"{SHARD}.tfrecord, record {RECORD}: "


def foreign(folder, change=None, content: bytes | None = None, split: str = "train"):
    """A data set of 20 examples for training and 8 for validation; one is changed after it was checked.

    `change` alters the PoseExample, `content` replaces its whole record; sizes and checksums of the manifest are right.
    """
    write_dataset(folder, {"train": 20, "validation": 8})
    path = folder / (f"{SHARD}.tfrecord" if split == "train" else "validation-00001-of-00002.tfrecord")
    examples = [make_example(np.random.default_rng(5), i) for i in range(6 if split == "train" else 1)]
    example = examples[RECORD if split == "train" else 0]
    for name, value in (change or {}).items():
        setattr(example, name, value)
    serialized = [records.serialize(e) for e in examples]
    if content is not None:
        serialized[RECORD] = content
    rewrite(path, b"".join(records.frame(record) for record in serialized))
    return folder


def rewrite(path, content: bytes, **entry_changes) -> None:
    """Replaces a shard, and updates the manifest."""
    path.write_bytes(content)
    manifest = path.parent / shards.MANIFEST
    values = json.loads(manifest.read_text())
    for entry in (entry for entries in values["splits"].values() for entry in entries):
        if entry["file"] == path.name:
            entry.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest(), **entry_changes)
    manifest.write_text(json.dumps(values))


def read_batches(folder, split: str = "train") -> None:
    info = open_dataset(str(folder))
    with naming_broken_shards(info, lambda: "at step 7: "):
        for _ in pipeline.make_batches(info, split, 4, training=split == "train"):
            pass


def spoiled(name: str, value: float) -> dict:
    array = getattr(make_example(np.random.default_rng(0)), name).copy()
    array.flat[-1] = value
    return {name: array}


BAD_NUMBERS = [spoiled(n, v) for n in ("keypoints_2d_px", "pose_3d_mm") for v in (np.nan, np.inf, -np.inf)]


def test_a_good_foreign_shard_is_read(tmp_path):
    read_batches(foreign(tmp_path))


@pytest.mark.parametrize("change", BAD_NUMBERS)
def test_nan_and_inf_in_labels_are_refused_when_writing(tmp_path, change):
    example = make_example(np.random.default_rng(0), **change)
    with pytest.raises(UserError, match="toy s0/walk/0: .* holds NaN or inf; mark such joints invalid"):
        shards.write_shard(tmp_path / "a.tfrecord", [example])


@pytest.mark.parametrize(
    "change", [{"difficulty": np.nan}, spoiled("root_position_mm", np.inf), spoiled("keypoints_2d_px", 1e30)]
)
def test_other_impossible_numbers_are_refused_when_writing(tmp_path, change):
    with pytest.raises(UserError, match="toy s0/walk/0: "):
        shards.write_shard(tmp_path / "a.tfrecord", [make_example(np.random.default_rng(0), **change)])


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.5])
def test_pixels_that_are_not_bytes_are_refused(value):
    with pytest.raises(UserError, match="uint8 RGB, got float64"):
        encode_jpeg(np.full((8, 8, 3), value))


@pytest.mark.parametrize("image", [b"", b"no JPEG", claiming(".jpg", 20000, 20000), png(64, 96)])
def test_an_image_that_is_not_a_jpeg_of_its_size_is_refused_when_writing(tmp_path, image):
    example = make_example(np.random.default_rng(0), image_jpeg=image)
    if image:
        with pytest.raises(UserError, match=r"the image is not a JPEG of \(64, 96\)"):
            example.validate()
    else:
        example.validate()  # a pose without an image


@pytest.mark.parametrize("change", BAD_NUMBERS)
def test_nan_and_inf_in_labels_are_named_when_reading(tmp_path, change):
    (name,) = change
    with pytest.raises(UserError, match=f"^at step 7: shard .*{NAMED}toy s2/walk/2: {name} holds NaN or inf") as caught:
        read_batches(foreign(tmp_path, change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (claiming(".jpg", 20000, 20000), "the image is not a JPEG of"),
        (png(20000, 20000), "the image is not a JPEG of"),
        (encode_jpeg(np.zeros((1, 1, 3), np.uint8)), "the image is not a JPEG of"),
        (make_example(np.random.default_rng(0)).image_jpeg[:-2000], "does not decode"),
        (b"", "does not decode"),
    ],
)
def test_images_of_other_sizes_are_named_and_take_no_memory(tmp_path, image, message):
    folder = foreign(tmp_path, {"image_jpeg": image})
    read_batches(folder, "validation")  # what TensorFlow itself takes

    def read():
        with pytest.raises(UserError, match=NAMED + f".*{message}"):
            read_batches(folder)

    assert peak_growth_mb(read) < 200  # one alone would be 1,200 MB


@pytest.mark.parametrize("size", [(20000, 20000), (1, 1), (64, 64)])
def test_an_image_of_another_size_than_the_data_set_is_refused(tmp_path, size):
    image = claiming(".jpg", *size)
    with pytest.raises(UserError, match=NAMED + r".*(its image is|not a JPEG|does not decode)"):
        read_batches(foreign(tmp_path, {"image_jpeg": image, "image_size": size}))


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 40, records.serialize(make_example(np.random.default_rng(0)))[:-40]]
)
def test_a_record_that_is_not_an_example_is_named(tmp_path, content):
    with pytest.raises(UserError, match=f"{SHARD}.tfrecord, record {RECORD} is not an example of human36m_17"):
        read_batches(foreign(tmp_path, content=content))


def test_a_record_without_a_mask_of_its_3d_is_named(tmp_path):
    proto = tf.train.Example.FromString(records.serialize(make_example(np.random.default_rng(0))))
    mask = proto.features.feature["pose_3d_valid"].int64_list.value
    mask.pop()
    short = proto.SerializeToString()
    del proto.features.feature["pose_3d_valid"]
    for name, content, why in (("short", short, ""), ("none", proto.SerializeToString(), "it holds no pose_3d_valid")):
        with pytest.raises(UserError, match=f"record {RECORD} is not an example of human36m_17 .*{why}"):
            read_batches(foreign(tmp_path / name, content=content))


def test_a_pose_without_its_root_is_named(tmp_path):
    folder = foreign(tmp_path, {"pose_3d_valid": np.arange(17) > 0})
    with pytest.raises(UserError, match=NAMED + "toy s2/walk/2: joints have 3D labels but the root, joint 0, has none"):
        audit.name_fault(open_dataset(str(folder)).folders)


def test_a_manifest_that_counts_too_many_examples_is_named(tmp_path):
    path = foreign(tmp_path) / f"{SHARD}.tfrecord"
    rewrite(path, path.read_bytes(), count=9)
    info = open_dataset(str(tmp_path))
    with pytest.raises(UserError, match=f"{SHARD}.tfrecord holds 6 examples, its manifest says 9"):
        audit.name_fault(info.folders)


# --- shards that change under a run ----------------------------------------------------------------------------


def truncate(path):
    path.write_bytes(path.read_bytes()[:-9])


def drop_a_record(path):
    """Cut between two records: TensorFlow itself sees nothing wrong."""
    content = path.read_bytes()
    path.write_bytes(content[: 16 + int.from_bytes(content[:8], "little")])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))


def swap(path):
    """Another whole shard in its place, of the same size, with the times of the old one."""
    times = path.stat()
    examples = list(pipeline.read_examples(open_dataset(str(path.parent)), "train"))[7:14]
    for example in examples:
        example.frame += 1
    path.write_bytes(b"".join(records.frame(records.serialize(example)) for example in examples))
    assert path.stat().st_size == times.st_size
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


DAMAGES = {"truncated": truncate, "a record less": drop_a_record, "bit": flip_a_bit, "swapped": swap}
DAMAGES["gone"] = lambda path: path.unlink()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_shard_that_changes_is_named(tmp_path, damage):
    info = open_dataset(str(write_dataset(tmp_path, {"train": 20})))
    watch = audit.ShardWatch(info.folders)
    watch.check()
    DAMAGES[damage](tmp_path / f"{SHARD}.tfrecord")
    with pytest.raises(UserError, match=f"shard .*{SHARD}.tfrecord (was altered|has|is missing)"):
        watch.check()


def test_rewriting_the_same_bytes_is_not_a_change(tmp_path):
    info = open_dataset(str(write_dataset(tmp_path, {"train": 20})))
    watch = audit.ShardWatch(info.folders)
    path = tmp_path / f"{SHARD}.tfrecord"
    copy = path.with_suffix(".copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)
    watch.check()
    flip_a_bit(path)
    with pytest.raises(UserError, match="was altered"):
        watch.check()


def test_every_part_of_a_mix_is_watched(tmp_path):
    folders = [write_dataset(tmp_path / name, {"train": 20}, seed=seed) for seed, name in enumerate("ab")]
    info = open_dataset(",".join(f"{folder}:0.5" for folder in folders))
    watch = audit.ShardWatch(info.folders)
    flip_a_bit(folders[1] / f"{SHARD}.tfrecord")
    with pytest.raises(UserError, match=f"shard {folders[1]}"):
        watch.check()
