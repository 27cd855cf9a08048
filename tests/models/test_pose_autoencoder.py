import keras
import numpy as np
import pytest

from keras_pose.models.pose_autoencoder import Standardize, build_decoder, build_encoder


@pytest.fixture
def keypoints(rng):
    return rng.uniform(0.2, 0.8, (4, 17, 2)).astype(np.float32)


@pytest.fixture
def poses(rng):
    return rng.normal(0, 300, (4, 17, 3)).astype(np.float32)


def shared(statistics):
    return statistics.keypoints_2d, statistics.pose_3d


def trained_like(model, rng):
    """Gives the output layer, which starts near zero, weights of ordinary size."""
    layer = model.get_layer("linear_out")
    layer.kernel.assign(rng.normal(0, 0.1, layer.kernel.shape))
    return model


def test_standardize_and_back(statistics, poses):
    there = Standardize(*statistics.pose_3d)
    back = Standardize(*statistics.pose_3d, invert=True)
    moving = poses[:, 1:]
    np.testing.assert_allclose(back(there(poses))[:, 1:], moving, atol=1e-3)
    assert not np.any(there(poses)[:, 0]) and not np.any(back(there(poses))[:, 0])  # the root never varies


def test_architecture_is_the_papers(statistics):
    """A linear layer in, two modules of two blocks, a linear layer out: 4.27 million weights at width 1024."""
    encoder = build_encoder(*shared(statistics))
    blocks = 4 * (1024 * 1024 + 1024 + 2 * 1024)
    expected = (34 * 1024 + 1024) + blocks + (1024 * 51 + 51)
    assert sum(int(np.prod(w.shape)) for w in encoder.trainable_weights) == expected
    assert [layer.rate for layer in encoder.layers if isinstance(layer, keras.layers.Dropout)] == [0.5] * 4


def test_training_starts_at_the_mean_pose(statistics, keypoints):
    pose = build_encoder(*shared(statistics))(keypoints)
    assert pose.shape == (4, 17, 3)
    assert np.abs(pose - statistics.pose_3d_mean).max() < 0.5 * statistics.pose_3d_std.max()


def test_root_is_exactly_zero(statistics, keypoints, rng):
    encoder = trained_like(build_encoder(*shared(statistics), width=32), rng)
    assert not np.any(encoder(keypoints)[:, 0])


def test_skip_connection_adds_the_keypoints(statistics, keypoints, poses, rng):
    plain = trained_like(build_decoder(*shared(statistics), width=32), rng)
    skipping = build_decoder(*shared(statistics), width=32, skip_connection=True)
    skipping.set_weights(plain.get_weights())
    correction = plain(poses) - statistics.keypoints_2d_mean
    np.testing.assert_allclose(skipping([poses, keypoints]), keypoints + correction, atol=1e-5)


def test_float32_under_mixed_precision(precision, statistics, keypoints, rng):
    encoder = trained_like(build_encoder(*shared(statistics), width=32), rng)
    pose = encoder(keypoints)
    assert {pose.dtype.name} | {layer.compute_dtype for layer in encoder.layers[1:]} == {"float32"}
    nudged = encoder(keypoints + np.float32(1e-4))  # bfloat16 would round this away
    assert 0 < np.abs(nudged - pose).max() < 5


def test_dropout_in_training_only(statistics, keypoints, rng):
    encoder = trained_like(build_encoder(*shared(statistics), width=32), rng)
    np.testing.assert_array_equal(encoder(keypoints), encoder(keypoints))
    assert np.abs(encoder(keypoints, training=True) - encoder(keypoints, training=True)).max() > 1


def test_statistics_must_fit():
    with pytest.raises(ValueError, match=r"\(J, D\)"):
        Standardize(np.zeros((17, 3)), np.ones((17, 2)))
