"""The adversarial prior: least-squares losses (Mao et al. 2017) with a discriminator of 3D poses. Not in the paper.

The discriminator (`keras_pose.models.pose_discriminator`) learns to score labeled poses 1 and predicted ones 0; its
loss is here. The pose network learns to predict poses that score 1, by `adversarial_loss` of `keras_pose.losses.terms`.
As there, losses are pure functions with masks, and terms are (sum, weight) pairs.
"""

from keras import ops

from keras_pose.losses.terms import weighted_term


def discriminator_terms(labelled_scores, predicted_scores, pose_3d_valid) -> dict:
    """The two halves of the discriminator's loss, each a (sum, weight) pair of scalars.

    Args:
        labelled_scores: (B,) scores of the batch's `pose_3d`; an example with an unlabeled joint has no weight.
        predicted_scores: (B,) scores of the network's `pose_3d`; every example counts.
        pose_3d_valid: (B, J), 1 where the joint has a 3D label.
    """
    weights = _weights(pose_3d_valid)
    return {
        "labelled_poses": weighted_term(ops.square(labelled_scores - 1.0), weights["labelled_poses"]),
        "predicted_poses": weighted_term(ops.square(predicted_scores), weights["predicted_poses"]),
    }


def discriminator_weights(pose_3d_valid) -> dict:
    """The weight of both `discriminator_terms`, as scalars; depends only on the labels."""
    return {name: ops.sum(weights) for name, weights in _weights(pose_3d_valid).items()}


def _weights(pose_3d_valid) -> dict:
    is_whole = ops.min(ops.cast(pose_3d_valid, "float32"), axis=-1)  # (B,)
    return {"labelled_poses": is_whole, "predicted_poses": ops.ones_like(is_whole)}


def discriminator_loss(terms: dict, weights: dict | None = None):
    """Half the sum of both means: 0 if the discriminator is always right, 0.25 if it scores everything 0.5.

    A global batch without any complete labeled pose has nothing to compare with, so its loss is 0.

    Args:
        terms: from `discriminator_terms`.
        weights: from `discriminator_weights` of the GLOBAL batch, for a replica with a part of it. The losses and
            gradients of the replicas then ADD UP to those of one device.
    """
    weights = {name: weight for name, (_, weight) in terms.items()} if weights is None else weights
    means = [total / ops.maximum(weights[name], 1.0) for name, (total, _) in terms.items()]
    return 0.5 * sum(means) * ops.cast(weights["labelled_poses"] > 0, "float32")
