import keras
import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.training import checkpoint
from keras_pose.training.checkpoint import Progress


def variables(shape=(2, 3)) -> dict[str, keras.Variable]:
    rng = np.random.default_rng(0)
    return {"a": keras.Variable(rng.normal(size=shape)), "b": keras.Variable(7, dtype="int32")}


def test_a_checkpoint_survives_a_round_trip(tmp_path):
    saved, path = variables(), tmp_path / "folder" / "last.npz"
    progress = Progress(1, 2, 3, {"loss": 0.1}, None, "hash")
    checkpoint.save(path, progress, saved)
    loaded = {"a": keras.Variable(np.zeros((2, 3))), "b": keras.Variable(0, dtype="int32")}
    checkpoint.restore(path, loaded)
    assert checkpoint.load_progress(path) == progress
    for name in saved:
        np.testing.assert_array_equal(loaded[name].numpy(), saved[name].numpy())


@pytest.mark.parametrize(
    "others", [{"a": keras.Variable(np.zeros(6)), "b": keras.Variable(0)}, {"a": keras.Variable(np.zeros((2, 3)))}]
)
def test_another_architecture_is_refused_and_nothing_is_set(tmp_path, others):
    checkpoint.save(tmp_path / "last.npz", Progress(), variables())
    with pytest.raises(UserError, match="last.npz has another architecture: 1 weights differ, such as"):
        checkpoint.restore(tmp_path / "last.npz", others)
    assert not others["a"].numpy().any()


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 half a zip"])
def test_a_broken_file_is_named(tmp_path, content):
    path = tmp_path / "last.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match="last.npz is not a checkpoint"):
        checkpoint.load_progress(path)


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.npz"
    checkpoint.save(path, Progress(step=1), variables())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(UserError, match="No space left"):
        checkpoint.save(path, Progress(step=2), variables())
    assert checkpoint.load_progress(path).step == 1
