"""The flip test inside a model: it also sees the mirrored image, and its heatmaps are the mean of both views.

The mean of two views has smaller errors than one view, at twice the time; HRNet's published results use it. It is taken
over heatmaps: where the views disagree, the mean of two positions would lie at neither. Mirroring is a product with an
exchange matrix, because phones' GPU delegates cannot reverse an axis.
"""

import keras
import numpy as np
from keras import ops

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton


def mirrored(maps):
    """(B, H, W, C) with its columns in reverse order, without rounding."""
    exchange = np.eye(maps.shape[2], dtype="float32")[::-1]
    rows = ops.transpose(maps, (0, 1, 3, 2))  # (B, H, C, W)
    return ops.transpose(ops.matmul(rows, exchange), (0, 1, 3, 2))


def mirrored_heatmaps(heatmaps, skeleton: Skeleton):
    """Heatmaps (B, H, W, J) of a mirrored image, mirrored back and with left and right swapped."""
    swap = np.eye(skeleton.num_joints, dtype="float32")[:, list(skeleton.flip_permutation)]
    return ops.matmul(mirrored(heatmaps), swap)


def with_flip_test(model: keras.Model, skeleton: Skeleton) -> keras.Model:
    """A pose or keypoints model (`keras_pose.models.pose_model`) that averages the heatmaps of both views.

    It shares the layers of `model` and has the same inputs and outputs. Joints and poses are read from the mean
    heatmaps. Both views form one batch, because TensorFlow's convolutions on CPUs are fast only from two images on.

    Raises:
        UserError: the model is a lifter, which sees no image to mirror.
    """
    if "hrnet" not in {layer.name for layer in model.layers}:
        raise UserError(f"{model.name} sees no image, so there is nothing to mirror; leave the flip test out")
    image = keras.Input(model.inputs[0].shape[1:], batch_size=model.inputs[0].shape[0], dtype="float32", name="image")
    both = model.get_layer("hrnet")(ops.concatenate([image, mirrored(image)], axis=0))  # (2 B, H/4, W/4, J)
    seen, of_mirrored = ops.split(both, 2, axis=0)
    mean = (seen + mirrored_heatmaps(of_mirrored, skeleton)) / 2
    return keras.Model(image, outputs_from(model, mean), name=model.name)


def outputs_from(model: keras.Model, heatmaps) -> dict:
    """The outputs of `model` for the given heatmaps (B, H/4, W/4, J) instead of its own network's."""
    keypoints_2d = model.get_layer("soft_argmax")(heatmaps)
    outputs = {"heatmaps": heatmaps, "keypoints_2d": keypoints_2d}
    if "pose_3d" in model.output:
        outputs["pose_3d"] = pose_3d = model.get_layer("encoder")(keypoints_2d)
        decoder = model.get_layer("decoder")
        outputs["reprojected_2d"] = decoder([pose_3d, keypoints_2d] if len(decoder.inputs) == 2 else pose_3d)
    return outputs
