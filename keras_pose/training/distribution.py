"""One path for one device, many devices and many machines, through `tf.distribute`."""

import json
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_pose.data.pipeline import DatasetInfo, make_batches
from keras_pose.errors import UserError


def make_strategy(name: str) -> tf.distribute.Strategy:
    """The strategy of that name (`keras_pose.training.experiment.STRATEGIES`).

    `auto` is `multi_worker` where TF_CONFIG names workers, else `mirrored` on several GPUs, else `one_device`.
    `mirrored` takes all GPUs, or without any all (logical) CPU devices.
    """
    gpus = tf.config.list_physical_devices("GPU")  # logical ones would start TensorFlow, too early for workers
    workers = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
    if name == "auto":
        name = "multi_worker" if workers else "mirrored" if len(gpus) > 1 else "one_device"
    if name == "multi_worker":
        if not workers:
            raise UserError("strategy multi_worker needs TF_CONFIG to name the workers; set it, or choose another")
        return tf.distribute.MultiWorkerMirroredStrategy()
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.OneDeviceStrategy("/gpu:0" if gpus else "/cpu:0")


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the run's files."""
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or not resolver.task_type:
        return True
    return resolver.task_type == "chief" or (resolver.task_id == 0 and "chief" not in resolver.cluster_spec().as_dict())


def distribute_batches(
    strategy: tf.distribute.Strategy, info: DatasetInfo, split: str, batch_size: int, skip_batches: int = 0, **options
):
    """`make_batches` over the replicas: `batch_size` and `skip_batches` count global batches.

    The replicas' batches of one step together hold the examples of the one batch that a single device would see.
    """
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise UserError(f"batch size {batch_size} does not divide among {replicas} devices; choose a multiple")

    def local_batches(context: tf.distribute.InputContext) -> tf.data.Dataset:
        workers = context.num_input_pipelines
        return make_batches(
            info,
            split,
            batch_size // replicas,
            shard=(context.input_pipeline_id, workers),
            skip_batches=skip_batches * (replicas // workers),
            **options,
        )

    return strategy.distribute_datasets_from_function(local_batches)


# --- inside a replica ------------------------------------------------------------------------------------------


def replica_number():
    """The number of this replica, an int32 scalar: which share of the global batch it works on."""
    return tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32)


def sum_over_replicas(tensor):
    """The replicas' sum, on each of them."""
    context = tf.distribute.get_replica_context()
    return tensor if context.num_replicas_in_sync == 1 else context.all_reduce(tf.distribute.ReduceOp.SUM, tensor)


# --- outside ---------------------------------------------------------------------------------------------------


def local_values(strategy: tf.distribute.Strategy, value) -> list:
    """This process's replicas' values."""
    return list(strategy.experimental_local_results(value))


def sum_over_workers(strategy: tf.distribute.Strategy, value: np.ndarray) -> np.ndarray:
    """The sum of every process's `value`."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return value
    local_replicas = strategy.num_replicas_in_sync // _num_workers(strategy)
    shares = strategy.experimental_distribute_values_from_function(lambda _: tf.constant(value / local_replicas))
    return strategy.reduce(tf.distribute.ReduceOp.SUM, shares, axis=None).numpy()


def _num_workers(strategy: tf.distribute.Strategy) -> int:
    return sum(len(tasks) for tasks in strategy.cluster_resolver.cluster_spec().as_dict().values())


def averager(strategy: tf.distribute.Strategy, variables: list) -> Callable[[], None]:
    """A function that brings variables that replicas have changed apart to their mean.

    These are the running statistics of batch norm: each replica keeps those of its share of the batches.
    """
    if strategy.num_replicas_in_sync == 1 or not variables:
        return lambda: None

    def average() -> None:
        flat = tf.concat([tf.reshape(variable.value, [-1]) for variable in variables], 0)
        flat = sum_over_replicas(flat) / strategy.num_replicas_in_sync
        parts = tf.split(flat, [int(np.prod(variable.shape)) for variable in variables])
        for variable, part in zip(variables, parts, strict=True):
            variable.assign(tf.reshape(part, variable.shape))

    return tf.function(lambda: strategy.run(average), autograph=False)
