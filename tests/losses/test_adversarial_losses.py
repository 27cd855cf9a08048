"""The least-squares losses of the adversarial prior."""

import numpy as np
import pytest
import tensorflow as tf

from keras_pose import losses
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.losses import LossConfig
from keras_pose.models.pose_discriminator import build_pose_discriminator

IS_WHOLE = np.array([1, 0, 1, 1, 0, 1], bool)
VALID = np.ones((6, 17), np.float32)
VALID[1], VALID[4, 9] = 0, 0  # no label at all, and all but one


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def loss_of(labelled, predicted, valid=VALID) -> float:
    terms = losses.discriminator_terms(np.float32(labelled), np.float32(predicted), valid)
    return float(losses.discriminator_loss(terms))


def test_the_critic_pays_for_every_mistake():
    ones, zeros = np.ones(6), np.zeros(6)
    assert loss_of(ones, zeros) == 0
    assert loss_of(zeros, ones) == 1
    assert loss_of(ones / 2, ones / 2) == 0.25  # says nothing
    assert loss_of(ones, ones) == loss_of(zeros, zeros) == 0.5


def test_unlabeled_poses_do_not_count_as_real(rng):
    labelled, predicted = rng.normal(size=(2, 6))
    other = np.where(IS_WHOLE, labelled, 1e3)
    assert loss_of(labelled, predicted) == loss_of(other, predicted)
    assert loss_of(labelled, predicted) != loss_of(labelled, np.where(IS_WHOLE, predicted, 1e3))  # predicted all are


def test_without_a_labeled_pose_there_is_nothing_to_learn(rng):
    assert loss_of(*rng.normal(size=(2, 6)), valid=0 * VALID) == 0


def test_parts_add_up_to_the_whole(rng):
    labelled, predicted = rng.normal(size=(2, 6)).astype("float32")
    parts = [[values[part] for values in (labelled, predicted, VALID)] for part in (slice(0, 2), slice(2, 6))]
    weights = [losses.discriminator_weights(valid) for *_, valid in parts]
    together = {name: sum(of[name] for of in weights) for name in weights[0]}
    found = sum(losses.discriminator_loss(losses.discriminator_terms(*part), together) for part in parts)
    assert float(found) == pytest.approx(loss_of(labelled, predicted), rel=1e-5)


def test_the_network_is_pulled_toward_what_the_critic_scores_as_labeled(rng):
    critic = build_pose_discriminator((np.zeros((17, 3)), np.full((17, 3), 200.0)), width=16)
    poses = tf.Variable(rng.normal(0, 200, (6, 17, 3)), dtype=tf.float32)
    with tf.GradientTape() as tape:
        before = critic(poses)
        loss = tf.reduce_sum(losses.adversarial_loss(before))
    gradient = tape.gradient(loss, poses)
    step = 1.0 / tf.sqrt(tf.reduce_sum(gradient**2, (1, 2), keepdims=True))  # a millimeter each
    after = critic(poses - step * gradient)
    assert (np.abs(after - 1) < np.abs(before - 1)).all()
    low = np.array(before) < 1
    assert low.sum() >= 3 and (np.array(after) > np.array(before))[low].all()


def test_the_term_counts_every_example_and_only_with_a_weight(rng):
    batch = {"keypoints_2d": rng.uniform(size=(6, 17, 2)), "keypoint_valid": np.zeros((6, 17))}
    batch |= {"pose_3d": rng.normal(0, 300, (6, 17, 3)), "pose_3d_valid": np.zeros((6, 17))}
    batch = {name: value.astype("float32") for name, value in batch.items()}
    outputs = {"pose_3d": batch["pose_3d"], "pose_score": np.array([0, 0, 0, 1, 1, 2], np.float32)}
    config = LossConfig(delta=0.0, adversarial_weight=0.5)
    found = losses.pose_losses(batch, outputs, HUMAN36M_17, config)
    assert float(found["adversarial"]) == pytest.approx(4 / 6) and float(found["loss"]) == pytest.approx(2 / 6)
    assert float(losses.pose_loss_weights(batch, HUMAN36M_17, config)["adversarial"]) == 6
    off = LossConfig(delta=0.0)
    assert "adversarial" not in losses.pose_losses(batch, outputs, HUMAN36M_17, off)
    assert "adversarial" not in losses.pose_loss_weights(batch, HUMAN36M_17, off)
