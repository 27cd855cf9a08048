"""3D data mixed with data that have partial 3D labels or only 2D labels: what each of them trains."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data import shards
from keras_pose.data.dataset import open_dataset
from keras_pose.data.pipeline import make_batches
from keras_pose.losses import LossConfig, pose_losses
from keras_pose.models.pose_model import PoseModelConfig, PoseStatistics, build_lifter, build_pose_model
from keras_pose.train import scored_split
from keras_pose.training.data_check import check_data
from keras_pose.training.experiment import PhaseConfig
from keras_pose.training.phases import Phase, parts_of
from keras_pose.training.steps import eval_means, eval_terms
from tests.conftest import make_example, write_dataset
from tests.training.runs import assert_same_run, read_metrics, run, tiny_experiment, write_poses


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """16 images with joints in 2D, a fifth of them not labeled, and no validation split."""
    unlabelled = {
        "pose_3d_valid": np.zeros(17, bool),
        "pose_3d_mm": np.zeros((17, 3)),
        "keypoint_valid": np.arange(17) % 5 > 0,
    }
    return write_dataset(tmp_path_factory.mktemp("photos"), {"train": 16}, seed=1, **unlabelled)


@pytest.fixture(scope="module")
def gradients(photos, toy_dataset):
    """A function from a loss' configuration to the size of each part's gradient on a batch of photos."""
    statistics = PoseStatistics.from_dict(open_dataset(str(toy_dataset)).statistics)
    model = build_pose_model(PoseModelConfig(variant="w8_tiny", input_size=(64, 96), width=8, dropout=0.0), statistics)
    batch = next(iter(make_batches(open_dataset(str(photos)), "train", 4, training=False)))

    def of(config: LossConfig) -> dict[str, float]:
        with tf.GradientTape(persistent=True) as tape:
            loss = pose_losses(batch, Phase("e2e", model).forward(batch, training=False), HUMAN36M_17, config)["loss"]
        sizes = {}
        for name, part in parts_of(model).items():
            variables = [variable.value for variable in part.trainable_variables]
            found = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            sizes[name] = max(float(tf.reduce_max(tf.abs(gradient))) for gradient in found)
        return sizes

    return of


def test_photos_train_heatmaps_and_regularizers(gradients):
    heatmaps = gradients(LossConfig(gamma=0.0, delta=0.0))
    assert heatmaps["hrnet"] > 0 and heatmaps["encoder"] == heatmaps["decoder"] == 0
    symmetry = gradients(LossConfig(alpha=0.0, gamma=0.0, delta=1.0))
    assert symmetry["encoder"] > 0 and symmetry["decoder"] == 0
    assert all(size > 0 for size in gradients(LossConfig(alpha=0.0, gamma=1.0, delta=0.0)).values())


def test_a_mix_trains_and_is_validated_on_what_has_3d(photos, toy_dataset, tmp_path):
    prior = LossConfig(adversarial_weight=0.1)  # which judges poses of both
    run(tiny_experiment(tmp_path / "run", f"{toy_dataset}:0.5,{photos}:0.5", loss=prior))
    (epoch,) = [line for line in read_metrics(tmp_path / "run") if line["kind"] == "epoch"]
    assert all(np.isfinite(value) for value in epoch.values() if isinstance(value, float))
    assert 50 < epoch["val_mpjpe_mm"] < 1000
    assert 0 < epoch["discriminator"] < 1 and epoch["val_adversarial"] > 0
    mixed, alone = open_dataset(f"{toy_dataset}:0.5,{photos}:0.5"), open_dataset(str(toy_dataset))
    np.testing.assert_allclose(mixed.statistics["pose_3d_mean"], alone.statistics["pose_3d_mean"])
    assert mixed.count("validation") == alone.count("validation")


# --- 3D joint by joint -----------------------------------------------------------------------------------------


def write_partial(folder, unlabelled_mm: float = 0.0):
    """Whole poses, none, and poses of some joints, whose other joints have `unlabelled_mm` as their numbers."""
    rng, splits = np.random.default_rng(0), {}
    for split, count in (("train", 24), ("validation", 5)):
        examples = []
        for i in range(count):
            labelled = np.full(17, i % 3 == 0)
            if i % 3 == 1:
                labelled = rng.uniform(size=17) < 0.5
                labelled[0] = True
            example = make_example(rng, i, pose_3d_valid=labelled)
            example.pose_3d_mm[~labelled] = unlabelled_mm
            examples.append(example)
        splits[split] = (shards.write_shard(folder / shards.shard_name(split, 0, 1), examples),)
    shards.write_manifest(folder, shards.Manifest("partial", HUMAN36M_17, (64, 96), splits, {"name": "tests"}))
    return folder


@pytest.mark.parametrize("phase", ["lifter", "e2e"])
def test_numbers_of_joints_without_a_label_change_nothing(tmp_path, phase):
    """Trained on two data sets that differ in these numbers alone, a run is the same to the bit."""
    (config,), prior = (PhaseConfig(phase, 1, flip=0.5),), LossConfig(adversarial_weight=0.1)
    found = []
    for mm in (0.0, 900.0):
        for name in ("data", "run"):
            (tmp_path / f"{name}{mm:.0f}").mkdir()
        data = write_partial(tmp_path / f"data{mm:.0f}", mm)
        found.append(tiny_experiment(tmp_path / f"run{mm:.0f}", data, (config,), loss=prior))
        run(found[-1])
    assert_same_run(*found)
    (epoch,) = [line for line in read_metrics(found[0].output) if line["kind"] == "epoch"]
    assert 0 < epoch["encoder"] < 1 and 50 < epoch["val_mpjpe_mm"] < 1000 and epoch["val_pa_mpjpe_mm"] > 10


def test_validation_weights_all_labeled_joints_equally():
    """Joint j is off by j mm; of the second example only three joints have a label, too few to align them."""
    valid = np.ones((2, 17), np.float32)
    valid[1, 3:] = 0
    rng = np.random.default_rng(0)
    labels = {"keypoints_2d": rng.uniform(size=(2, 17, 2)), "keypoint_valid": np.ones((2, 17))}
    labels |= {"pose_3d": rng.normal(0, 300, (2, 17, 3)), "pose_3d_valid": valid}
    batch = {name: tf.constant(value, tf.float32) for name, value in labels.items()}
    outputs = {"pose_3d": batch["pose_3d"] + np.array([0, 1, 0]) * np.arange(17)[:, None]}

    def means(rows) -> dict:
        part = [{name: value[rows] for name, value in each.items()} for each in (batch, outputs)]
        terms = eval_terms(*part, LossConfig(), HUMAN36M_17, (64, 96))
        return eval_means({name: [float(v) for v in term] for name, term in terms.items()}, LossConfig())

    whole, few, both = means(slice(0, 1)), means(slice(1, 2)), means(slice(0, 2))
    assert whole["mpjpe_mm"] == pytest.approx(8, rel=1e-3) and few["mpjpe_mm"] == pytest.approx(1, rel=1e-3)
    assert both["mpjpe_mm"] == pytest.approx((17 * 8 + 3 * 1) / 20, rel=1e-3)
    assert both["pa_mpjpe_mm"] == pytest.approx(whole["pa_mpjpe_mm"], rel=1e-5) and few["pa_mpjpe_mm"] == 0


def test_a_lifter_sees_joints_without_a_label_at_their_mean(poses):
    dataset = open_dataset(str(poses))
    statistics = PoseStatistics.from_dict(dataset.statistics)
    model = build_lifter(PoseModelConfig(variant="w8_tiny", input_size=(64, 96), width=8, dropout=0.0), statistics)
    phase, batch = Phase("lifter", model), next(iter(make_batches(dataset, "train", 8, training=False)))
    outputs = phase.forward(batch, training=False)
    valid = batch["keypoint_valid"].numpy()[..., None] > 0
    expected = np.where(valid, batch["keypoints_2d"], statistics.keypoints_2d_mean)
    np.testing.assert_array_equal(outputs["seen_keypoints_2d"], expected)
    anywhere = batch | {"keypoints_2d": tf.where(valid, batch["keypoints_2d"], 9.0)}
    np.testing.assert_array_equal(phase.forward(anywhere, training=False)["pose_3d"], outputs["pose_3d"])
    np.testing.assert_array_equal(phase.labels(batch)["seen_valid"], batch["keypoint_valid"])
    assert "seen_valid" not in Phase("e2e", model).labels(batch)


# --- what is refused -------------------------------------------------------------------------------------------


def test_a_mix_is_scored_where_all_that_validate_can_be(photos, toy_dataset, tmp_path):
    tested = write_dataset(tmp_path / "tested", {"train": 1, "test": 1})
    validated = write_dataset(tmp_path / "validated", {"train": 1, "validation": 1})
    expected = {
        str(toy_dataset): "test",
        f"{toy_dataset}:0.5,{photos}:0.5": "test",  # photos that only train are no reason to leave it out
        f"{validated}:0.5,{photos}:0.5": "validation",
        f"{validated}:0.5,{tested}:0.5": "validation",  # the test split of the second says nothing of the first
        f"{toy_dataset}:0.5,{validated}:0.5": "validation",
    }
    assert {spec: scored_split(open_dataset(spec)) for spec in expected} == expected


@pytest.mark.parametrize(
    ("phase", "train", "validation", "message"),
    [
        ("e2e", "2d", "2d", "split train of .* has no 3D poses, which phase e2e needs for training and validation"),
        ("lifter", "3d", "2d", "split validation of .* has no 3D poses, which phase lifter needs"),
        ("lifter", "2d", "3d", "split train of .* has no 3D poses"),
        ("hrnet", "none", "2d", "split train of .* has no labeled 2D joints, which every phase needs"),
        ("hrnet", "2d", "none", "split validation of .* has no labeled 2D joints"),
        ("lifter", "3d", "3d alone", "split validation of .* has no labeled 2D joints"),
        ("e2e", "3d", "3d alone", None),
        ("lifter", "part", "part", None),
        ("hrnet", "2d", "2d", None),
        ("e2e", "3d", "3d", None),
    ],
)
def test_labels_that_a_phase_lacks_are_reported_before_it_begins(tmp_path, phase, train, validation, message):
    without_pose = {"pose_3d_valid": np.zeros(17, bool), "pose_3d_mm": np.zeros((17, 3))}
    without_keypoints = {"keypoint_valid": np.zeros(17, bool)}
    labels = {"3d": {}, "2d": without_pose, "none": without_pose | without_keypoints, "3d alone": without_keypoints}
    labels["part"] = {"pose_3d_valid": np.arange(17) < 9}
    folders = [
        write_dataset(tmp_path / split, {split: 8}, **labels[kind])
        for split, kind in (("train", train), ("validation", validation))
    ]
    experiment = tiny_experiment(tmp_path / "run", ",".join(map(str, folders)), (PhaseConfig(phase, 1),))
    with pytest.raises(UserError, match=message) if message else contextlib.nullcontext():
        check_data(experiment, open_dataset(experiment.data.dataset))


@pytest.mark.parametrize("pictures", [True, False])
def test_a_lifters_crop_has_the_shape_that_its_joints_lie_in(toy_dataset, tmp_path, pictures):
    folder = toy_dataset if pictures else write_poses(tmp_path / "poses", {"train": 8, "validation": 2})
    experiment = tiny_experiment(tmp_path / "run", folder, (PhaseConfig("lifter", 1),))
    square = replace(experiment, model=replace(experiment.model, input_size=(64, 64)))
    check_data(experiment, open_dataset(str(folder)))
    with pytest.raises(UserError, match="lie in crops of 64 : 96, the model's crops are 64x64; leave --input_size out"):
        check_data(square, open_dataset(str(folder)))


def test_a_weight_of_what_does_not_train_is_refused(toy_dataset, tmp_path):
    tested = write_dataset(tmp_path / "tested", {"test": 3})
    experiment = tiny_experiment(tmp_path, f"{toy_dataset}:0.8,{tested}:0.2")
    with pytest.raises(UserError, match="tested has weight 0.2 in the mix but no training examples; prepare it with"):
        check_data(experiment, open_dataset(experiment.data.dataset))
    check_data(experiment, open_dataset(f"{toy_dataset},{tested}"))  # it may still be scored on
