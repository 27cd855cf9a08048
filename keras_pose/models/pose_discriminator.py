"""A small discriminator of 3D poses for the adversarial prior: does a pose come from labels or from the encoder?

It has no batch norm and no dropout, so its score depends only on the pose: replicas agree, and only its weights need to
be checkpointed. It is used only in training and is not part of any saved model.
"""

import keras
import numpy as np
from keras import ops

from keras_pose.models.pose_autoencoder import FLOAT32, Standardize

HIDDEN_LAYERS = 3


def build_pose_discriminator(pose_3d_statistics, width: int = 128, seed: int = 0) -> keras.Model:
    """A model from (B, J, 3) mm relative to the root to a score (B,): 1 for a labeled pose, 0 for a predicted one.

    Poses are z-scored as in the encoder, so all coordinates have equal weight. With 17 joints and the default width, it
    has 39,809 parameters.

    Args:
        pose_3d_statistics: (mean, std) of the training data, each (J, 3), mm.
        width: units of each hidden layer.
        seed: determines the initial weights, whatever other models were built before.
    """
    joints = np.shape(pose_3d_statistics[0])[0]
    pose_3d = keras.Input((joints, 3), dtype=FLOAT32, name="pose_3d")
    x = Standardize(*pose_3d_statistics, name="standardize")(pose_3d)
    x = ops.reshape(x, (-1, joints * 3))  # (B, J*3)
    for layer in range(HIDDEN_LAYERS):
        x = _dense(width, f"hidden{layer}", seed + layer)(x)
        x = ops.leaky_relu(x, negative_slope=0.2)
    score = ops.reshape(_dense(1, "score", seed + HIDDEN_LAYERS)(x), (-1,))  # (B,)
    return keras.Model(pose_3d, score, name="pose_discriminator")


def _dense(units: int, name: str, seed: int):
    return keras.layers.Dense(units, kernel_initializer=keras.initializers.HeNormal(seed), dtype=FLOAT32, name=name)
