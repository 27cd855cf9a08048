"""One code path for one device, many devices and many machines, with `tf.distribute`."""

import contextlib
import sys
from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf

from keras_pose.core.errors import UserError
from keras_pose.data.dataset import DatasetInfo
from keras_pose.data.pipeline import make_batches
from keras_pose.training.cluster import naming_lost_workers, read_cluster


def make_strategy(name: str) -> tf.distribute.Strategy:
    """The strategy with that name (`keras_pose.training.experiment.STRATEGIES`).

    `auto` means `multi_worker` if TF_CONFIG lists workers, else `mirrored` on several GPUs, else `one_device`.
    `mirrored` uses all GPUs, or without a GPU all (logical) CPU devices.
    """
    gpus = tf.config.list_physical_devices("GPU")  # listing logical ones starts TensorFlow before workers connect
    cluster = read_cluster(name)
    if cluster:
        print(f"waiting for {cluster.others}", flush=True)
        with naming_lost_workers(cluster):
            return tf.distribute.MultiWorkerMirroredStrategy()
    if name == "mirrored" or (name != "one_device" and len(gpus) > 1):
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.OneDeviceStrategy("/gpu:0" if gpus else "/cpu:0")


def begin_together(strategy: tf.distribute.Strategy, fails: bool = False) -> None:
    """The workers' first exchange, which waits for all; raises UserError if another one `fails` (`end_together`)."""
    if has_workers(strategy) and _sum_over_workers(strategy, np.array(fails, np.int32)) and not fails:
        raise UserError(
            "another worker cannot start, so this one ends too; fix what it reports, then start all workers again"
        )


def end_together(name: str, reason: str) -> None:
    """Notifies the other workers that this process cannot start, so they end instead of waiting.

    Args:
        name: the strategy.
        reason: printed to stderr first.
    """
    with contextlib.suppress(Exception):  # the caller reports the reason even if the others cannot be reached
        if read_cluster(name):
            print(f"{reason}\nnotifying the other workers", file=sys.stderr, flush=True)
            begin_together(make_strategy(name), fails=True)


def writes_files(name: str) -> bool:
    """Whether this process writes the run's files under that strategy; only one of many workers does."""
    cluster = read_cluster(name)
    return cluster is None or cluster.is_chief


def distribute_batches(
    strategy: tf.distribute.Strategy,
    info: DatasetInfo,
    split: str,
    batch_size: int,
    *,
    training: bool,
    skip_batches: int = 0,
    **options,
):
    """`make_batches` for the replicas. `batch_size` (a multiple of their number) and `skip_batches` are global.

    In each step, the replicas' batches together hold the examples of one device's batch, unless `shard_by` or a data
    service divides the files.

    If the only device is a processor, the data set is read directly. For other devices, tf.data adds a pipeline with
    tuning that copies the batches, and freeing it may block; see `pipeline._untuned`.
    """
    replicas, is_alone = strategy.num_replicas_in_sync, _is_processor_alone(strategy)

    def local_batches(context: tf.distribute.InputContext) -> tf.data.Dataset:
        workers = context.num_input_pipelines
        batches = make_batches(
            info,
            split,
            batch_size // replicas,
            training=training,
            shard=(context.input_pipeline_id, workers),
            skip_batches=skip_batches * (replicas // workers),
            **options,
        )
        # Workers would ask each other before every batch whether all have one. Training never asks for more batches
        # than there are, so declaring the data set infinite avoids this.
        endless = training and not is_alone
        return (
            batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)) if endless else batches
        )

    if is_alone:
        return local_batches(tf.distribute.InputContext())
    return strategy.distribute_datasets_from_function(local_batches)


def _is_processor_alone(strategy: tf.distribute.Strategy) -> bool:
    devices = strategy.extended.worker_devices
    return isinstance(strategy, tf.distribute.OneDeviceStrategy) and "CPU" in devices[0]


# --- inside a replica ------------------------------------------------------------------------------------------


def replica_number():
    """This replica's number as an int32 scalar: which share of the global batch it computes."""
    return tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32)


def sum_over_replicas(tensor):
    """The sum over the replicas, available on each of them."""
    context = tf.distribute.get_replica_context()
    return tensor if context.num_replicas_in_sync == 1 else context.all_reduce(tf.distribute.ReduceOp.SUM, tensor)


# --- outside ---------------------------------------------------------------------------------------------------


def local_values(strategy: tf.distribute.Strategy, value) -> list:
    """The values of this process's replicas."""
    return list(strategy.experimental_local_results(value))


def sum_over_workers(strategy: tf.distribute.Strategy, value: np.ndarray) -> np.ndarray:
    """The sum of `value` over all processes."""
    return _sum_over_workers(strategy, value) if has_workers(strategy) else value


def has_workers(strategy: tf.distribute.Strategy) -> bool:
    """Whether other processes take part in training."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def _sum_over_workers(strategy, value: np.ndarray) -> np.ndarray:
    local_replicas = len(strategy.extended.worker_devices)

    def share(context):  # one replica represents the process
        speaks = context.replica_id_in_sync_group % local_replicas == 0
        return tf.constant(value if speaks else np.zeros_like(value))

    shares = strategy.experimental_distribute_values_from_function(share)
    return strategy.reduce(tf.distribute.ReduceOp.SUM, shares, axis=None).numpy()


def chiefs_bytes(strategy: tf.distribute.Strategy, content: bytes, is_chief: bool) -> bytes:
    """The chief's `content`, on every worker."""
    if not has_workers(strategy):
        return content
    size = int(_sum_over_workers(strategy, np.array(len(content) if is_chief else 0, np.int32)))
    numbers = np.frombuffer(content, np.uint8).astype(np.int32) if is_chief else np.zeros(size, np.int32)
    return _sum_over_workers(strategy, numbers).astype(np.uint8).tobytes()


def take_chiefs_values(strategy: tf.distribute.Strategy, variables: Iterable[keras.Variable], is_chief: bool) -> None:
    """Sets the variables of every worker to exactly the chief's values."""
    if not has_workers(strategy):
        return
    by_dtype: dict[str, list[keras.Variable]] = {}
    for variable in variables:
        by_dtype.setdefault(variable.dtype, []).append(variable)
    for group in by_dtype.values():  # one exchange per dtype
        flat = np.concatenate([keras.ops.convert_to_numpy(variable).ravel() for variable in group])
        flat = _sum_over_workers(strategy, flat if is_chief else np.zeros_like(flat))
        ends = np.cumsum([int(np.prod(variable.shape)) for variable in group])
        for variable, values in zip(group, np.split(flat, ends[:-1]), strict=True):
            variable.assign(values.reshape(variable.shape))


def averager(strategy: tf.distribute.Strategy, variables: list) -> Callable[[], None]:
    """Returns a function that averages the variables over the replicas.

    It is for batch norm's running statistics, which each replica computes from its own share of the batches.
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
