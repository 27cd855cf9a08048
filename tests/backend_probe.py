"""Runs everything written with `keras.ops` under this process's backend.

    KERAS_BACKEND=jax python -m tests.backend_probe FOLDER

reads `model.keras` and `inputs.npz` of FOLDER and writes `outputs.npz`; `test_backends.py` compares.
"""

import sys
from pathlib import Path

import keras
import numpy as np

from keras_pose import losses
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data import augment_ops
from keras_pose.data.augment import AugmentConfig, build_augmentation
from keras_pose.evaluation import metrics
from keras_pose.models import pose_model  # noqa: F401, registers what model.keras holds
from keras_pose.models.batch_norm import FusedBatchNormalization
from keras_pose.models.pose_discriminator import build_pose_discriminator
from keras_pose.models.soft_argmax import SoftArgmax, joint_scores


def compute(folder: Path) -> dict[str, np.ndarray]:
    """Name to value, all in units of order 1: coordinates in [0, 1], 3D in meters, images in shares of 255."""
    with np.load(folder / "inputs.npz") as file:
        batch = dict(file)
    model = keras.models.load_model(folder / "model.keras")
    outputs = {k: keras.ops.convert_to_tensor(v) for k, v in model.predict_on_batch(batch["image"]).items()}  # compiled
    found = {f"model/{name}": value for name, value in outputs.items()}
    found["model/pose_3d"] = outputs["pose_3d"] / 1000
    found |= {f"losses/{k}": v for k, v in losses.pose_losses(batch, outputs, HUMAN36M_17, losses.LossConfig()).items()}
    unquantised = losses.LossConfig(heatmap_kernel_size=None, decoder_target="predicted")
    found["losses/unquantised"] = losses.pose_losses(batch, outputs, HUMAN36M_17, unquantised)["loss"]
    found["soft_argmax/flat"] = SoftArgmax(20.0, "flat")(batch["spikes"])
    inhibited = SoftArgmax(10.0, relative=True, inhibition=0.3, mirror=HUMAN36M_17.flip_permutation)
    found["soft_argmax/inhibited"] = inhibited(outputs["heatmaps"])
    found["scores"] = joint_scores(outputs["heatmaps"])
    found |= of_keras_losses(batch, outputs) | of_metrics(batch, outputs) | of_augmentation(batch)
    found |= of_adversary(batch, outputs) | of_training(batch["image"])
    return {name: np.asarray(value) for name, value in found.items()}


def of_keras_losses(batch: dict, outputs: dict) -> dict:
    symmetry = losses.BoneSymmetryLoss(HUMAN36M_17)
    return {
        "keras_losses/joint2d": losses.Joint2DLoss()(batch["keypoints_2d"], outputs["heatmaps"]),
        "keras_losses/symmetry": symmetry(batch["pose_3d"], outputs["pose_3d"]),
    }


def of_metrics(batch: dict, outputs: dict) -> dict:
    valid = batch["keypoint_valid"]
    pair = (batch["pose_3d"] / 1000, outputs["pose_3d"] / 1000, valid)
    pixels = (batch["keypoints_2d"] * 100, batch["keypoints_2d"] * 100 + 3, valid, HUMAN36M_17)
    return {
        "metrics/mpjpe": metrics.mpjpe(*pair),
        "metrics/pa_mpjpe": metrics.pa_mpjpe(*pair),
        "metrics/n_mpjpe": metrics.n_mpjpe(*pair),
        "metrics/pck3d": metrics.pck3d(batch["pose_3d"], outputs["pose_3d"]),
        "metrics/auc": metrics.auc(batch["pose_3d"], outputs["pose_3d"]),
        "metrics/pck": metrics.pck(*pixels)[0],
        "metrics/pckh": metrics.pckh(*pixels)[0],
        "metrics/either_side": metrics.pck_either_side(*pixels)[0],
        "metrics/collapse": metrics.left_right_collapse(*pixels)[1],
    }


def of_adversary(batch: dict, outputs: dict) -> dict:
    """The critic of poses, its loss, and the pose network's. Fixed weights, because backends draw different numbers."""
    critic, rng = (
        build_pose_discriminator((np.zeros((17, 3)), np.full((17, 3), 300.0)), width=8),
        np.random.default_rng(0),
    )
    critic.set_weights([rng.normal(0, 0.3, weight.shape) for weight in critic.weights])
    labelled, predicted = critic(batch["pose_3d"]), critic(outputs["pose_3d"])
    terms = losses.discriminator_terms(labelled, predicted, batch["pose_3d_valid"])
    return {
        "adversary/scores": labelled,
        "adversary/discriminator": losses.discriminator_loss(terms),
        "adversary/network": losses.adversarial_loss(predicted),
    }


def of_augmentation(batch: dict) -> dict:
    """The pure functions; backends draw different random numbers, so the layer is only run."""
    image, count = batch["image"].astype("float32"), len(batch["image"])
    moved = augment_ops.mirror({**batch, "image": image}, np.arange(count) % 2 == 0, HUMAN36M_17)
    angles, scales = np.linspace(-40, 40, count, dtype="float32"), np.linspace(0.8, 1.2, count, dtype="float32")
    moved = augment_ops.transform(moved, angles, scales, np.full((count, 2), 0.1, "float32"))
    config = AugmentConfig(rotation_deg=30, scale=0.2, cut_out=0.3, blur_px=1.0, noise=0.1)
    augmented = build_augmentation(config, HUMAN36M_17)(batch, np.array([1, 2], "int32"))
    assert np.isfinite(augmented["image"]).all() and np.isfinite(augmented["pose_3d"]).all()
    return {
        "augment/image": moved["image"] / 255,
        "augment/blur": augment_ops.blur(image, 1.5, angles / 40) / 255,
        "augment/colour": augment_ops.adjust_colour(image, angles / 100, scales, scales, angles / 100) / 255,
        "augment/keypoints_2d": moved["keypoints_2d"],
        "augment/pose_3d": moved["pose_3d"] / 1000,
    }


def of_training(image) -> dict:
    """Batch norm in training, which normalizes by the batch, and its running statistics afterwards."""
    layer = FusedBatchNormalization()
    normalized = layer(image.astype("float32") / 255, training=True)
    return {"training/norm": normalized, "training/mean": layer.moving_mean, "training/variance": layer.moving_variance}


if __name__ == "__main__":
    path = Path(sys.argv[1])
    np.savez(path / "outputs.npz", **compute(path), backend=keras.backend.backend())
