"""Two replicas do what one device does. BatchNorm keeps each replica's own statistics, so the two cases part there."""

import json
import subprocess
import sys

import numpy as np
import pytest

from keras_pose.data import shards
from keras_pose.skeleton import HUMAN36M_17
from tests.conftest import make_example


@pytest.fixture(scope="module")
def uneven_dataset(tmp_path_factory):
    """Some examples without 3D, some joints without label: replicas hold different numbers of either."""
    directory, rng = tmp_path_factory.mktemp("uneven"), np.random.default_rng(0)

    def examples(count):
        for i in range(count):
            valid = rng.uniform(size=17) < 0.7
            yield make_example(rng, i, keypoint_valid=valid, has_pose_3d=i % 3 > 0)

    splits = {
        split: (shards.write_shard(directory / shards.shard_name(split, 0, 1), examples(count)),)
        for split, count in (("train", 24), ("validation", 5))
    }
    shards.write_manifest(directory, shards.Manifest("uneven", HUMAN36M_17, (64, 96), splits, {"name": "tests"}))
    return directory


@pytest.mark.parametrize("batch_norm", ["frozen", "live"])
def test_two_replicas_equal_one_device(uneven_dataset, batch_norm):
    command = [sys.executable, "-m", "tests.training.replicas", str(uneven_dataset), batch_norm]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = json.loads(output.splitlines()[-1])
    assert found["replicas"] == 2
    one, two = found["one_device"], found["mirrored"]
    assert len(one["losses"]) == 3
    for ours, theirs in zip(two["losses"], one["losses"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    np.testing.assert_allclose(two["weights"], one["weights"], atol=1e-5)
