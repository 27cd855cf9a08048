import hashlib
import json

import numpy as np
import pytest
import tensorflow as tf

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data import dataset, pipeline, records, shards
from keras_pose.data.dataset import open_dataset
from tests.conftest import make_example, write_dataset
from tests.training.runs import write_poses


def test_records_are_what_tensorflow_writes(tmp_path):
    """Our framing and serialization parse with TensorFlow's own reader and protocol buffer."""
    example = make_example(np.random.default_rng(0), 300)
    shards.write_shard(tmp_path / "a.tfrecord", [example])
    (record,) = tf.data.TFRecordDataset(str(tmp_path / "a.tfrecord"))
    proto = tf.train.Example.FromString(record.numpy())
    features = proto.features.feature
    assert features["image"].bytes_list.value[0] == example.image_jpeg
    assert list(features["frame"].int64_list.value) == [300]
    np.testing.assert_array_equal(features["pose_3d_mm"].float_list.value, example.pose_3d_mm.ravel())
    with tf.io.TFRecordWriter(str(tmp_path / "b.tfrecord")) as writer:
        writer.write(record.numpy())
    assert (tmp_path / "a.tfrecord").read_bytes() == (tmp_path / "b.tfrecord").read_bytes()


def test_examples_survive_a_round_trip(tmp_path):
    write_dataset(tmp_path, {"train": 9}, seed=3)
    rng = np.random.default_rng(3)
    read = list(pipeline.read_examples(open_dataset(str(tmp_path)), "train"))
    assert len(read) == 9
    for i, got in enumerate(read):
        expected = make_example(rng, i)
        for name in vars(expected):
            np.testing.assert_array_equal(getattr(got, name), np.asarray(getattr(expected, name)), err_msg=name)
        assert got.decode_image().shape == (64, 96, 3)


def partial(rng) -> np.ndarray:
    """(17,) some joints, the root among them."""
    valid = rng.uniform(size=17) < 0.6
    valid[0] = True
    return valid


def write_partial(folder, split: str = "train", count: int = 9) -> list:
    """A shard of poses with labels of some joints each; returns its examples."""
    rng = np.random.default_rng(8)
    examples = [make_example(rng, i, pose_3d_valid=partial(rng)) for i in range(count)]
    entry = shards.write_shard(folder / shards.shard_name(split, 0, 1), examples)
    shards.write_manifest(folder, shards.Manifest("partial", HUMAN36M_17, (64, 96), {split: (entry,)}, {}))
    return examples


def as_format_1(folder, has_pose_3d: bool = True):
    """Rewrites a data set of whole poses, or of none, as earlier versions wrote it."""
    manifest = json.loads((folder / shards.MANIFEST).read_text())
    for entry in (entry for entries in manifest["splits"].values() for entry in entries):
        path = folder / entry["file"]
        framed = []
        for record in tf.data.TFRecordDataset(str(path)):
            proto = tf.train.Example.FromString(record.numpy())
            del proto.features.feature["pose_3d_valid"]
            proto.features.feature["has_pose_3d"].int64_list.value.append(int(has_pose_3d))
            framed.append(records.frame(proto.SerializeToString()))
        path.write_bytes(b"".join(framed))
        entry["sums"]["pose_count"] = float(entry["count"] * has_pose_3d)
        entry |= {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    (folder / shards.MANIFEST).write_text(json.dumps(manifest | {"format_version": 1}))
    return folder


def test_masks_of_3d_survive_a_round_trip(tmp_path):
    examples = write_partial(tmp_path)
    info = open_dataset(str(tmp_path))
    read = list(pipeline.read_examples(info, "train"))
    (batch,) = pipeline.make_batches(info, "train", 9, training=False)
    expected = np.stack([example.pose_3d_valid for example in examples])
    assert 0.3 < expected.mean() < 0.9
    np.testing.assert_array_equal([example.pose_3d_valid for example in read], expected)
    np.testing.assert_array_equal(batch["pose_3d_valid"], expected)


@pytest.mark.parametrize("has_pose_3d", [True, False])
def test_shards_of_whole_poses_still_read(tmp_path, has_pose_3d):
    new = write_dataset(tmp_path / "new", {"train": 9, "test": 2}, pose_3d_valid=np.full(17, has_pose_3d))
    old = as_format_1(write_dataset(tmp_path / "old", {"train": 9, "test": 2}), has_pose_3d)
    old, new = open_dataset(str(old), verify=True), open_dataset(str(new))
    for name in ("pose_3d_mean", "pose_3d_std") if has_pose_3d else ():
        np.testing.assert_array_equal(old.statistics[name], new.statistics[name])
    assert old.label_counts("train") == new.label_counts("train") == (9 * 17, 9 * has_pose_3d)
    for ours, theirs in zip(*(pipeline.read_examples(data, "train") for data in (new, old)), strict=True):
        assert theirs.pose_3d_valid.shape == (17,) and theirs.has_pose_3d == has_pose_3d
        for name in vars(ours):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)


