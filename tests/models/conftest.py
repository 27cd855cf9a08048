import keras
import numpy as np
import pytest

from keras_pose.models.pose_model import PoseStatistics


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(params=["float32", "mixed_bfloat16", "mixed_float16"])
def precision(request):
    """Sets the global precision policy for one test."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@pytest.fixture(scope="session")
def statistics() -> PoseStatistics:
    """Plausible statistics of 17 joints; the root, joint 0, never moves."""
    rng = np.random.default_rng(1)
    pose_mean, pose_std = rng.normal(0, 300, (17, 3)), rng.uniform(50, 200, (17, 3))
    pose_mean[0] = pose_std[0] = 0
    return PoseStatistics(rng.uniform(0.4, 0.6, (17, 2)), rng.uniform(0.05, 0.2, (17, 2)), pose_mean, pose_std)
