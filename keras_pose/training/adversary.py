"""The critic of the adversarial prior while it trains beside the pose network: its gradient, its Adam, its state."""

import keras
import tensorflow as tf

from keras_pose.losses import discriminator_loss, discriminator_terms, discriminator_weights
from keras_pose.training import checkpoint
from keras_pose.training.experiment import OptimizerConfig
from keras_pose.training.optimizer import make_adam

BETA_1 = 0.5  # a critic chases a moving target: less momentum, as in Radford et al. 2016


class Adversary:
    """The critic of one phase. Both networks step at once, from the gradients of the same batch.

    Args:
        model: of `build_pose_discriminator`; it goes on over all phases, Adam starts anew with each.
        learning_rate: constant: the critic has to follow the pose network to the end of its schedule.
    """

    def __init__(self, model: keras.Model, learning_rate: float):
        self.model, self.learning_rate = model, learning_rate
        self.optimizer = make_adam(model.trainable_variables, OptimizerConfig(beta_1=BETA_1))

    @property
    def variables(self) -> dict[str, keras.Variable]:
        """What a checkpoint keeps."""
        state = {f"discriminator/{name}": variable for name, variable in self.optimizer.state.items()}
        return checkpoint.model_variables(self.model, "discriminator") | state

    def weights(self, batch: dict) -> dict:
        """What a replica's batch weighs in the critic's loss, scalars to sum over the replicas."""
        return discriminator_weights(batch["pose_3d_valid"])

    def gradient(self, batch: dict, pose_3d, weights: dict) -> tuple:
        """The flat gradient of the critic's loss for labeled and predicted poses, and that loss.

        Args:
            batch: its `pose_3d` (B, J, 3) are the labeled ones, where `pose_3d_valid` in every joint.
            pose_3d: (B, J, 3) mm, predicted; no gradient goes back through them.
            weights: of the global batch.
        """
        with tf.GradientTape() as tape:
            scores = [self.model(pose) for pose in (batch["pose_3d"], tf.stop_gradient(pose_3d))]
            loss = discriminator_loss(discriminator_terms(*scores, batch["pose_3d_valid"]), weights)
        gradients = tape.gradient(loss, [variable.value for variable in self.optimizer.variables])
        return self.optimizer.flatten(gradients), loss

    def apply(self, gradient, keep=None) -> None:
        """One step; where `keep` is false, as after an overflow of float16, none."""
        self.optimizer.apply(gradient, self.learning_rate, keep=keep)
