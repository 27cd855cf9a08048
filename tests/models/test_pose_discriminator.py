import numpy as np

from keras_pose.models.pose_discriminator import build_pose_discriminator
from keras_pose.training.phases import build_discriminator
from tests.training.runs import tiny_experiment

STATISTICS = (np.zeros((17, 3)), np.full((17, 3), 200.0))


def test_it_is_as_small_as_documented():
    assert build_pose_discriminator(STATISTICS).count_params() == 39_809


def test_the_score_of_a_pose_depends_only_on_that_pose():
    poses = np.random.default_rng(0).normal(0, 200, (6, 17, 3)).astype("float32")
    model = build_pose_discriminator(STATISTICS, width=8)
    scores = model(poses, training=True).numpy()
    assert scores.shape == (6,) and np.std(scores) > 1e-3
    np.testing.assert_allclose(model(poses[2:4], training=True), scores[2:4], rtol=1e-5)


def test_a_constant_coordinate_has_no_effect():
    deviation = STATISTICS[1].copy()
    deviation[0] = 0  # the root's
    model = build_pose_discriminator((STATISTICS[0], deviation), width=8)
    poses = np.zeros((2, 17, 3), "float32")
    poses[1, 0] = 5.0
    scores = model(poses).numpy()
    assert np.isfinite(scores).all() and scores[0] == scores[1]


def test_the_seed_determines_the_weights_whatever_was_built_before():
    weights = [build_pose_discriminator(STATISTICS, width=8, seed=seed).get_weights() for seed in (1, 1, 2)]
    assert all((a == b).all() for a, b in zip(weights[0], weights[1], strict=True))
    assert not all((a == b).all() for a, b in zip(weights[0], weights[2], strict=True))
    assert not np.allclose(weights[0][2], weights[0][4])  # nor are its hidden layers alike


def test_there_is_no_critic_without_a_weight():
    assert build_discriminator(tiny_experiment("unused", "unused"), {}) is None
