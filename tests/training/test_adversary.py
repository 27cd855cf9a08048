"""The adversarial prior in training; replicas, workers and stopped lifters in other modules use it, too."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_pose.core.errors import UserError
from keras_pose.data.augment import AugmentConfig
from keras_pose.data.dataset import open_dataset
from keras_pose.data.pipeline import make_batches
from keras_pose.losses import LossConfig
from keras_pose.models import model_folder
from keras_pose.models.pose_discriminator import build_pose_discriminator
from keras_pose.training import data_check, distribution, phases, run_folder, steps
from keras_pose.training.adversary import Adversary
from keras_pose.training.experiment import OptimizerConfig, PhaseConfig
from keras_pose.training.optimizer import FlatAdam, LossScale
from keras_pose.training.schedule import Schedule
from tests.conftest import write_dataset
from tests.training.runs import read_metrics, tiny_experiment

OFF = AugmentConfig(**dict.fromkeys(AugmentConfig.__dataclass_fields__, 0.0))
LIFTER = (PhaseConfig("lifter", 1),)


def critic(learning_rate: float = 3e-3) -> Adversary:
    return Adversary(build_pose_discriminator((np.zeros((17, 3)), np.full((17, 3), 200.0)), width=64), learning_rate)


def test_it_learns_to_tell_two_kinds_of_poses_apart():
    """Labeled poses are wide, predicted ones narrow: no single coordinate's mean tells them."""
    rng, adversary = np.random.default_rng(0), critic()

    def draw(size_mm):
        return rng.normal(0, size_mm, (64, 17, 3)).astype("float32")

    step = tf.function(lambda batch, pose, w: adversary.apply(adversary.gradient(batch, pose, w)[0]), autograph=False)
    for _ in range(300):
        batch = {"pose_3d": draw(300), "pose_3d_valid": np.ones((64, 17), "float32")}
        step(batch, draw(100), adversary.weights(batch))
    labelled, predicted = adversary.model(draw(300)).numpy(), adversary.model(draw(100)).numpy()
    assert np.mean(labelled > 0.5) > 0.9 and np.mean(predicted < 0.5) > 0.9


def test_poses_without_a_label_teach_it_nothing():
    rng, adversary = np.random.default_rng(0), critic()
    valid = np.ones((4, 17), np.float32)
    valid[1], valid[3, 5] = 0, 0  # not at all, and not in every joint
    labelled, predicted = rng.normal(0, 200, (2, 4, 17, 3)).astype("float32")

    def gradient(labelled, valid):
        batch = {"pose_3d": labelled, "pose_3d_valid": valid}
        return adversary.gradient(batch, predicted, adversary.weights(batch))[0].numpy()

    expected = gradient(labelled, valid)
    labelled[1], labelled[3] = 999, -999
    np.testing.assert_allclose(gradient(labelled, valid), expected, atol=1e-6)
    labelled[0] += 50
    assert np.abs(gradient(labelled, valid) - expected).max() > 1e-4
    assert not gradient(labelled, 0 * valid).any()


# --- beside the pose network -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def train(poses):
    """A function of the prior's weight (None: no critic at all) that trains a lifter for some steps."""
    dataset = open_dataset(str(poses)).without_pictures()
    batches = list(make_batches(dataset, "train", 8, training=True, seed=1))
    strategy = distribution.make_strategy("one_device")

    def of(weight: float | None, loss_scale: LossScale | None = None, break_step: int = -1):
        experiment = tiny_experiment(
            "unused", poses, LIFTER, augment=OFF, loss=LossConfig(adversarial_weight=weight or 0)
        )
        keras.utils.set_random_seed(0)
        with strategy.scope():
            model = phases.build_model(experiment, dataset.statistics)
            critic = phases.build_discriminator(experiment, dataset.statistics)
            phase = phases.Phase("lifter", model, critic)
            adversary = critic and Adversary(critic, 1e-3)
            optimizer = FlatAdam(phase.trainable_variables, OptimizerConfig())
            settings = (loss_scale, Schedule("constant", 1e-3, 4), experiment, 0, adversary)
            step = steps.make_train_step(strategy, phase, optimizer, *settings)
            found = []
            for i, batch in enumerate(batches):
                if i == break_step:
                    batch = {**batch, "keypoints_2d": batch["keypoints_2d"] * np.nan}
                before = adversary and adversary.optimizer.parameters.numpy()
                results = step(batch, tf.constant(i), tf.constant(1.0))
                moved = np.abs(adversary.optimizer.parameters.numpy() - before).max() if adversary else 0.0
                found.append({name: float(value) for name, value in results.items()} | {"moved": moved})
        return found, optimizer.parameters.numpy()

    return of


