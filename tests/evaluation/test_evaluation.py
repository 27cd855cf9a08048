"""Evaluation of models with known scores."""

import json

import numpy as np
import pytest

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import COCO_17, HUMAN36M_17, LSP_14, map_joints
from keras_pose.data import shards
from keras_pose.data.dataset import open_dataset
from keras_pose.evaluation.report import format_comparison
from tests.conftest import make_example
from tests.evaluation.conftest import KEYS, all_examples, evaluate, oracle


def test_perfect_predictions_have_no_error(dataset):
    summary = evaluate(oracle, dataset).summary()
    assert summary["mpjpe_mm"] == 0 and summary["pa_mpjpe_mm"] < 0.1 and summary["n_mpjpe_mm"] < 0.1
    for name in ("pck3d_150mm", "auc", "pck_0_2", "pck_0_2_either_side", "pckh_0_5"):
        assert summary[name] == 1
    assert summary["left_right_collapse"] == 0
    assert summary["mean_pose_mpjpe_mm"] > 100


@pytest.mark.parametrize("batch_size", [1, 4, 6, 100])
def test_numbers_do_not_depend_on_the_batch(dataset, batch_size):
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 40, (17, 3)).astype(np.float32)

    def predict(batch):
        return {"pose_3d": batch["pose_3d"] + noise, "keypoints_2d": batch["keypoints_2d"] + noise[:, :2] / 1000}

    expected = evaluate(predict, dataset).to_dict()
    found = evaluate(predict, dataset, batch_size=batch_size).to_dict()
    assert found["count"] == 6
    assert found["mpjpe_mm"] == pytest.approx(np.linalg.norm(noise - noise[0], axis=-1).mean(), rel=1e-4)
    assert found["mpjpe_noisy_mm"] is None
    for key in KEYS - {"mpjpe_noisy_mm", "per_joint", "per_action", "per_posture", "split", "dataset", "model"}:
        assert found[key] == pytest.approx(expected[key], rel=1e-4)


def test_predicting_the_mean_pose_scores_the_mean_pose_error(dataset):
    """The mean is the training split's, not that of the split that is scored."""
    mean = all_examples(dataset, "train")["pose_3d"].mean(0)
    summary = evaluate(lambda batch: {"pose_3d": np.tile(mean, (len(batch["pose_3d"]), 1, 1))}, dataset).summary()
    assert summary["mpjpe_mm"] == pytest.approx(summary["mean_pose_mpjpe_mm"], rel=1e-4)


def test_a_known_shift_has_a_known_pck(dataset):
    """Joints 1 to 5 are off by 0.19 torso lengths along x, 6 to 17 by 0.21: five of 17 are right."""

    def predict(batch):
        points = geometry.denormalize_keypoints(batch["keypoints_2d"], dataset.image_size)
        torso = np.linalg.norm(
            points[:, HUMAN36M_17.index("left_shoulder")] - points[:, HUMAN36M_17.index("right_hip")], axis=-1
        )
        points[..., 0] += torso[:, None] * np.where(np.arange(17) < 5, 0.19, 0.21)
        return {"keypoints_2d": geometry.normalize_keypoints(points, dataset.image_size)}

    result = evaluate(predict, dataset)
    assert result.summary()["pck_0_2"] == pytest.approx(5 / 17)
    assert result.summary()["mpjpe_mm"] is None and result.summary()["mean_pose_mpjpe_mm"] > 0
    assert [row["pck_0_2"] for row in result.per_joint().values()] == [1] * 5 + [0] * 12


def test_actions_split_the_examples(dataset):
    """Sitting is predicted perfectly, walking with a wrist 340 mm off: 20 mm of 17 joints."""

    def predict(batch):
        wrong = np.zeros((len(batch["action"]), 17, 3), np.float32)
        wrong[batch["action"] == b"walk", HUMAN36M_17.index("left_wrist"), 1] = 340
        return {"pose_3d": batch["pose_3d"] + wrong}

    result = evaluate(predict, dataset)
    actions = result.per_action()
    assert actions["sit"]["mpjpe_mm"] == 0 and actions["walk"]["mpjpe_mm"] == pytest.approx(20, rel=1e-4)
    assert sum(row["count"] for row in actions.values()) == result.count == 6
    assert result.per_joint()["left_wrist"]["mpjpe_mm"] == pytest.approx(
        340 * actions["walk"]["count"] / result.count, rel=1e-4
    )