def test_statistics_of_a_joint_are_of_its_labels(tmp_path):
    """Whole poses in shards of the old format beside partial ones."""
    old = as_format_1(write_dataset(tmp_path / "old", {"train": 12}))
    (tmp_path / "partial").mkdir()
    examples = write_partial(tmp_path / "partial")
    info = open_dataset(f"{old}:0.5,{tmp_path / 'partial'}:0.5")
    examples += pipeline.read_examples(open_dataset(str(old)), "train")
    valid = np.stack([example.pose_3d_valid for example in examples])
    poses = np.where(valid[..., None], np.stack([example.pose_3d_mm for example in examples]), np.nan)
    np.testing.assert_allclose(info.statistics["pose_3d_mean"], np.nanmean(poses, 0), atol=1e-2)
    np.testing.assert_allclose(info.statistics["pose_3d_std"], np.nanstd(poses, 0), atol=1e-2)
    np.testing.assert_array_equal(info.pose_counts("train"), valid.sum(0))
    assert info.label_counts("train") == (21 * 17, 21)


def test_a_joint_that_never_has_3d_has_no_statistics_and_whole_poses_are_none(tmp_path):
    info = open_dataset(str(write_dataset(tmp_path, {"train": 6}, pose_3d_valid=np.arange(17) != 9)))
    assert not np.any(info.statistics["pose_3d_mean"][9]) and np.any(info.statistics["pose_3d_mean"][8])
    assert info.pose_counts("train")[8:10].tolist() == [6, 0] and info.label_counts("train")[1] == 6


def test_poses_without_images_know_the_size_of_their_crops(tmp_path, monkeypatch):
    folder = write_poses(tmp_path / "poses", {"train": 3}, image_size=(80, 64))
    assert open_dataset(str(folder)).image_size is None
    assert open_dataset(str(folder)).crop_size == (80, 64)
    (path,) = folder.glob("train-*.tfrecord")
    content = path.read_bytes()
    monkeypatch.setattr(dataset, "ALWAYS_VERIFIED_BYTES", 0)
    for broken in (content[:12] + bytes(40) + content[52:], b"\xff" * len(content), bytes(len(content))):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=path.name):
            open_dataset(str(folder)).crop_size  # noqa: B018


def test_statistics_are_of_the_training_split(tmp_path):
    info = open_dataset(str(write_dataset(tmp_path, {"train": 20, "test": 5})))
    examples = list(pipeline.read_examples(info, "train"))
    poses = np.stack([e.pose_3d_mm for e in examples])
    keypoints = np.stack([geometry.normalize_keypoints(e.keypoints_2d_px, e.image_size) for e in examples])
    np.testing.assert_allclose(info.statistics["pose_3d_mean"], poses.mean(0), atol=1e-2)
    np.testing.assert_allclose(info.statistics["pose_3d_std"], poses.std(0), atol=1e-2)
    np.testing.assert_allclose(info.statistics["keypoints_2d_mean"], keypoints.mean(0), atol=1e-5)
    np.testing.assert_allclose(info.statistics["keypoints_2d_std"], keypoints.std(0), atol=1e-5)


