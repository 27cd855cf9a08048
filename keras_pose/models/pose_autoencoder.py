"""The pose autoencoder: an encoder that lifts 2D to 3D and a decoder that projects back (the paper's Sec. 3.3).

Both are the residual network of Martinez et al. 2017: an input layer, two modules of two blocks (linear, batch norm,
ReLU, dropout), each module added to its input, and an output layer. They compute in float32 under every precision
policy, because bfloat16 would round coordinates to 1/256 of the crop and positions to 4 mm.
"""

import keras
import numpy as np
from keras import ops

FLOAT32 = "float32"
NUM_MODULES = 2
BLOCKS_PER_MODULE = 2


@keras.saving.register_keras_serializable(package="keras_pose")
class Standardize(keras.layers.Layer):
    """z-scores (B, J, D) values; with `invert=True`, converts z-scores back to their unit.

    A coordinate that never varies (std 0, as the root's in 3D) has the z-score 0 and converts back to its mean.

    Args:
        mean, std: (J, D) statistics of the training data.
        invert: whether to convert back from z-scores.

    Raises:
        ValueError: mean and std are not both (J, D).
    """

    def __init__(self, mean, std, invert: bool = False, **kwargs):
        kwargs["dtype"] = FLOAT32
        super().__init__(**kwargs)
        self.mean = np.asarray(mean, FLOAT32)
        self.std = np.asarray(std, FLOAT32)
        if self.mean.shape != self.std.shape or self.mean.ndim != 2:
            raise ValueError(f"mean and std must both be (J, D), got {self.mean.shape} and {self.std.shape}")
        self.invert = invert

    def call(self, values):
        if self.invert:
            return values * self.std + self.mean
        inverse_std = np.divide(1.0, self.std, out=np.zeros_like(self.std), where=self.std > 0)
        return (values - self.mean) * inverse_std

    def get_config(self):
        return {
            **super().get_config(),
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "invert": self.invert,
        }


def _dense(units: int, name: str, initializer="he_normal"):
    return keras.layers.Dense(units, kernel_initializer=initializer, dtype=FLOAT32, name=name)


def _block(x, width: int, dropout: float, prefix: str):
    x = _dense(width, f"{prefix}_linear")(x)
    x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=FLOAT32, name=f"{prefix}_norm")(x)
    x = ops.relu(x)
    return keras.layers.Dropout(dropout, dtype=FLOAT32, name=f"{prefix}_dropout")(x)


def _residual_network(x, outputs: int, width: int, dropout: float):
    """(B, inputs) to (B, outputs)."""
    x = _dense(width, "linear_in")(x)
    for module in range(NUM_MODULES):
        y = x
        for block in range(BLOCKS_PER_MODULE):
            y = _block(y, width, dropout, f"module{module}_block{block}")
        x = ops.add(x, y)
    # Small weights: training starts at the mean pose, and with a skip connection at a correction of zero.
    return _dense(outputs, "linear_out", keras.initializers.RandomNormal(stddev=0.001))(x)


def _between_joints(x, in_statistics, out_statistics, width: int, dropout: float):
    """(B, J, D) to (B, J, D') via z-scores; statistics are (mean, std) pairs."""
    joints, out_dimensions = np.shape(out_statistics[0])
    x = Standardize(*in_statistics, name="standardize")(x)
    x = ops.reshape(x, (-1, joints * x.shape[-1]))  # (B, J*D)
    x = _residual_network(x, joints * out_dimensions, width, dropout)
    x = ops.reshape(x, (-1, joints, out_dimensions))  # (B, J, D')
    return Standardize(*out_statistics, invert=True, name="unstandardize")(x)


def build_encoder(
    keypoints_2d_statistics,
    pose_3d_statistics,
    width: int = 1024,
    dropout: float = 0.5,
    batch_size: int | None = None,
    name: str = "encoder",
) -> keras.Model:
    """Lifts (B, J, 2) keypoints in [0, 1] of the crop to (B, J, 3) mm relative to the root (Sec. 3.3.1).

    Args:
        keypoints_2d_statistics: (mean, std), each (J, 2), in [0, 1] of the crop.
        pose_3d_statistics: (mean, std), each (J, 3), mm.
        width: units of each hidden layer.
        dropout: share of hidden units dropped in training.
        batch_size: fixed batch, for export; None leaves it open.
    """
    joints = np.shape(keypoints_2d_statistics[0])[0]
    keypoints_2d = keras.Input((joints, 2), batch_size=batch_size, dtype=FLOAT32, name="keypoints_2d")
    pose_3d = _between_joints(keypoints_2d, keypoints_2d_statistics, pose_3d_statistics, width, dropout)
    return keras.Model(keypoints_2d, pose_3d, name=name)


def build_decoder(
    keypoints_2d_statistics,
    pose_3d_statistics,
    width: int = 1024,
    dropout: float = 0.5,
    skip_connection: bool = False,
    batch_size: int | None = None,
    name: str = "decoder",
) -> keras.Model:
    """Projects (B, J, 3) mm back to (B, J, 2) keypoints in [0, 1] of the crop (Sec. 3.3.2).

    With `skip_connection` it takes `[pose_3d, keypoints_2d]` and predicts a correction of the keypoints (the
    soft-argmax's output), which it adds to them. The correction is scaled by the keypoints' deviation, but their mean
    is not added. Other arguments are as for `build_encoder`.
    """
    joints = np.shape(pose_3d_statistics[0])[0]
    mean, std = keypoints_2d_statistics
    pose_3d = keras.Input((joints, 3), batch_size=batch_size, dtype=FLOAT32, name="pose_3d")
    out_statistics = (np.zeros_like(mean), std) if skip_connection else (mean, std)
    reprojected = _between_joints(pose_3d, pose_3d_statistics, out_statistics, width, dropout)
    if not skip_connection:
        return keras.Model(pose_3d, reprojected, name=name)
    keypoints_2d = keras.Input((joints, 2), batch_size=batch_size, dtype=FLOAT32, name="keypoints_2d")
    return keras.Model([pose_3d, keypoints_2d], ops.add(reprojected, keypoints_2d), name=name)