def test_limbs_are_scored_apart_from_trunk_and_head(dataset):
    """The twelve limb joints are right, the other five far off."""
    limbs = [n.endswith(("shoulder", "elbow", "wrist", "hip", "knee", "ankle")) for n in HUMAN36M_17.joint_names]

    def predict(batch):
        return {"keypoints_2d": batch["keypoints_2d"] + np.where(limbs, 0, 3)[:, None].astype(np.float32)}

    summary = evaluate(predict, dataset).summary()
    assert sum(limbs) == 12 and summary["pck_0_2_limbs"] == summary["pckh_0_5_limbs"] == 1
    assert summary["pck_0_2"] == pytest.approx(12 / 17)


def test_upright_people_are_scored_apart(tmp_path):
    """The spine turns by 0 to 315 degrees: up to 45 either way is upright. Only those who are get right predictions."""
    rng, examples = np.random.default_rng(7), []
    for i, angle in enumerate(np.deg2rad([0, 44, 46, 90, 180, 270, 314, 316])):
        body = make_example(rng, i)
        points = body.keypoints_2d_px
        hips = [HUMAN36M_17.index("left_hip"), HUMAN36M_17.index("right_hip")]
        points[HUMAN36M_17.index("thorax")] = points[hips].mean(0) + 20 * np.array([np.sin(angle), -np.cos(angle)])
        examples.append(body)
    examples[4].keypoint_valid[HUMAN36M_17.index("left_hip")] = False  # nobody can tell
    entry = shards.write_shard(tmp_path / shards.shard_name("test", 0, 1), examples)
    shards.write_manifest(tmp_path, shards.Manifest("turned", HUMAN36M_17, (64, 96), {"test": (entry,)}, {}))

    def predict(batch):
        upright = np.isin(batch["frame"], (0, 1, 7))
        return {"keypoints_2d": np.where(upright[:, None, None], batch["keypoints_2d"], 9).astype(np.float32)}

    result = evaluate(predict, open_dataset(str(tmp_path)))
    upright, others = result.per_posture().values()
    assert (upright["count"], others["count"]) == (3, 4)
    assert upright["pck_0_2"] == 1 and others["pck_0_2"] == 0
    rows = format_comparison([result, result]).splitlines()[1:]
    assert [row.split()[-7] for row in rows] == ["8", "3", "4"] * 2


def test_upright_poses_without_images_are_measured_in_pixels(tmp_path):
    """Crops of 64 x 96 pixels: a spine at 40 degrees is at 29 degrees in shares of the crop, one at 50 at 38."""
    rng, examples = np.random.default_rng(7), []
    hips = [HUMAN36M_17.index("left_hip"), HUMAN36M_17.index("right_hip")]
    for i, angle in enumerate(np.deg2rad([40, 50])):
        body = make_example(rng, i, image_jpeg=b"")
        body.keypoints_2d_px[hips] = (48, 40)
        body.keypoints_2d_px[HUMAN36M_17.index("thorax")] = (48 + 20 * np.sin(angle), 40 - 20 * np.cos(angle))
        examples.append(body)
    entry = shards.write_shard(tmp_path / shards.shard_name("test", 0, 1), examples)
    shards.write_manifest(tmp_path, shards.Manifest("poses", HUMAN36M_17, None, {"test": (entry,)}, {}))
    result = evaluate(lambda batch: {"pose_3d": batch["pose_3d"]}, open_dataset(str(tmp_path)))
    assert result.scores["upright"].tolist() == [1, 0]


def test_people_seen_from_the_wrong_side_are_correct_up_to_a_swap(dataset):
    left, right = np.array(HUMAN36M_17.left_right_pairs).T

    def predict(batch):
        points = batch["keypoints_2d"].copy()
        points[:, left], points[:, right] = points[:, right], points[:, left].copy()
        return {"keypoints_2d": points}

    summary = evaluate(predict, dataset).summary()
    assert summary["pck_0_2_either_side"] == 1 and summary["left_right_collapse"] == 0
    assert summary["pck_0_2"] < 0.8


def test_both_of_a_pair_on_one_limb_is_a_collapse(dataset):
    left, right = np.array(HUMAN36M_17.left_right_pairs).T

    def predict(batch):
        points = batch["keypoints_2d"].copy()
        points[:, left] = points[:, right]
        return {"keypoints_2d": points}

    assert evaluate(predict, dataset).summary()["left_right_collapse"] == 1


def test_human36m_predictions_on_14_joints_in_2d(lsp_dataset):
    """A 17-joint model is scored on the 14 joints of LSP; there is no 3D, so its metrics are null."""

    def predict(batch):
        points, valid = map_joints(batch["keypoints_2d"], np.ones((4, 14), bool), LSP_14, HUMAN36M_17)
        return {"keypoints_2d": points, "pose_3d": np.zeros((4, 17, 3), np.float32)}

    result = evaluate(predict, lsp_dataset)
    summary = result.summary()
    assert summary["pck_0_2"] == 1 and summary["pckh_0_5"] == 1
    for name in ("mpjpe_mm", "pa_mpjpe_mm", "n_mpjpe_mm", "pck3d_150mm", "auc", "mean_pose_mpjpe_mm"):
        assert summary[name] is None
    per_joint = result.per_joint()
    assert len(per_joint) == 14 and per_joint[LSP_14.joint_names[4]]["pck_0_2"] is None
    json.dumps(result.to_dict(), allow_nan=False)