def test_invalid_joints_and_2d_only_examples_stay_out_of_the_statistics(tmp_path):
    valid = np.arange(17) != 5
    write_dataset(tmp_path, {"train": 6}, keypoint_valid=valid, pose_3d_valid=np.zeros(17, bool))
    statistics = shards.read_manifest(tmp_path).statistics
    assert np.abs(statistics["keypoints_2d_mean"][5]).max() == 0
    assert np.abs(statistics["keypoints_2d_mean"][4]).max() > 0
    assert np.abs(statistics["pose_3d_mean"]).max() == 0


def test_hips_alone_are_a_pose_and_unlabeled_joints_have_no_size(tmp_path):
    pose = np.eye(17, 3, -1) * 60
    pose[9] = 9e9
    example = make_example(np.random.default_rng(0), pose_3d_mm=pose, pose_3d_valid=np.arange(17) < 2)
    assert example.validate().has_pose_3d
    shards.write_shard(tmp_path / "a.tfrecord", [example])


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-9])


def _flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("damage", "message"), [(_truncate, "bytes"), (_flip_a_bit, "altered"), (lambda p: p.unlink(), "missing")]
)
def test_a_damaged_shard_is_named(tmp_path, damage, message):
    write_dataset(tmp_path, {"train": 20})
    damage(tmp_path / shards.shard_name("train", 1, 3))
    with pytest.raises(UserError, match=f"train-00001-of-00003.*{message}"):
        open_dataset(str(tmp_path))


def test_damage_after_opening_is_named_while_reading(tmp_path):
    info = open_dataset(str(write_dataset(tmp_path, {"train": 20})))
    _flip_a_bit(tmp_path / shards.shard_name("train", 2, 3))
    with pytest.raises(UserError, match="train-00002-of-00003"):
        list(pipeline.read_examples(info, "train"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m | {"format_version": 99}, "format 99"),
        (lambda m: {k: v for k, v in m.items() if k != "splits"}, "damaged"),
        (lambda m: [m], "damaged"),
    ],
)
def test_a_broken_manifest_gives_a_one_line_error(tmp_path, change, message):
    path = write_dataset(tmp_path, {"train": 3}) / shards.MANIFEST
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(UserError, match=message):
        shards.read_manifest(tmp_path)


def test_an_unfinished_shard_is_distinguished_from_a_finished_one(tmp_path):
    path = tmp_path / "train-00000-of-00001.tfrecord"
    entry = shards.write_shard(path, [make_example(np.random.default_rng(0))])
    assert shards.finished_shard(path) == entry
    _truncate(path)
    assert shards.finished_shard(path) is None
    assert shards.finished_shard(tmp_path / "other") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pose_3d_mm": np.ones((17, 3))}, "not relative"),
        ({"pose_3d_mm": np.eye(17, 3, -1) * 0.4}, "millimeters"),
        ({"pose_3d_mm": np.eye(17, 3, -1) * 400e3}, "millimeters"),
        ({"pose_3d_valid": np.arange(17) > 0}, "the root, joint 0, has none"),
        ({"pose_3d_valid": np.arange(17) < 1}, "millimeters"),
        ({"pose_3d_valid": np.arange(17) < 9, "pose_3d_mm": np.eye(17, 3, -1) * 0.4}, "millimeters"),
        ({"pose_3d_valid": np.ones(14, bool)}, "needs"),
        ({"keypoints_2d_px": np.full((17, 2), np.nan)}, "NaN"),
        ({"keypoints_2d_px": np.zeros((14, 2))}, "needs"),
        ({"skeleton": "nobody"}, "known"),
        ({"frame": -1}, "negative"),
    ],
)
def test_a_bad_example_is_refused_with_its_name(tmp_path, change, message):
    example = make_example(np.random.default_rng(0), 7, **change)
    with pytest.raises(UserError, match=message) as caught:
        shards.write_shard(tmp_path / "a.tfrecord", [example])
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
