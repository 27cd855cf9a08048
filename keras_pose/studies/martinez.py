"""The usual baseline for lifters: Martinez et al. 2017, "A simple yet effective baseline" (arXiv:1705.03098).

Network, normalization and schedule are as published, in plain Keras: 2D joints in image pixels and 3D joints relative
to the hip, both z-scored; a linear layer and two residual modules, each layer with batch norm, ReLU and dropout of one
half; every weight matrix clipped to a norm of 1; Adam at 0.001, falling by 4 % every 100,000 steps; batches of 64.
"""

import time
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_pose.data import augment_ops
from keras_pose.data.dataset import DatasetInfo
from keras_pose.data.pipeline import make_batches
from keras_pose.models.pose_autoencoder import Standardize

BATCH_SIZE = 64
READ_AT_ONCE = 1024


@keras.saving.register_keras_serializable(package="keras_pose")
class ClippedDense(keras.layers.Dense):
    """A linear layer whose weight matrix, as a whole, has a norm of at most 1."""

    def call(self, inputs):
        norm = ops.sqrt(ops.sum(ops.square(self.kernel)))
        return ops.matmul(inputs, self.kernel / ops.maximum(norm, 1.0)) + self.bias


@dataclass(frozen=True)
class Views:
    """Poses as seen by cameras.

    `keypoints_2d` (N, J, 2) in [0, 1] of the crop, `to_picture` (N, 2, 3) from there to the image, and `pose_3d`
    (N, J, 3) mm.
    """

    keypoints_2d: np.ndarray
    to_picture: np.ndarray
    pose_3d: np.ndarray


def picture_affines(intrinsics: np.ndarray, image_size: np.ndarray) -> np.ndarray:
    """(B, 2, 3) from [0, 1] of crops to the plane at unit distance from the camera.

    That plane is the image seen by the baseline, except for a common factor and offset, which z-scores remove, and the
    few pixels by which the cameras' own focal lengths and centers differ.

    Args:
        intrinsics: (B, 3, 3) of the crops, in their pixels.
        image_size: (B, 2) height and width of the crops.
    """
    affines = np.linalg.inv(intrinsics.astype(np.float64))[:, :2]
    affines[..., :2] *= image_size[:, None, ::-1]
    return affines.astype(np.float32)


def read_views(dataset: DatasetInfo, split: str) -> Views:
    """The fully 3D-labeled examples of a split, in memory, because the baseline has no masks."""
    batches = make_batches(dataset.without_pictures(), split, READ_AT_ONCE, training=False, with_metadata=True)
    parts = list(batches.as_numpy_iterator())
    is_whole = [(part["pose_3d_valid"] > 0).all(-1) for part in parts]
    names = ("keypoints_2d", "pose_3d", "intrinsics", "image_size")
    keypoints_2d, pose_3d, intrinsics, image_size = (
        np.concatenate([part[name][rows] for part, rows in zip(parts, is_whole, strict=True)]) for name in names
    )
    return Views(keypoints_2d, picture_affines(intrinsics, image_size), pose_3d)


def to_picture(keypoints_2d, affines):
    """(B, J, 2) by (B, 2, 3) to (B, J, 2)."""
    return ops.einsum("bik,bjk->bji", affines[:, :, :2], keypoints_2d) + affines[:, None, :, 2]


def build_martinez(joints: int, width: int) -> keras.Model:
    """z-scored (B, J, 2) to z-scored (B, J, 3)."""

    def linear(units: int):
        return ClippedDense(units, kernel_initializer="he_normal")

    def block(x):
        x = keras.layers.BatchNormalization()(linear(width)(x))
        return keras.layers.Dropout(0.5)(ops.relu(x))

    keypoints_2d = keras.Input((joints, 2))
    x = block(ops.reshape(keypoints_2d, (-1, joints * 2)))
    for _ in range(2):
        x = ops.add(x, block(block(x)))
    return keras.Model(keypoints_2d, ops.reshape(linear(joints * 3)(x), (-1, joints, 3)), name="martinez")


class _StopAfter(keras.callbacks.Callback):
    """Ends `fit` after the given processor time, counted from the first step, which takes seconds to compile."""

    def __init__(self, processor_seconds: float):
        super().__init__()
        self.processor_seconds = processor_seconds
        self.end: float | None = None

    def on_train_batch_end(self, batch, logs=None):
        self.end = self.end or time.process_time() + self.processor_seconds
        if time.process_time() >= self.end:
            self.model.stop_training = True


def fit_martinez(
    views: Views, width: int, processor_seconds: float, keypoint_noise: float, seed: int
) -> tuple[keras.Model, int]:
    """Trains for a given processor time.

    Args:
        processor_seconds: of the whole process, over all threads, after the first step.
        keypoint_noise: as in `AugmentConfig`; drawn anew each time an example is seen.

    Returns:
        A model from (B, J, 2) in the image to (B, J, 3) mm, and the number of examples seen.
    """
    keras.utils.set_random_seed(seed)
    joints = views.keypoints_2d.shape[1]
    seen = np.asarray(to_picture(views.keypoints_2d, views.to_picture))
    standardize = Standardize(seen.mean(0), seen.std(0), name="standardize")
    to_mm = Standardize(views.pose_3d.mean(0), views.pose_3d.std(0), invert=True, name="unstandardize")
    to_score = Standardize(to_mm.mean, to_mm.std)

    def prepare(keypoints_2d, affines, pose_3d):
        if keypoint_noise:
            errors = tf.random.normal((BATCH_SIZE, joints, 3))
            keypoints_2d = augment_ops.disturb(keypoints_2d, keypoint_noise, errors)
        return standardize(to_picture(keypoints_2d, affines)), to_score(pose_3d)

    network = build_martinez(joints, width)
    rate = keras.optimizers.schedules.ExponentialDecay(1e-3, 100_000, 0.96, staircase=True)
    network.compile(keras.optimizers.Adam(rate), "mse", jit_compile=False)  # XLA compilation would take seconds
    examples = tf.data.Dataset.from_tensor_slices((views.keypoints_2d, views.to_picture, views.pose_3d))
    batches = examples.shuffle(len(seen), seed=seed).repeat().batch(BATCH_SIZE).map(prepare).prefetch(2)
    network.fit(batches, steps_per_epoch=10**9, verbose=0, callbacks=[_StopAfter(processor_seconds)])
    inputs = keras.Input((joints, 2))
    steps = int(network.optimizer.iterations.value)
    return keras.Model(inputs, to_mm(network(standardize(inputs)))), steps * BATCH_SIZE
