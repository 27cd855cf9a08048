"""The data sets for this folder's tests, and models with known scores."""

from dataclasses import replace

import numpy as np
import pytest

from keras_pose.core.skeleton import HUMAN36M_17, LSP_14, map_joints
from keras_pose.data import shards
from keras_pose.data.dataset import open_dataset
from keras_pose.data.pipeline import make_batches
from keras_pose.evaluation.result import evaluate_model
from tests.conftest import make_example

KEYS = {
    *("split", "count", "dataset", "model", "per_joint", "per_action", "per_posture"),
    *("mpjpe_mm", "mpjpe_noisy_mm", "pa_mpjpe_mm", "n_mpjpe_mm", "pck3d_150mm", "auc", "mean_pose_mpjpe_mm"),
    *("pckh_0_5", "pck_0_2", "pckh_0_5_limbs", "pck_0_2_limbs", "pck_0_2_either_side"),
    "left_right_collapse",
}


def oracle(batch):
    return {name: batch[name] for name in ("keypoints_2d", "pose_3d")}


def evaluate(predict, dataset, skeleton=HUMAN36M_17, **options):
    return evaluate_model(predict, skeleton, dataset, **({"batch_size": 4} | options))


def all_examples(dataset, split="test"):
    return next(make_batches(dataset, split, 100, training=False).as_numpy_iterator())


@pytest.fixture(scope="module")
def dataset(toy_dataset):
    return open_dataset(str(toy_dataset))


@pytest.fixture(scope="module")
def lsp_dataset(tmp_path_factory):
    """Four images with 14 joints in 2D, one of which has no label, and no training split."""
    rng = np.random.default_rng(5)
    examples = []
    for i in range(4):
        body = make_example(rng, i)
        points, _ = map_joints(body.keypoints_2d_px, np.ones(17, bool), HUMAN36M_17, LSP_14)
        changes = {"skeleton": "lsp_14", "pose_3d_valid": np.zeros(14, bool), "pose_3d_mm": np.zeros((14, 3))}
        masks = {"keypoint_valid": np.arange(14) != 4, "keypoint_hidden": np.zeros(14, bool)}
        examples.append(replace(body, keypoints_2d_px=points, **changes, **masks))
    folder = tmp_path_factory.mktemp("lsp")
    entry = shards.write_shard(folder / shards.shard_name("test", 0, 1), examples)
    shards.write_manifest(folder, shards.Manifest("lsp", LSP_14, (64, 96), {"test": (entry,)}, {}))
    return open_dataset(str(folder))
