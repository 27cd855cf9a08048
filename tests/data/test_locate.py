"""Data sets given by pattern, and on file systems that TensorFlow opens."""

import shutil

import pytest
import tensorflow as tf

from keras_pose.core.errors import UserError
from keras_pose.data import files, pipeline
from keras_pose.data.dataset import open_dataset
from tests.conftest import write_dataset


def frames(spec: str, split: str = "train") -> list[int]:
    return sorted(example.frame for example in pipeline.read_examples(open_dataset(spec), split))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two folders of one kind (24 and 9 examples to train with), and one with images of another size."""
    directory = tmp_path_factory.mktemp("folders")
    write_dataset(directory / "people-1", {"train": 24, "validation": 3})
    write_dataset(directory / "people-2", {"train": 9}, seed=1)
    write_dataset(directory / "small", {"train": 3}, image_size=(32, 32))
    (directory / "people-notes").mkdir()
    return directory


def test_folders_by_pattern_are_one_data_set(folders, monkeypatch):
    info = open_dataset(f"{folders}/people-*")
    assert (info.count("train"), info.count("validation")) == (33, 3)
    assert frames(f"{folders}/people-*") == sorted([*range(24), *range(9)])
    alone = [open_dataset(f"{folders}/people-{i}").manifest_hash for i in (1, 2)]
    assert info.manifest_hash not in alone
    monkeypatch.chdir(folders)
    assert open_dataset("people-[12]").count("train") == 33
    assert open_dataset("people-?:0.5,people-1:0.5").count("train") == 57


def test_shards_by_pattern_are_a_part_of_a_data_set(folders):
    spec = f"{folders}/people-1/train-0000[02]-of-*"
    info = open_dataset(spec)
    assert (info.count("train"), info.count("validation")) == (14, 3)
    assert frames(spec) == [*range(7), *range(14, 21)]
    whole = open_dataset(f"{folders}/people-1")
    assert info.statistics != whole.statistics and info.manifest_hash != whole.manifest_hash


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("nobody-*", "nothing matches .*nobody-.*; give a pattern"),
        ("people-1/test-*", "no shard matches .*; the folder has train, validation"),
        ("*", "small has human36m_17 at .*; prepare all that .* matches alike"),
    ],
)
def test_patterns_that_name_no_data_set(folders, pattern, message):
    with pytest.raises(UserError, match=message):
        open_dataset(f"{folders}/{pattern}")


def test_a_folder_may_have_wildcards_in_its_name(folders, tmp_path):
    shutil.copytree(folders / "people-2", tmp_path / "a[1]*")
    assert open_dataset(str(tmp_path / "a[1]*")).count("train") == 9


@pytest.fixture(scope="module")
def remote(folders):
    """The same folders where only tf.io.gfile sees them."""
    for folder in ("people-1", "people-2"):
        tf.io.gfile.makedirs(f"ram://data/{folder}")
        for path in (folders / folder).iterdir():
            with tf.io.gfile.GFile(f"ram://data/{folder}/{path.name}", "wb") as file:
                file.write(path.read_bytes())
    return "ram://data"


def test_a_remote_data_set_is_read_like_a_local_one(folders, remote):
    local, far = (open_dataset(f"{base}/people-1") for base in (folders, remote))
    assert far.manifest_hash == local.manifest_hash
    for ours, theirs in zip(
        pipeline.make_batches(far, "train", 5, training=True, seed=1),
        pipeline.make_batches(local, "train", 5, training=True, seed=1),
        strict=True,
    ):
        tf.debugging.assert_equal(ours["image"], theirs["image"])
    assert frames(f"{remote}/people-*:0.7") == frames(f"{folders}/people-*")
    assert open_dataset(f"{remote}/people-1/train-0000[02]-of-*").count("train") == 14


def test_a_remote_data_set_is_checked(remote):
    path = f"{remote}/people-2/train-00000-of-00002.tfrecord"
    content = files.read(path)
    changed = content[:50] + bytes([content[50] ^ 1]) + content[51:]
    for broken, verify, message in ((content[:-1], False, "has .* bytes, not"), (changed, True, "was altered")):
        tf.io.gfile.remove(path)  # writing to a file of ram:// appends
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(broken)
        with pytest.raises(UserError, match=message):
            open_dataset(f"{remote}/people-2", verify=verify)
    tf.io.gfile.remove(path)
    with pytest.raises(UserError, match="is missing"):
        open_dataset(f"{remote}/people-2")
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(content)
    assert open_dataset(f"{remote}/people-2", verify=True).count("train") == 9


def test_a_scheme_that_tensorflow_cannot_open_is_reported():
    with pytest.raises(UserError, match="holds no manifest.json"):
        open_dataset("ram://nowhere")
    with pytest.raises(UserError, match="cannot read far://away/manifest.json: .*far.* not implemented"):
        open_dataset("far://away")
