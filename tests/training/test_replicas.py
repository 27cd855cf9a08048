"""Two replicas, the parts of a batch, XLA and synchronized batch norm equal one device in a single pass."""

import json
import subprocess
import sys

import numpy as np
import pytest

from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data import shards
from tests.conftest import make_example


@pytest.fixture(scope="module")
def uneven_dataset(tmp_path_factory):
    """Some examples and some joints without 3D, some without 2D: replicas hold different numbers of each."""
    directory, rng = tmp_path_factory.mktemp("uneven"), np.random.default_rng(0)

    def examples(count):
        for i in range(count):
            valid, pose_valid = rng.uniform(size=(2, 17)) < 0.7
            pose_valid[0] = True
            masks = {
                "keypoint_valid": valid,
                "pose_3d_valid": pose_valid | bool(i % 2) if i % 3 else np.zeros(17, bool),
            }
            yield make_example(rng, i, **masks)

    splits = {
        split: (shards.write_shard(directory / shards.shard_name(split, 0, 1), examples(count)),)
        for split, count in (("train", 24), ("validation", 5))
    }
    shards.write_manifest(directory, shards.Manifest("uneven", HUMAN36M_17, (64, 96), splits, {"name": "tests"}))
    return directory


def replicas(dataset, what: str) -> dict:
    command = [sys.executable, "-m", "tests.training.replicas", str(dataset), what]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(output.splitlines()[-1])


def assert_same(ours: dict, theirs: dict, rel: float = 1e-4, atol: float = 1e-5) -> None:
    assert len(theirs["losses"]) == 3
    for a, b in zip(ours["losses"], theirs["losses"], strict=True):
        assert a == pytest.approx(b, rel=rel, abs=1e-6)
    np.testing.assert_allclose(ours["weights"], theirs["weights"], atol=atol)
    np.testing.assert_allclose(ours["statistics"], theirs["statistics"], rtol=max(1e-3, 5 * rel))


def test_replicas_and_parts_of_a_batch_equal_one_device_and_the_whole(uneven_dataset):
    found = replicas(uneven_dataset, "backbone")
    assert found["mirrored"]["replicas"] == 2
    assert_same(found["mirrored"], found["one_device"])
    assert_same(found["accumulated"], found["one_device"])
    # Each replica has one vote, of 0.5 here.
    assert found["mirrored"]["votes"] == [1.0] * 3 and found["one_device"]["votes"] == [0.5] * 3


def test_settings_of_the_step_change_no_figure(uneven_dataset):
    found = replicas(uneven_dataset, "lifter")
    assert_same(found["mirrored, halves"], found["one_device, halves"])
    assert_same(found["synchronized"], found["one_device"])
    # Keras' Adam adds its epsilon before the bias correction, which shows where gradients are as small.
    assert_same(found["without tricks"], found["one_device"], rel=2e-3, atol=1e-3)
    assert_same(found["accumulated and compiled"], found["one_device, frozen"])
    ours, theirs = found["batch norm, synchronized"]["values"], found["batch norm"]["values"]
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)
