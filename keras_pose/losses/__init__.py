"""The paper's losses: target heatmaps, pure functions with masks, all of Eq. 9, and Keras losses."""

from keras_pose.losses.adversarial import discriminator_loss, discriminator_terms, discriminator_weights
from keras_pose.losses.keras_losses import BoneSymmetryLoss, DecoderLoss, EncoderLoss, Joint2DLoss
from keras_pose.losses.targets import target_heatmaps, target_peak
from keras_pose.losses.terms import (
    DECODER_TARGETS,
    METRES_PER_MM,
    TERMS,
    LossConfig,
    adversarial_loss,
    bone_symmetry_loss,
    combine_terms,
    decoder_loss,
    encoder_loss,
    joint2d_loss,
    left_right_loss,
    pose_loss_terms,
    pose_loss_weights,
    pose_losses,
    weighted_term,
)

__all__ = [
    "DECODER_TARGETS",
    "METRES_PER_MM",
    "TERMS",
    "BoneSymmetryLoss",
    "DecoderLoss",
    "EncoderLoss",
    "Joint2DLoss",
    "LossConfig",
    "adversarial_loss",
    "bone_symmetry_loss",
    "combine_terms",
    "decoder_loss",
    "discriminator_loss",
    "discriminator_terms",
    "discriminator_weights",
    "encoder_loss",
    "joint2d_loss",
    "left_right_loss",
    "pose_loss_terms",
    "pose_loss_weights",
    "pose_losses",
    "target_heatmaps",
    "target_peak",
    "weighted_term",
]
