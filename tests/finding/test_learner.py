"""What training of a finder starts from."""

import functools

import numpy as np
import pytest

from keras_pose.finding.learner import Learner
from keras_pose.models import finder


def test_the_first_step_goes_on_from_the_weights_it_starts_from(tmp_path, monkeypatch):
    """At a rate of 0 a step changes nothing that training sees, whatever the weights were before."""
    monkeypatch.setattr(finder, "build_finder", functools.partial(finder.build_finder, variant="w8_tiny", channels=8))
    rng = np.random.default_rng(0)
    make = functools.partial(Learner, 64, "float32", 0)
    trained = make(seed=1)
    batch = {
        "image": rng.integers(0, 256, (4, 64, 64, 3)).astype(np.uint8),
        "centers": rng.random((4, 8, 8, 1)).astype(np.float32),
        "center_weight": np.ones((4, 8, 8, 1), np.float32),
        "boxes": rng.random((4, 8, 8, 4)).astype(np.float32),
        "box_weight": np.ones((4, 8, 8, 1), np.float32),
    }
    trained.step(batch, 0.0, 0.0)  # gives kernels the norm that Muon holds
    trained.save(tmp_path, {})
    learner = make(seed=2)
    assert learner.start_from(tmp_path) == []
    losses = [learner.step(batch, 0.0, 0.9) for _ in range(2)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert trained.step(batch, 0.0, 0.9) == pytest.approx(losses[0], rel=1e-4)
