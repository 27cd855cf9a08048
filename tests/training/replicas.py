"""Run as a script: trains on one device and on two logical ones, and prints what to compare as JSON.

    python -m tests.training.replicas DATASET backbone|lifter

Logical devices must be made before TensorFlow starts, so this is a process of its own. The whole model is compared with
batch norm frozen: untrained and live it makes rounding visible (so does another order of a batch). The lifter has the
adversarial prior.
"""

import functools
import json
import sys
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from keras_pose.data.augment import AugmentConfig
from keras_pose.data.dataset import DatasetInfo, open_dataset
from keras_pose.data.pipeline import make_batches
from keras_pose.losses import LossConfig
from keras_pose.models.batch_norm import FusedBatchNormalization
from keras_pose.models.tensorflow_speed import speed_tricks
from keras_pose.training import distribution, phases, steps
from keras_pose.training.adversary import Adversary
from keras_pose.training.experiment import Experiment, OptimizerConfig, PhaseConfig
from keras_pose.training.optimizer import make_adam
from keras_pose.training.schedule import Schedule
from tests.training.runs import tiny_experiment

BATCH = 8
STEPS = 3
strategy_of = functools.cache(distribution.make_strategy)  # two of a kind in one process mix up their exchanges


def train(name: str, dataset: DatasetInfo, experiment: Experiment, frozen=False, halves=False, **settings) -> dict:
    """A few steps under the strategy of that name, with `settings` of TrainConfig.

    Args:
        frozen: batch norm uses its running statistics.
        halves: both replicas see the same examples, one device sees them twice.
    """
    experiment = replace(experiment, train=replace(experiment.train, **settings))
    strategy = strategy_of(name)
    keras.utils.set_random_seed(0)
    with speed_tricks(experiment.train.speed_tricks), strategy.scope():
        model = phases.build_model(experiment, dataset.statistics)
        for part in phases.parts_of(model).values():
            for layer in part.layers:
                if frozen and isinstance(layer, keras.layers.BatchNormalization):
                    layer.trainable = False
        if experiment.train.sync_batch_norm:
            phases.synchronize_batch_norm(model)
        discriminator = phases.build_discriminator(experiment, dataset.statistics)
        adversary = discriminator and Adversary(discriminator, learning_rate=1e-3)
        phase = phases.Phase(experiment.train.phases[0].name, model, discriminator)
        optimizer = make_adam(phase.trainable_variables, OptimizerConfig(clip_norm=5.0))
        schedule = Schedule("constant", 1e-3, STEPS)
        step = steps.make_train_step(strategy, phase, optimizer, None, schedule, experiment, 0, adversary)
        losses = []
        for i, batch in zip(range(STEPS), batches(strategy, dataset, halves), strict=False):
            result = step(batch, tf.constant(i), tf.constant(1.0), tf.constant(0.5))
            losses.append({name: float(value) for name, value in result.items()})
        distribution.averager(strategy, model.non_trainable_weights)()
        optimizers = [optimizer, adversary.optimizer] if adversary else [optimizer]
        return {
            "replicas": strategy.num_replicas_in_sync,
            "votes": [losses_of_step.pop("stop_votes") for losses_of_step in losses],
            "losses": losses,
            "weights": np.concatenate([of.parameters.numpy()[::97] for of in optimizers]).tolist(),
            "statistics": [np.sum(np.abs(weight)).item() for weight in model.non_trainable_weights],
        }


def batches(strategy, dataset, halves: bool):
    """Batches over the replicas; the same whole batches for every strategy."""
    if not halves:
        yield from distribution.distribute_batches(strategy, dataset, "train", BATCH, training=True, seed=1)
        return
    repeats = 2 // strategy.num_replicas_in_sync
    for half in make_batches(dataset, "train", BATCH // 2, training=True, seed=1).take(STEPS):
        share = {name: tf.concat([values] * repeats, 0) for name, values in half.items()}
        yield strategy.experimental_distribute_values_from_function(lambda _, share=share: share)


def normalize(name: str, images: np.ndarray) -> dict:
    """Synchronized batch norm in training: outputs, gradients and moved statistics over all of `images`."""
    strategy = strategy_of(name)
    shares = np.split(images, strategy.num_replicas_in_sync)
    with strategy.scope():
        layer = FusedBatchNormalization(synchronized=True, momentum=0.8)
        layer.build(images.shape)
        layer.moving_mean.assign(np.arange(images.shape[-1], dtype="float32"))

        def step(share):
            with tf.GradientTape() as tape:
                tape.watch(share)
                outputs = layer(share, training=True)
                loss = tf.reduce_sum(outputs * tf.stop_gradient(tf.sin(share)))
            by_image, *by_weight = tape.gradient(loss, [share, layer.gamma.value, layer.beta.value])
            return outputs, by_image, *(distribution.sum_over_replicas(gradient) for gradient in by_weight)

        values = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(shares[context.replica_id_in_sync_group])
        )
        results = [distribution.local_values(strategy, r) for r in tf.function(strategy.run)(step, (values,))]
        found = [np.concatenate(results[0]), np.concatenate(results[1]), results[2][0].numpy(), results[3][0].numpy()]
        found += [layer.moving_mean.numpy(), layer.moving_variance.numpy()]
    return {"values": np.concatenate([array.ravel() for array in found]).tolist()}


def main(dataset_path: str, what: str) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    dataset = open_dataset(dataset_path)
    off = AugmentConfig(**dict.fromkeys(AugmentConfig.__dataclass_fields__, 0.0))
    phase = PhaseConfig("e2e" if what == "backbone" else "lifter", 1)
    loss = LossConfig(adversarial_weight=0.0 if what == "backbone" else 0.1)
    experiment = tiny_experiment("unused", dataset_path, (phase,), augment=off, dropout=0.0, loss=loss)
    if what == "backbone":
        found = {
            "one_device": train("one_device", dataset, experiment, frozen=True),
            "mirrored": train("mirrored", dataset, experiment, frozen=True),
            "accumulated": train("one_device", dataset, experiment, frozen=True, accumulate_steps=4),
        }
    else:
        images = np.random.default_rng(0).normal(30, 2, (8, 3, 4, 5)).astype("float32")
        settings = {"accumulate_steps": 2, "jit_compile": True}
        found = {
            "one_device, halves": train("one_device", dataset, experiment, halves=True),
            "mirrored, halves": train("mirrored", dataset, experiment, halves=True),
            "one_device": train("one_device", dataset, experiment),
            "synchronized": train("mirrored", dataset, experiment, sync_batch_norm=True),
            "without tricks": train("mirrored", dataset, experiment, sync_batch_norm=True, speed_tricks=False),
            "one_device, frozen": train("one_device", dataset, experiment, frozen=True),
            "accumulated and compiled": train("mirrored", dataset, experiment, frozen=True, **settings),
            "batch norm": normalize("one_device", images),
            "batch norm, synchronized": normalize("mirrored", images),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
