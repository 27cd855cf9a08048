"""Run as a script: trains on one device and on two logical ones, and prints both results as JSON.

    python -m tests.training.replicas DATASET frozen|live

Logical devices must be made before TensorFlow starts, so this is a process of its own. `frozen`: batch norm uses its
running statistics, and the replicas see different examples. `live`: it uses the batch's, and both see the same ones;
the lifter alone, since the untrained backbone makes rounding visible (so does another order of a batch).
"""

import json
import sys

import keras
import tensorflow as tf

from keras_pose.data.augment import AugmentConfig
from keras_pose.data.pipeline import make_batches, open_dataset
from keras_pose.training import distribution, phases, steps
from keras_pose.training.experiment import Experiment, OptimizerConfig, PhaseConfig
from keras_pose.training.optimizer import FlatAdam
from keras_pose.training.schedule import Schedule
from tests.training.runs import tiny_experiment

BATCH = 8
STEPS = 3


def train(strategy, dataset, experiment: Experiment, frozen: bool) -> dict:
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = phases.build_model(experiment, dataset.statistics)
        for part in phases.parts_of(model).values():
            for layer in part.layers:
                if frozen and isinstance(layer, keras.layers.BatchNormalization):
                    layer.trainable = False
        phase = phases.Phase(experiment.train.phases[0].name, model)
        optimizer = FlatAdam(phase.trainable_variables, OptimizerConfig(clip_norm=5.0))
        schedule = Schedule("constant", 1e-3, STEPS)
        step = steps.make_train_step(strategy, phase, optimizer, None, schedule, experiment, seed=0)
        losses = []
        for i, batch in enumerate(batches(strategy, dataset, frozen)):
            result = step(batch, tf.constant(i), tf.constant(1.0))
            losses.append({name: float(value) for name, value in result.items()})
        distribution.averager(strategy, model.non_trainable_weights)()
        return {
            "losses": losses,
            "weights": optimizer.flatten([v.value for v in optimizer.variables]).numpy()[::97].tolist(),
        }


def batches(strategy, dataset, frozen: bool):
    """Batches over the replicas; the same whole batches for every strategy."""
    if frozen:
        whole = distribution.distribute_batches(strategy, dataset, "train", BATCH, training=True, seed=1)
        yield from (batch for batch, _ in zip(whole, range(STEPS), strict=False))
        return
    repeats = 2 // strategy.num_replicas_in_sync
    for half in make_batches(dataset, "train", BATCH // 2, training=True, seed=1).take(STEPS):
        share = {name: tf.concat([values] * repeats, 0) for name, values in half.items()}
        yield strategy.experimental_distribute_values_from_function(lambda _, share=share: share)


def main(dataset_path: str, batch_norm: str) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    dataset = open_dataset(dataset_path)
    off = AugmentConfig(**dict.fromkeys(AugmentConfig.__dataclass_fields__, 0.0))
    phase = PhaseConfig("e2e" if batch_norm == "frozen" else "lifter", 1)
    experiment = tiny_experiment("unused", dataset_path, (phase,), augment=off, dropout=0.0)
    found = {
        name: train(distribution.make_strategy(name), dataset, experiment, batch_norm == "frozen")
        for name in ("one_device", "mirrored")
    }
    found["replicas"] = distribution.make_strategy("mirrored").num_replicas_in_sync
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
