"""Evaluation with models whose scores are known beforehand."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from keras_pose import geometry
from keras_pose.data import shards
from keras_pose.data.pipeline import make_batches, open_dataset
from keras_pose.errors import UserError
from keras_pose.evaluation import (
    batch_predictor,
    evaluate_model,
    format_comparison,
    format_tables,
    with_flip_test,
    write_evaluation,
)
from keras_pose.runtimes import LoadedModel
from keras_pose.skeleton import COCO_17, HUMAN36M_17, LSP_14, map_joints
from tests.conftest import make_example, write_dataset

KEYS = {
    *("split", "count", "dataset", "model", "per_joint", "per_action", "per_posture"),
    *("mpjpe_mm", "mpjpe_noisy_mm", "pa_mpjpe_mm", "n_mpjpe_mm", "pck3d_150mm", "auc", "mean_pose_mpjpe_mm"),
    *("pckh_0_5", "pck_0_2", "pckh_0_5_limbs", "pck_0_2_limbs", "left_right_collapse"),
}


def oracle(batch):
    return {name: batch[name] for name in ("keypoints_2d", "pose_3d")}


@pytest.fixture(scope="module")
def dataset(toy_dataset):
    return open_dataset(str(toy_dataset))


def evaluate(predict, dataset, skeleton=HUMAN36M_17, **options):
    return evaluate_model(predict, skeleton, dataset, **({"batch_size": 4} | options))


def all_examples(dataset, split="test"):
    return next(make_batches(dataset, split, 100, training=False).as_numpy_iterator())


def test_perfect_predictions_have_no_error(dataset):
    summary = evaluate(oracle, dataset).summary()
    assert summary["mpjpe_mm"] == 0 and summary["pa_mpjpe_mm"] < 0.1 and summary["n_mpjpe_mm"] < 0.1
    for name in ("pck3d_150mm", "auc", "pck_0_2", "pckh_0_5"):
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
    assert [row.split()[-6] for row in rows] == ["8", "3", "4"] * 2


def test_both_of_a_pair_on_one_limb_is_a_collapse(dataset):
    left, right = np.array(HUMAN36M_17.left_right_pairs).T

    def predict(batch):
        points = batch["keypoints_2d"].copy()
        points[:, left] = points[:, right]
        return {"keypoints_2d": points}

    assert evaluate(predict, dataset).summary()["left_right_collapse"] == 1


def test_flip_test_undoes_what_only_one_side_has(dataset):
    """A model that is always 40 mm too far right, and 0.1 of the crop, is right on average with its mirror image."""
    mirror = list(HUMAN36M_17.flip_permutation)
    labels = {picture.tobytes(): i for i, picture in enumerate(all_examples(dataset)["image"])}
    truth = all_examples(dataset)

    def biased(batch):
        outputs = {"keypoints_2d": [], "pose_3d": []}
        for image in batch["image"]:
            if (i := labels.get(image.tobytes())) is not None:
                points, pose = truth["keypoints_2d"][i], truth["pose_3d"][i]
            else:
                i = labels[np.ascontiguousarray(image[:, ::-1]).tobytes()]
                points, pose = truth["keypoints_2d"][i][mirror], truth["pose_3d"][i][mirror] * [-1, 1, 1]
                points = points * [-1, 1] + [1, 0]
            outputs["keypoints_2d"].append(points + [0.1, 0])
            outputs["pose_3d"].append(pose + bend)
        return {name: np.array(values, np.float32) for name, values in outputs.items()}

    bend = np.zeros((17, 3))
    bend[HUMAN36M_17.index("head_top"), 0] = 40
    plain, flipped = (evaluate(biased, dataset, flip_test=flip) for flip in (False, True))
    assert plain.summary()["mpjpe_mm"] == pytest.approx(40 / 17, rel=1e-3)
    assert flipped.summary()["mpjpe_mm"] < 0.01
    assert plain.scores["error_px"].mean() > 5 and flipped.scores["error_px"].max() < 1e-3
    assert flipped.to_dict()["model"]["flip_test"] is True


def test_flip_test_of_a_lifter_mirrors_what_it_sees(dataset):
    """A lifter that reads x from its input, where mirroring must turn x and swap the sides."""

    def lift(batch):
        return {"pose_3d": np.pad(batch["keypoints_2d"], [(0, 0), (0, 0), (0, 1)])}

    batch = all_examples(dataset)
    plain, both = lift(batch)["pose_3d"], with_flip_test(lift, HUMAN36M_17)(batch)["pose_3d"]
    assert np.allclose(both[..., 1], plain[..., 1], atol=1e-5)
    assert np.allclose(both[..., 0], plain[..., 0] - 0.5, atol=1e-5)


@pytest.fixture(scope="module")
def lsp_dataset(tmp_path_factory):
    """Four pictures with 14 joints in 2D, one of which has no label, and no training split."""
    rng = np.random.default_rng(5)
    examples = []
    for i in range(4):
        body = make_example(rng, i)
        points, _ = map_joints(body.keypoints_2d_px, np.ones(17, bool), HUMAN36M_17, LSP_14)
        changes = {"skeleton": "lsp_14", "has_pose_3d": False, "pose_3d_mm": np.zeros((14, 3))}
        masks = {"keypoint_valid": np.arange(14) != 4, "keypoint_hidden": np.zeros(14, bool)}
        examples.append(replace(body, keypoints_2d_px=points, **changes, **masks))
    folder = tmp_path_factory.mktemp("lsp")
    entry = shards.write_shard(folder / shards.shard_name("test", 0, 1), examples)
    shards.write_manifest(folder, shards.Manifest("lsp", LSP_14, (64, 96), {"test": (entry,)}, {}))
    return open_dataset(str(folder))


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


def test_nan_is_not_taken_for_a_missing_label(dataset):
    with pytest.raises(UserError, match="predicts NaN"):
        evaluate(lambda batch: {"pose_3d": batch["pose_3d"] * np.nan}, dataset)


def test_pictures_are_resized_but_not_stretched(dataset):
    seen = []

    def run(images):
        seen.append(images.shape)
        return {"keypoints_2d": np.zeros((len(images), 17, 2)), "scores": np.zeros((len(images), 17))}

    evaluate(batch_predictor(LoadedModel("half", HUMAN36M_17, (32, 48), run)), dataset)
    assert set(seen) == {(4, 32, 48, 3), (2, 32, 48, 3)}
    with pytest.raises(UserError, match="64 x 64.*64 x 96"):
        evaluate(batch_predictor(LoadedModel("square", HUMAN36M_17, (64, 64), run)), dataset)


def test_a_lifter_is_tried_with_a_detectors_errors_too(dataset):
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


def test_poses_without_pictures_go_to_a_lifter(tmp_path):
    folder = write_dataset(tmp_path / "poses", {"train": 5, "test": 3}, image_jpeg=b"")
    manifest = json.loads((folder / "manifest.json").read_text()) | {"image_size": None}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    dataset = open_dataset(str(folder))
    result = evaluate(lambda batch: {"pose_3d": batch["pose_3d"]}, dataset)
    assert result.summary()["mpjpe_mm"] == 0 and result.samples == ()
    loaded = LoadedModel("sees", HUMAN36M_17, (64, 96), oracle)
    with pytest.raises(UserError, match="poses without pictures"):
        evaluate(batch_predictor(loaded), dataset)


# --- report ----------------------------------------------------------------------------------------------------


def test_report_files(dataset, tmp_path):
    noise = np.random.default_rng(0).normal(0, 60, (6, 17, 3)).astype(np.float32) * np.arange(6)[:, None, None]

    def predict(batch):
        mm = noise[batch["frame"]]
        return {"pose_3d": batch["pose_3d"] + mm, "keypoints_2d": batch["keypoints_2d"] + mm[..., :2] / 5000}

    result = evaluate(predict, dataset, name="noisy")
    write_evaluation(tmp_path / "out", result)
    values = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert set(values) == KEYS and values["dataset"]["skeleton"] == "human36m_17"
    for name in ("evaluation_errors.png", "evaluation_samples.png"):
        assert cv2.imread(str(tmp_path / "out" / name)).std() > 5
    places = [(sample.place, int(sample.example["frame"])) for sample in result.samples]
    assert places[0] == ("best", 0) and places[6] == ("worst", 5) and len(places) == 9
    assert result.samples[0].error < result.samples[3].error < result.samples[6].error


def test_what_is_killed_before_its_pictures_is_no_finished_run(dataset, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    result = evaluate(oracle, dataset)
    for step in ("figures.plot_error_histograms", "save_png"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(f"keras_pose.evaluation.report.{step}", killed)
            write_evaluation(tmp_path, result)
        assert not (tmp_path / "evaluation.json").exists()


def test_tables_are_aligned_and_leave_out_empty_columns(dataset, lsp_dataset):
    text = format_tables(evaluate(oracle, dataset))
    blocks = [block.splitlines() for block in text.split("\n\n")]
    assert len(blocks) == 5 and [len(block) for block in blocks[2:]] == [18, 3, 3]
    for block in blocks[1:]:
        assert len({len(line) for line in block}) == 1

    def predict(batch):
        return {"keypoints_2d": batch["keypoints_2d"]}

    text_2d = format_tables(evaluate(predict, lsp_dataset, skeleton=LSP_14))
    assert "MPJPE mm" in text and "MPJPE mm" not in text_2d.split("\n\n")[2]
