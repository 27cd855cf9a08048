"""The discriminator of the adversarial prior, trained beside the pose network: gradient, Adam and state."""

import keras
import tensorflow as tf

from keras_pose.losses import discriminator_loss, discriminator_terms, discriminator_weights
from keras_pose.training import checkpoint
from keras_pose.training.experiment import OptimizerConfig
from keras_pose.training.optimizer import make_adam

BETA_1 = 0.5  # the discriminator's target moves, so less momentum suits it, as in Radford et al. 2016


class Adversary:
    """The discriminator in one phase. It steps together with the pose network, from gradients of the same batch.

    Args:
        model: from `build_pose_discriminator`; all phases share it, and each starts with a new Adam.
        learning_rate: constant, so the discriminator can follow the pose network to the end of its schedule.
    """

    def __init__(self, model: keras.Model, learning_rate: float):
        self.model, self.learning_rate = model, learning_rate
        self.optimizer = make_adam(model.trainable_variables, OptimizerConfig(beta_1=BETA_1))

    @property
    def variables(self) -> dict[str, keras.Variable]:
        """The variables to checkpoint."""
        state = {f"discriminator/{name}": variable for name, variable in self.optimizer.state.items()}
        return checkpoint.model_variables(self.model, "discriminator") | state

    def weights(self, batch: dict) -> dict:
        """Weights of a replica's batch in the discriminator's loss: scalars to sum over the replicas."""
        return discriminator_weights(batch["pose_3d_valid"])

    def gradient(self, batch: dict, pose_3d, weights: dict) -> tuple:
        """The flat gradient of the discriminator's loss on labeled and predicted poses, and that loss.

        Args:
            batch: its labeled poses are those `pose_3d` (B, J, 3) mm in which every joint has `pose_3d_valid`.
            pose_3d: (B, J, 3) mm, predicted; no gradient flows back through them.
            weights: `weights`, summed over the global batch.
        """
        with tf.GradientTape() as tape:
            scores = [self.model(pose) for pose in (batch["pose_3d"], tf.stop_gradient(pose_3d))]
            loss = discriminator_loss(discriminator_terms(*scores, batch["pose_3d_valid"]), weights)
        gradients = tape.gradient(loss, [variable.value for variable in self.optimizer.variables])
        return self.optimizer.flatten(gradients), loss

    def apply(self, gradient, keep=None) -> None:
        """Takes one step; skips it if `keep` is false, as after a float16 overflow."""
        self.optimizer.apply(gradient, self.learning_rate, keep=keep)
