"""The compiled steps of training and validation, the same on one device and on many."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_pose import metrics
from keras_pose.data.augment import build_augmentation
from keras_pose.errors import UserError
from keras_pose.losses import LossConfig, combine_terms, pose_loss_terms
from keras_pose.skeleton import Skeleton
from keras_pose.training import distribution
from keras_pose.training.experiment import Experiment
from keras_pose.training.optimizer import FlatAdam, LossScale
from keras_pose.training.phases import Phase, dropout_layers
from keras_pose.training.schedule import Schedule

PCK_FRACTION = 0.2


def make_train_step(
    strategy: tf.distribute.Strategy,
    phase: Phase,
    optimizer: FlatAdam,
    loss_scale: LossScale | None,
    schedule: Schedule,
    experiment: Experiment,
    seed: int,
) -> Callable[..., dict]:
    """A function `train_step(batch, step, alpha)` that does one step on a distributed batch.

    `step` counts from 0 within the phase; augmentation and dropout are functions of it, of `seed` and of the replica,
    so nothing of them needs to be kept. It returns scalars of the whole global batch: `loss`, a term each,
    `gradient_norm`, `learning_rate` and, under float16, `loss_scale`.
    """
    skeleton, loss = experiment.model.get_skeleton(), experiment.loss
    augmentation = build_augmentation(experiment.augment, skeleton)
    dropouts = list(dropout_layers(phase.model))

    def replica_step(batch, step, alpha):
        draw = step * strategy.num_replicas_in_sync + distribution.replica_number()
        for i, layer in enumerate(dropouts):
            layer.seed_generator.state.assign(tf.stack([seed + 1 + i, draw]))
        if phase.name == "lifter":  # it sees no pictures, but augmentation asks for some; the graph drops them
            batch = {**batch, "image": tf.zeros((tf.shape(batch["pose_3d"])[0], *experiment.model.input_size, 3))}
        batch = augmentation(batch, tf.stack([seed, draw]))
        with tf.GradientTape() as tape:
            terms = pose_loss_terms(batch, phase.forward(batch, training=True), skeleton, loss)
            with tape.stop_recording():
                weights = _sum_weights(terms)
            losses = combine_terms(terms, loss, alpha, weights)
            objective = losses["loss"] if loss_scale is None else losses["loss"] * loss_scale.scale.value
        gradients = tape.gradient(
            objective,
            [variable.value for variable in optimizer.variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        gradient = distribution.sum_over_replicas(optimizer.flatten(gradients))
        finite = None
        if loss_scale is not None:
            gradient, finite = loss_scale.unscale(gradient)
        learning_rate = schedule(step)
        norm = optimizer.apply(gradient, learning_rate, keep=finite)
        shares = {name: tf.cast(value, tf.float32) for name, value in losses.items()}
        same = {"gradient_norm": norm, "learning_rate": learning_rate}
        if loss_scale is not None:
            same["loss_scale"] = tf.identity(loss_scale.scale.value)
        return _summed(shares) | same

    @tf.function(autograph=False)  # there is no control flow on tensors, and conversion takes seconds
    def train_step(batch, step, alpha):
        results = strategy.run(replica_step, (batch, step, alpha))
        return {name: distribution.local_values(strategy, value)[0] for name, value in results.items()}

    return train_step


def _sum_weights(terms: dict) -> dict:
    """The weight of each term over the whole global batch."""
    return _summed({name: weight for name, (_, weight) in terms.items()})


def _summed(scalars: dict) -> dict:
    """Scalars summed over the replicas, in one exchange."""
    total = distribution.sum_over_replicas(tf.stack(list(scalars.values())))
    return dict(zip(scalars, tf.unstack(total, num=len(scalars)), strict=True))


# --- validation ------------------------------------------------------------------------------------------------


def make_eval_step(
    strategy: tf.distribute.Strategy,
    phase: Phase,
    loss: LossConfig,
    skeleton: Skeleton,
    input_size: tuple[int, int],
    element_spec,
) -> Callable[..., tuple]:
    """A function `eval_step(batch)` of a distributed batch of `element_spec`, whose batch size is open.

    It returns, a replica each, the sums and weights of `eval_terms` and the outputs `keypoints_2d` and `pose_3d`.
    """

    def replica_step(batch):
        outputs = phase.forward(batch, training=False)
        terms = {
            name: tuple(tf.cast(value, tf.float32) for value in term)
            for name, term in eval_terms(batch, outputs, loss, skeleton, input_size).items()
        }
        return terms, {name: outputs[name] for name in ("keypoints_2d", "pose_3d") if name in outputs}

    @tf.function(input_signature=[element_spec], autograph=False)
    def eval_step(batch):
        return strategy.run(replica_step, (batch,))

    return eval_step


def eval_terms(batch: dict, outputs: dict, loss: LossConfig, skeleton: Skeleton, input_size: tuple[int, int]) -> dict:
    """Losses and metrics of a batch, each a (sum, weight) pair of scalars; see `eval_means`."""
    terms = pose_loss_terms(batch, outputs, skeleton, loss)
    if "pose_3d" in outputs:
        target, pose = batch["pose_3d"], outputs["pose_3d"]
        for name, metric in (("mpjpe_mm", metrics.mpjpe), ("pa_mpjpe_mm", metrics.pa_mpjpe)):
            terms[name] = _term(metric(target, pose), batch["has_pose_3d"])
    if "keypoints_2d" in outputs:
        size = np.array([input_size[1], input_size[0]], np.float32)
        target_px, keypoints_px = batch["keypoints_2d"] * size, outputs["keypoints_2d"] * size
        valid = batch["keypoint_valid"]
        terms["keypoint_error_px"] = _term(metrics.joint_errors(target_px, keypoints_px), valid)
        try:
            terms["pck_0_2"] = _term(*metrics.pck(target_px, keypoints_px, valid, skeleton, PCK_FRACTION))
        except UserError:
            pass  # the skeleton has no torso to measure by
    return terms


def _term(values, weights):
    return tf.reduce_sum(values * weights), tf.reduce_sum(weights)


def eval_means(totals: dict, loss: LossConfig) -> dict[str, float]:
    """(sum, weight) pairs over a split to means, with `loss` by Eq. 9 without alpha's decay."""
    scalars = {name: (np.float32(total), np.float32(weight)) for name, (total, weight) in totals.items()}
    names = [name for name in ("joint2d", "encoder", "decoder", "bone_symmetry") if name in scalars]
    losses = combine_terms({name: scalars[name] for name in names}, loss)
    others = {name: total / max(weight, 1.0) for name, (total, weight) in scalars.items() if name not in names}
    return {name: float(value) for name, value in (losses | others).items()}
