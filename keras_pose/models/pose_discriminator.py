"""A small critic of 3D poses, for the adversarial prior: does this pose come from labeled people or from the lifter?

No batch norm and no dropout: what it says of a pose depends on that pose alone, so replicas agree and nothing but its
weights needs to be kept. It is part of training only and goes into no model that is saved.
"""

import keras
import numpy as np
from keras import ops

from keras_pose.models.pose_autoencoder import FLOAT32, Standardize

HIDDEN_LAYERS = 3


def build_pose_discriminator(pose_3d_statistics, width: int = 128, seed: int = 0) -> keras.Model:
    """From (B, J, 3) mm relative to the root to a score (B,): 1 for a labeled pose, 0 for a predicted one.

    Poses are z-scored, as the encoder's are, so every coordinate counts alike. With 17 joints and the default width it
    has 39,809 parameters.

    Args:
        pose_3d_statistics: (mean, std) of the training data, each (J, 3), mm.
        width: units of each hidden layer.
        seed: decides the initial weights, whatever else was built before.
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