def test_joints_that_the_model_lacks_are_not_scored(dataset):
    """COCO has no spine: a model of its joints is scored on the others, also in 3D."""
    to_coco = [HUMAN36M_17.index(n) if n in HUMAN36M_17.joint_names else 0 for n in COCO_17.joint_names]
    result = evaluate(lambda batch: {k: v[:, to_coco] for k, v in oracle(batch).items()}, dataset, skeleton=COCO_17)
    per_joint = result.per_joint()
    assert per_joint["spine"] == {"mpjpe_mm": None, "pck3d_150mm": None, "pck_0_2": None, "pckh_0_5": None}
    assert per_joint["left_wrist"]["pck_0_2"] == 1
    assert per_joint["pelvis"]["mpjpe_mm"] == 0  # the middle of the hips stands in, and is the root


def write_some(folder, valid: np.ndarray, unlabelled_mm: float = 0.0):
    """Poses of which (N, 17) joints have a 3D label, in the test split; the others' numbers are `unlabelled_mm`."""
    rng, examples = np.random.default_rng(6), []
    for i, labelled in enumerate(valid):
        example = make_example(rng, i, pose_3d_valid=labelled)
        example.pose_3d_mm[~labelled] = unlabelled_mm
        examples.append(example)
    folder.mkdir()
    entry = shards.write_shard(folder / shards.shard_name("test", 0, 1), examples)
    shards.write_manifest(folder, shards.Manifest("some", HUMAN36M_17, (64, 96), {"test": (entry,)}, {}))
    return open_dataset(str(folder))


def test_joints_without_a_3d_label_are_not_scored(tmp_path):
    """Joint j is predicted j mm off: the mean is that of the labeled joints, and each joint's its own."""
    valid = np.ones((6, 17), bool)
    valid[1, 9:], valid[2], valid[3, 3:], valid[:, 13] = False, False, False, False

    def predict(batch):
        pose = batch["pose_3d"] + np.where(batch["pose_3d_valid"][..., None] > 0, [0, 0, 1], 0) * np.arange(17)[:, None]
        return {"pose_3d": pose.astype(np.float32), "pose_3d_noisy": pose.astype(np.float32)}

    result = evaluate(predict, write_some(tmp_path / "some", valid))
    summary, joints = result.summary(), result.per_joint()
    expected = np.nonzero(valid)[1].mean()
    assert summary["mpjpe_mm"] == pytest.approx(expected, rel=1e-4) == summary["mpjpe_noisy_mm"]
    assert joints["spine"]["mpjpe_mm"] == pytest.approx(HUMAN36M_17.index("spine"), rel=1e-4)
    assert joints[HUMAN36M_17.joint_names[13]]["mpjpe_mm"] is None
    scores = result.scores
    assert np.isnan(scores["error_mm"]).sum() == np.isnan(scores["pck3d"]).sum() == (~valid).sum()
    # too few joints to align by: none, and three
    np.testing.assert_array_equal(np.isnan(scores["aligned_error_mm"]), np.arange(6) % 4 // 2 == 1)
    np.testing.assert_array_equal(np.isnan(scores["scaled_error_mm"]), np.arange(6) == 2)


def test_numbers_without_a_label_change_no_score(tmp_path):
    valid = np.random.default_rng(2).uniform(size=(5, 17)) < 0.7
    valid[:, 0] = True

    def predict(batch):
        noise = np.random.default_rng(3).normal(0, 60, batch["pose_3d"].shape) * (np.arange(17) > 0)[:, None]
        return {
            "pose_3d": (np.where(batch["pose_3d_valid"][..., None] > 0, batch["pose_3d"], 0) + noise).astype(np.float32)
        }

    results = [
        evaluate(predict, write_some(tmp_path / f"{mm:.0f}", valid, mm), batch_size=5).to_dict() for mm in (0.0, 900.0)
    ]
    assert results[0]["pa_mpjpe_mm"] > 10
    for key in KEYS - {"dataset"}:
        assert results[0][key] == results[1][key], key


def test_nan_is_not_treated_as_a_missing_label(dataset):
    with pytest.raises(UserError, match="predicts NaN"):
        evaluate(lambda batch: {"pose_3d": batch["pose_3d"] * np.nan}, dataset)
