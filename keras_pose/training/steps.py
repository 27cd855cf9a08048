"""The compiled steps of training and validation, identical on one device and on many."""

import functools
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton
from keras_pose.data.augment import build_augmentation
from keras_pose.evaluation import metrics
from keras_pose.losses import TERMS, LossConfig, combine_terms, pose_loss_terms, pose_loss_weights
from keras_pose.models.tensorflow_speed import run_as_traced
from keras_pose.training import distribution
from keras_pose.training.adversary import Adversary
from keras_pose.training.experiment import Experiment
from keras_pose.training.optimizer import FlatAdam, LossScale
from keras_pose.training.phases import Phase, dropout_layers
from keras_pose.training.schedule import Schedule
from keras_pose.training.xla import compile_forward

PCK_FRACTION = 0.2


def make_train_step(
    strategy: tf.distribute.Strategy,
    phase: Phase,
    optimizer: FlatAdam,
    loss_scale: LossScale | None,
    schedule: Schedule,
    experiment: Experiment,
    seed: int,
    adversary: Adversary | None = None,
) -> Callable[..., dict]:
    """Returns `train_step(batch, step, alpha, wants_stop=0.0)`, which does one step on a distributed batch.

    `step` counts from 0 within the phase. Augmentation and dropout are functions of it, of `seed` and of the replica,
    so they have no state to checkpoint. An `adversary` takes its own step at the same time.

    The step returns scalars over the global batch: `loss`, each term, `gradient_norm`, `learning_rate` and `stop_votes`
    (the sum of `wants_stop` over replicas); with float16 also `loss_scale`, and with an `adversary` its loss as
    `discriminator`.

    Raises:
        UserError: the settings do not work, see `check_settings`.
    """
    check_settings(strategy, experiment)
    skeleton, loss, parts = experiment.model.get_skeleton(), experiment.loss, experiment.train.accumulate_steps
    optimizers = [optimizer, adversary.optimizer] if adversary else [optimizer]
    sizes = [each.parameters.shape[0] for each in optimizers]  # of their gradients, exchanged as one vector
    augmentation = build_augmentation(experiment.augment, skeleton, experiment.model.input_size)
    dropouts = list(dropout_layers(phase.model))
    forward = functools.partial(phase.forward, training=True)
    if experiment.train.jit_compile:
        forward = compile_forward(forward)

    def compute_gradient(batch, draw, alpha, weights):
        """The flat gradient of a part of the replica's batch, followed by the adversary's; and the part's losses."""
        for i, layer in enumerate(dropouts):
            layer.seed_generator.state.assign(tf.stack([seed + 1 + i, draw]))
        with tf.GradientTape() as tape:
            outputs = forward(batch)
            losses = combine_terms(pose_loss_terms(batch, outputs, skeleton, loss), loss, alpha, weights)
            objective = losses["loss"] if loss_scale is None else losses["loss"] * loss_scale.scale.value
        gradients = tape.gradient(
            objective,
            [variable.value for variable in optimizer.variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        gradient = optimizer.flatten(gradients)
        if adversary:
            own, losses["discriminator"] = adversary.gradient(batch, outputs["pose_3d"], weights)
            gradient = tf.concat([gradient, own], 0)
        return gradient, {name: tf.cast(value, tf.float32) for name, value in losses.items()}

    def replica_step(batch, step, alpha, wants_stop):
        draw = step * strategy.num_replicas_in_sync + distribution.replica_number()
        batch = augmentation(batch, tf.stack([seed, draw]))
        batch = phase.labels(batch)
        weights, others = pose_loss_weights(batch, skeleton, loss), ("loss",)
        if adversary:
            weights, others = weights | adversary.weights(batch), ("loss", "discriminator")
        weights = _summed(weights)
        gradient, losses = _in_parts(
            lambda i, part: compute_gradient(part, draw * parts + i, alpha, weights),
            batch,
            parts,
            sum(sizes),
            (*weights, *others),
        )
        gradient = distribution.sum_over_replicas(gradient)
        gradient, *own = tf.split(gradient, sizes) if adversary else (gradient,)
        finite = None
        if loss_scale is not None:
            gradient, finite = loss_scale.unscale(gradient)
        learning_rate = schedule(step)
        norm = optimizer.apply(gradient, learning_rate, keep=finite)
        if adversary:
            adversary.apply(*own, keep=finite)
        same = {"gradient_norm": norm, "learning_rate": learning_rate}
        if loss_scale is not None:
            same["loss_scale"] = tf.identity(loss_scale.scale.value)
        return _summed(losses | {"stop_votes": wants_stop}) | same

    @tf.function(autograph=False)  # no control flow on tensors, and the conversion takes seconds
    def train_step(batch, step, alpha, wants_stop=0.0):
        results = strategy.run(replica_step, (batch, step, alpha, tf.cast(wants_stop, tf.float32)))
        return {name: distribution.local_values(strategy, value)[0] for name, value in results.items()}

    return train_step if phase.name == "lifter" else run_as_traced(train_step)


def check_settings(strategy: tf.distribute.Strategy, experiment: Experiment) -> None:
    """Raises UserError if devices and parts do not divide the batch, or settings do not work together."""
    train, batch_size, replicas = experiment.train, experiment.data.batch_size, strategy.num_replicas_in_sync
    if batch_size % (replicas * train.accumulate_steps):
        parts = f" in {train.accumulate_steps} parts each" if train.accumulate_steps > 1 else ""
        raise UserError(f"batch size {batch_size} must be divisible by {replicas} devices{parts}")
    others = {"jit_compile": train.jit_compile, "accumulate_steps": train.accumulate_steps > 1}
    for name in (name for name, is_set in others.items() if is_set):
        if train.sync_batch_norm and replicas > 1:
            raise UserError(f"--sync_batch_norm with --{name} works only on one device; leave one of them out")
    if train.precision == "mixed_float16" and not train.speed_tricks:
        raise UserError("--nospeed_tricks lacks the loss scaling that --precision=mixed_float16 needs; leave one out")


def _in_parts(compute: Callable, batch: dict, parts: int, size: int, names: Iterable[str]) -> tuple:
    """Sums `compute(i, part)` over equal parts of a batch, which are computed in sequence to save memory.

    `compute` returns a vector of `size` and a dict of scalars, with keys among `names`.
    """
    if parts == 1:
        return compute(0, batch)
    split = {name: tf.reshape(value, (parts, -1, *value.shape[1:])) for name, value in batch.items()}
    given = set()

    def add_part(i, vector, scalars):
        more, values = compute(i, {name: value[i] for name, value in split.items()})
        given.update(values)
        return i + 1, vector + more, {name: scalar + values.get(name, 0.0) for name, scalar in scalars.items()}

    start = (0, tf.zeros(size), {name: tf.zeros(()) for name in names})
    _, vector, scalars = tf.while_loop(lambda i, *_: i < parts, add_part, start, parallel_iterations=1)
    return vector, {name: scalar for name, scalar in scalars.items() if name in given}


def _summed(scalars: dict) -> dict:
    """Sums scalars over the replicas, in one exchange."""
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
    """Returns `eval_step(batch)` for distributed batches of `element_spec`, with any batch size.

    It returns, per replica, the sums and weights of `eval_terms` and the outputs `keypoints_2d` and `pose_3d`.
    """

    def replica_step(batch):
        batch = phase.labels(batch)
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
    """Losses and metrics of a batch, each as scalars (sum, weight); see `eval_means`."""
    terms = pose_loss_terms(batch, outputs, skeleton, loss)
    if "pose_3d" in outputs:
        labelled = batch["pose_3d"], outputs["pose_3d"], batch["pose_3d_valid"]
        share = tf.reduce_mean(batch["pose_3d_valid"], axis=-1)  # (B,): every labeled joint has the same weight
        terms["mpjpe_mm"] = _term(metrics.mpjpe(*labelled), share)
        terms["pa_mpjpe_mm"] = _term(metrics.pa_mpjpe(*labelled), metrics.pa_weights(batch["pose_3d_valid"]))
    if "keypoints_2d" in outputs:
        size = np.array([input_size[1], input_size[0]], np.float32)
        target_px, keypoints_px = batch["keypoints_2d"] * size, outputs["keypoints_2d"] * size
        valid = batch["keypoint_valid"]
        terms["keypoint_error_px"] = _term(metrics.joint_errors(target_px, keypoints_px), valid)
        try:
            terms["pck_0_2"] = _term(*metrics.pck(target_px, keypoints_px, valid, skeleton, PCK_FRACTION))
        except UserError:
            pass  # the skeleton has no torso to scale by
    return terms


def _term(values, weights):
    return tf.reduce_sum(values * weights), tf.reduce_sum(weights)


def eval_means(totals: dict, loss: LossConfig) -> dict[str, float]:
    """(sum, weight) over a split to means, with `loss` from Eq. 9 without decay of alpha."""
    scalars = {name: (np.float32(total), np.float32(weight)) for name, (total, weight) in totals.items()}
    names = [name for name in TERMS if name in scalars]
    losses = combine_terms({name: scalars[name] for name in names}, loss)
    others = {name: total / weight if weight else 0.0 for name, (total, weight) in scalars.items() if name not in names}
    return {name: float(value) for name, value in (losses | others).items()}
