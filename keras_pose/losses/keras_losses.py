"""The losses as Keras losses, for use with `compile`."""

import keras
from keras import ops

from keras_pose.core.skeleton import Skeleton
from keras_pose.losses.targets import check_kernel, target_heatmaps
from keras_pose.losses.terms import bone_symmetry_loss, decoder_loss, encoder_loss, joint2d_loss


class _PoseLoss(keras.losses.Loss):
    """A loss that is reduced to its weighted mean; sample weights are masks, as for the pure functions."""

    def __init__(self, name: str, reduction="mean_with_sample_weight", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def get_config(self):
        return {**super().get_config(), "dtype": self.dtype}


@keras.saving.register_keras_serializable(package="keras_pose")
class Joint2DLoss(_PoseLoss):
    """Eq. 1: `y_true` (B, J, 2) keypoints in [0, 1], `y_pred` (B, H, W, J) heatmaps, weights (B, J) validity.

    Raises UserError for an invalid `kernel_size` or `sigma` (see `target_heatmaps`).
    """

    def __init__(self, kernel_size: int | None = 3, sigma: float = 1.0, name="joint2d", **kwargs):
        super().__init__(name, **kwargs)
        check_kernel(kernel_size, sigma)
        self.kernel_size = kernel_size
        self.sigma = sigma

    def call(self, y_true, y_pred):
        valid = ops.ones_like(y_true[..., 0])
        target = target_heatmaps(y_true, valid, y_pred.shape[1:3], self.kernel_size, self.sigma)
        return joint2d_loss(target, y_pred)

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.kernel_size, "sigma": self.sigma}


@keras.saving.register_keras_serializable(package="keras_pose")
class EncoderLoss(_PoseLoss):
    """Eq. 6: labeled and predicted poses (B, J, 3) mm, loss in square meters; weights (B, J) `pose_3d_valid`."""

    def __init__(self, name="encoder", **kwargs):
        super().__init__(name, **kwargs)

    def call(self, y_true, y_pred):
        return encoder_loss(y_true, y_pred)


@keras.saving.register_keras_serializable(package="keras_pose")
class DecoderLoss(_PoseLoss):
    """Eq. 7: `y_true` (B, J, 2) predicted or labeled keypoints, `y_pred` the re-projected ones; weights (B, J)."""

    def __init__(self, name="decoder", **kwargs):
        super().__init__(name, **kwargs)

    def call(self, y_true, y_pred):
        return decoder_loss(y_true, y_pred)


@keras.saving.register_keras_serializable(package="keras_pose")
class BoneSymmetryLoss(_PoseLoss):
    """Eq. 8 on `y_pred` (B, J, 3) mm, in square meters; `y_true` is ignored; weights (B,).

    Args:
        skeleton: a `Skeleton`, or its `to_dict()`.
    """

    def __init__(self, skeleton: Skeleton | dict, name="bone_symmetry", **kwargs):
        super().__init__(name, **kwargs)
        self.skeleton = Skeleton.from_dict(skeleton) if isinstance(skeleton, dict) else skeleton

    def call(self, y_true, y_pred):
        return ops.mean(bone_symmetry_loss(y_pred, self.skeleton), axis=-1)

    def get_config(self):
        return {**super().get_config(), "skeleton": self.skeleton.to_dict()}
