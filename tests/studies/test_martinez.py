"""The published baseline for the lifter."""

import itertools
import math

import keras
import numpy as np
import pytest

from keras_pose.data.dataset import open_dataset
from keras_pose.data.pipeline import make_batches
from keras_pose.studies import martinez
from tests.conftest import write_dataset
from tests.training.runs import write_poses


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return open_dataset(str(write_poses(tmp_path_factory.mktemp("poses"), {"train": 96, "validation": 8})))


def test_views_are_what_the_cameras_see(dataset):
    views = martinez.read_views(dataset, "train")
    (batch,) = make_batches(dataset, "train", 200, training=False, with_metadata=True).as_numpy_iterator()
    camera_mm = batch["pose_3d"] + batch["root_position_mm"][:, None]
    seen = martinez.to_picture(views.keypoints_2d, views.to_picture)
    np.testing.assert_allclose(seen, camera_mm[..., :2] / camera_mm[..., 2:], atol=1e-4)
    np.testing.assert_array_equal(views.pose_3d, batch["pose_3d"])


def test_poses_without_a_label_of_every_joint_are_left_out(tmp_path):
    part = write_dataset(tmp_path / "part", {"train": 5}, pose_3d_valid=np.arange(17) != 9)
    none = write_dataset(tmp_path / "none", {"train": 3}, pose_3d_valid=np.zeros(17, bool))
    whole = write_dataset(tmp_path / "whole", {"train": 4})
    views = martinez.read_views(open_dataset(f"{part},{whole},{none}"), "train")
    assert len(views.pose_3d) == len(views.keypoints_2d) == len(views.to_picture) == 4
    np.testing.assert_array_equal(views.pose_3d, martinez.read_views(open_dataset(str(whole)), "train").pose_3d)


def test_a_clipped_layer_has_a_norm_of_at_most_1():
    layer = martinez.ClippedDense(40, kernel_initializer="ones", use_bias=True)
    small = martinez.ClippedDense(2, kernel_initializer=keras.initializers.Constant(0.1))
    x = np.random.default_rng(0).normal(size=(3, 10)).astype(np.float32)
    np.testing.assert_allclose(layer(x)[:, 0], x.sum(1) / np.sqrt(400), rtol=1e-4)
    np.testing.assert_allclose(small(x)[:, 0], 0.1 * x.sum(1), rtol=1e-4)


def test_it_has_the_published_size_and_shape():
    model = martinez.build_martinez(16, 1024)
    assert sum(math.prod(w.shape) for w in model.trainable_weights) == pytest.approx(4_290_000, rel=0.001)
    dropouts = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert dropouts == [0.5] * 5 and model.output_shape == (None, 16, 3)


def test_it_learns_within_its_time(dataset, monkeypatch):
    """By a clock that ticks once a look, and it looks after every step, once more after the first."""
    ticks = itertools.count()
    monkeypatch.setattr(martinez.time, "process_time", lambda: next(ticks))
    views = martinez.read_views(dataset, "train")
    seen = martinez.to_picture(views.keypoints_2d, views.to_picture)

    def error(seconds: float, noise: float) -> tuple[float, int]:
        model, examples = martinez.fit_martinez(views, 64, seconds, noise, seed=1)
        return np.linalg.norm(model(seen) - views.pose_3d, axis=-1).mean(), examples

    mean_pose = np.linalg.norm(views.pose_3d.mean(0) - views.pose_3d, axis=-1).mean()
    (untrained, few), (trained, many) = error(0, 0.0), error(400, 0.01)
    assert (few, many) == (martinez.BATCH_SIZE, 400 * martinez.BATCH_SIZE)
    assert trained < 0.95 * mean_pose < 0.95 * untrained
