"""The inputs that evaluation gives to image models and to lifters."""

import json

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17, MPI_INF_3DHP_17
from keras_pose.data.dataset import open_dataset
from keras_pose.evaluation.predictions import batch_predictor
from keras_pose.evaluation.result import evaluate_model
from keras_pose.inference.runtimes import LoadedModel
from tests.conftest import write_dataset
from tests.evaluation.conftest import all_examples, evaluate, oracle


def test_images_are_resized_but_not_stretched(dataset):
    seen = []

    def run(images):
        seen.append(images.shape)
        return {"keypoints_2d": np.zeros((len(images), 17, 2)), "scores": np.zeros((len(images), 17))}

    evaluate(batch_predictor(LoadedModel("half", HUMAN36M_17, (32, 48), run)), dataset)
    assert set(seen) == {(4, 32, 48, 3), (2, 32, 48, 3)}
    with pytest.raises(UserError, match="64 x 64.*64 x 96"):
        evaluate(batch_predictor(LoadedModel("square", HUMAN36M_17, (64, 64), run)), dataset)


def test_a_lifter_is_also_tested_with_a_detectors_errors(dataset):
    """One that copies what it sees: its poses differ by those errors, in any batch by the same."""

    def lifter(keypoints_2d, training):
        return {"pose_3d": np.pad(keypoints_2d * 1000, [(0, 0), (0, 0), (0, 1)])}

    predict = batch_predictor(lifter)
    outputs = predict(all_examples(dataset))
    errors = (outputs["pose_3d_noisy"] - outputs["pose_3d"])[..., :2] / 1000
    assert 0.009 < np.median(np.abs(errors)) / 0.6745 < 0.012 and np.abs(errors).max() > 0.03
    summary = evaluate(predict, dataset).summary()
    assert summary["mpjpe_noisy_mm"] == pytest.approx(
        evaluate(predict, dataset, batch_size=5).summary()["mpjpe_noisy_mm"]
    )
    assert summary["mpjpe_noisy_mm"] != summary["mpjpe_mm"]
    assert evaluate(oracle, dataset).summary()["mpjpe_noisy_mm"] is None


def test_a_lifter_sees_unlabeled_keypoints_where_requested(tmp_path):
    valid, seen = np.arange(17) % 4 > 0, []
    dataset = open_dataset(str(write_dataset(tmp_path, {"train": 5, "test": 3}, keypoint_valid=valid)))

    def lifter(keypoints_2d, training):
        seen.append(np.array(keypoints_2d))
        return {"pose_3d": np.zeros((*keypoints_2d.shape[:2], 3), np.float32)}

    mean = np.random.default_rng(0).uniform(size=(17, 2)).astype(np.float32)
    evaluate(batch_predictor(lifter, unlabelled_at=mean), dataset)
    for points in seen:
        np.testing.assert_array_equal(points[:, ~valid], np.broadcast_to(mean[~valid], (3, 5, 2)))
        assert np.abs(points[:, valid] - mean[valid]).min() > 0


def test_the_flip_test_keeps_a_lifters_figure_under_noise(dataset):
    predict = batch_predictor(lambda points, training: {"pose_3d": np.pad(points * 1000, [(0, 0), (0, 0), (0, 1)])})
    plain, flipped = (evaluate(predict, dataset, flip_test=flip).summary() for flip in (False, True))
    assert plain["mpjpe_noisy_mm"] > 0 and flipped["mpjpe_noisy_mm"] > 0


def test_a_lifter_sees_the_joints_of_its_own_skeleton(dataset):
    """Data of another skeleton: what the lifter sees is mapped by name, mirrored or not."""
    seen = []

    def lifter(keypoints_2d, training):
        seen.append(np.array(keypoints_2d))
        return {"pose_3d": np.zeros((*keypoints_2d.shape[:2], 3), np.float32)}

    predict = batch_predictor(lifter, MPI_INF_3DHP_17, HUMAN36M_17)
    evaluate_model(predict, MPI_INF_3DHP_17, dataset, "test", flip_test=True)
    labelled = all_examples(dataset)["keypoints_2d"]
    for name in ("left_hip", "right_wrist", "pelvis"):
        other = {"left_hip": "right_hip", "right_wrist": "left_wrist"}.get(name, name)
        ours, theirs = HUMAN36M_17.index(name), MPI_INF_3DHP_17.index(name)
        np.testing.assert_allclose(seen[0][:, theirs], labelled[:, ours], atol=1e-6)
        mirrored = labelled[:, HUMAN36M_17.index(other)] * [-1, 1] + [1, 0]
        np.testing.assert_allclose(seen[2][:, theirs], mirrored, atol=1e-5)


def test_poses_without_images_go_to_a_lifter(tmp_path):
    folder = write_dataset(tmp_path / "poses", {"train": 5, "test": 3}, image_jpeg=b"")
    manifest = json.loads((folder / "manifest.json").read_text()) | {"image_size": None}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    dataset = open_dataset(str(folder))
    result = evaluate(lambda batch: {"pose_3d": batch["pose_3d"]}, dataset)
    assert result.summary()["mpjpe_mm"] == 0 and result.samples == ()
    loaded = LoadedModel("sees", HUMAN36M_17, (64, 96), oracle)
    with pytest.raises(UserError, match="poses without images"):
        evaluate(batch_predictor(loaded), dataset)
