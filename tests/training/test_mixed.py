"""3D data mixed with photos that have 2D labels alone: what the photos teach, and what they leave alone."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data.dataset import open_dataset
from keras_pose.data.pipeline import make_batches
from keras_pose.losses import LossConfig, pose_losses
from keras_pose.models.pose_model import PoseModelConfig, PoseStatistics, build_pose_model
from keras_pose.train import scored_split
from keras_pose.training.data_check import check_data
from keras_pose.training.experiment import PhaseConfig
from keras_pose.training.phases import Phase, parts_of
from tests.conftest import write_dataset
from tests.training.runs import read_metrics, run, tiny_experiment, write_poses


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """16 pictures with joints in 2D, a fifth of them not labelled, and no validation split."""
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


def test_photos_teach_heatmaps_and_regularisers(gradients):
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
        ("e2e", "2d", "2d", "split train of .* has no 3D poses, which phase e2e learns from and is judged by"),
        ("lifter", "3d", "2d", "split validation of .* has no 3D poses, which phase lifter learns from"),
        ("lifter", "2d", "3d", "split train of .* has no 3D poses"),
        ("hrnet", "none", "2d", "split train of .* has no labelled 2D joints, which every phase sees"),
        ("hrnet", "2d", "none", "split validation of .* has no labelled 2D joints"),
        ("hrnet", "2d", "2d", None),
        ("e2e", "3d", "3d", None),
    ],
)
def test_labels_that_a_phase_lacks_are_told_before_it_begins(tmp_path, phase, train, validation, message):
    without_pose = {"pose_3d_valid": np.zeros(17, bool), "pose_3d_mm": np.zeros((17, 3))}
    labels = {"3d": {}, "2d": without_pose, "none": without_pose | {"keypoint_valid": np.zeros(17, bool)}}
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
    with pytest.raises(UserError, match="lie in crops of 64 : 96, the model's are 64x64; leave --input_size out"):
        check_data(square, open_dataset(str(folder)))


def test_a_weight_of_what_does_not_train_is_refused(toy_dataset, tmp_path):
    tested = write_dataset(tmp_path / "tested", {"test": 3})
    experiment = tiny_experiment(tmp_path, f"{toy_dataset}:0.8,{tested}:0.2")
    with pytest.raises(UserError, match="tested has weight 0.2 in the mix but no training examples; prepare it with"):
        check_data(experiment, open_dataset(experiment.data.dataset))
    check_data(experiment, open_dataset(f"{toy_dataset},{tested}"))  # it may still be scored on
