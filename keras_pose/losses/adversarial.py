"""The adversarial prior: least-squares losses (Mao et al. 2017) of a critic of 3D poses. Not in the paper.

The critic (`keras_pose.models.pose_discriminator`) learns to give labeled poses 1 and predicted ones 0; the pose
network is paid for predicted poses that score 1. Both are pure functions with masks and (sum, weight) pairs, like
`keras_pose.losses.terms`.
"""

from keras import ops

from keras_pose.losses.terms import weighted_term


def discriminator_terms(labelled_scores, predicted_scores, pose_3d_valid) -> dict:
    """The two halves of the critic's loss, each a (sum, weight) pair of scalars.

    Args:
        labelled_scores: (B,) of the batch's `pose_3d`; examples that lack the label of any joint weigh nothing.
        predicted_scores: (B,) of the network's `pose_3d`, of every example.
        pose_3d_valid: (B, J).
    """
    weights = _weights(pose_3d_valid)
    return {
        "labelled_poses": weighted_term(ops.square(labelled_scores - 1.0), weights["labelled_poses"]),
        "predicted_poses": weighted_term(ops.square(predicted_scores), weights["predicted_poses"]),
    }


def discriminator_weights(pose_3d_valid) -> dict:
    """The weight of both of `discriminator_terms`, scalars; labels alone decide it."""
    return {name: ops.sum(weights) for name, weights in _weights(pose_3d_valid).items()}


def _weights(pose_3d_valid) -> dict:
    is_whole = ops.min(ops.cast(pose_3d_valid, "float32"), axis=-1)  # (B,)
    return {"labelled_poses": is_whole, "predicted_poses": ops.ones_like(is_whole)}


def discriminator_loss(terms: dict, weights: dict | None = None):
    """Half the sum of both means: 0 where the critic is always right, 0.25 where it says 0.5 to everything.

    A global batch without any whole labeled pose has nothing to compare with: its loss is 0.

    Args:
        terms: from `discriminator_terms`.
        weights: from `discriminator_weights` of the GLOBAL batch, for a replica that holds a part of it; losses and
            gradients of replicas then add up.
    """
    weights = {name: weight for name, (_, weight) in terms.items()} if weights is None else weights
    means = [total / ops.maximum(weights[name], 1.0) for name, (total, _) in terms.items()]
    return 0.5 * sum(means) * ops.cast(weights["labelled_poses"] > 0, "float32")
