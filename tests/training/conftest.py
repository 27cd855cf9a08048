"""A run that several modules compare with."""

import pytest

from keras_pose.losses import LossConfig
from keras_pose.training.experiment import PhaseConfig
from tests.training.runs import run, tiny_experiment, write_poses


@pytest.fixture(scope="session")
def poses(tmp_path_factory):
    """Poses without images: four steps of eight an epoch."""
    return write_poses(tmp_path_factory.mktemp("poses"), {"train": 32, "validation": 10})


@pytest.fixture(scope="session")
def finished_lifter(tmp_path_factory, poses):
    """An undisturbed run of two epochs of the lifter, with the adversarial prior."""
    phase, loss = PhaseConfig("lifter", 2, flip=0.5), LossConfig(adversarial_weight=0.1)
    experiment = tiny_experiment(tmp_path_factory.mktemp("lifter"), poses, (phase,), loss=loss)
    run(experiment)
    return experiment