def test_a_critic_without_weight_does_not_change_the_network(train):
    without, alone = train(None)
    judged, unmoved = train(1e-30)
    assert set(judged[0]) - set(without[0]) == {"adversarial", "discriminator"}
    for ours, theirs in zip(judged, without, strict=True):
        assert all(ours[name] == theirs[name] for name in ("loss", "encoder", "gradient_norm"))
        assert ours["moved"] > 1e-4  # while the critic learns
    np.testing.assert_allclose(unmoved, alone, atol=1e-12)
    _, changed = train(1.0)
    assert np.abs(changed - alone).max() > 1e-4


def test_a_step_that_overflows_float16_leaves_the_critic_too(train):
    found, parameters = train(0.1, LossScale(8.0), break_step=2)
    assert [step["loss_scale"] for step in found] == [8.0, 8.0, 4.0, 4.0]
    assert [step["moved"] > 0 for step in found] == [True, True, False, True]
    assert np.isfinite(parameters).all() and np.isfinite(found[3]["discriminator"])


# --- in a run --------------------------------------------------------------------------------------------------


def test_its_losses_are_recorded_and_only_the_checkpoint_contains_it(finished_lifter):
    *_, step, epoch = read_metrics(finished_lifter.output)
    assert 0 < step["adversarial"] and 0 < step["discriminator"] < 1
    assert {"adversarial", "discriminator", "val_adversarial"} <= set(epoch)
    model, _ = model_folder.load_run(finished_lifter.output)
    assert set(phases.parts_of(model)) == {layer.name for layer in model.layers} & set(phases.PARTS)
    assert not [weight.path for weight in model.weights if "hidden0" in weight.path or "score" in weight.path]
    with np.load(f"{finished_lifter.output}/{run_folder.LAST_CHECKPOINT}") as arrays:
        kept = [name for name in arrays.files if name.startswith("discriminator/")]
        assert len(kept) == 8 + 3  # four layers, and Adam's state
        assert arrays["discriminator/iterations"] == arrays["iterations"] == 8


def test_runs_that_it_cannot_judge_are_refused(tmp_path, toy_dataset):
    prior = LossConfig(adversarial_weight=0.1)
    with pytest.raises(UserError, match="phase hrnet does not predict; leave it out, or add phase lifter or e2e"):
        tiny_experiment(tmp_path, toy_dataset, (PhaseConfig("hrnet", 1),), loss=prior)
    both = tiny_experiment(tmp_path, toy_dataset, (PhaseConfig("hrnet", 1), PhaseConfig("e2e", 1)), loss=prior)
    assert not phases.Phase("hrnet", None).has_pose_3d and phases.Phase("e2e", None).has_pose_3d
    unlabelled = {"pose_3d_valid": np.zeros(17, bool), "pose_3d_mm": np.zeros((17, 3))}
    photos = write_dataset(tmp_path / "photos", {"train": 9, "validation": 2}, **unlabelled)
    with pytest.raises(UserError, match="has no complete 3D poses to compare predicted ones with; mix in data"):
        data_check.check_data(replace(both, data=replace(both.data, dataset=str(photos))), open_dataset(str(photos)))
    some = write_dataset(tmp_path / "some", {"train": 9, "validation": 2}, pose_3d_valid=np.arange(17) != 9)
    with pytest.raises(UserError, match="has no complete 3D poses"):
        data_check.check_data(replace(both, data=replace(both.data, dataset=str(some))), open_dataset(str(some)))
    with pytest.raises(UserError, match="learning rate of the discriminator is 0; give a positive number"):
        OptimizerConfig(discriminator_learning_rate=0)
