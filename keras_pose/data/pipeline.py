"""From shards to batches: tf.data pipelines whose order (see `order`) depends only on (seed, epoch).

Records are shuffled and skipped before their images are decoded, so resuming within an epoch is cheap.
docs/architecture.md describes the fields of a batch.
"""

import functools
import os
from collections.abc import Iterator

import tensorflow as tf

from keras_pose.core.errors import UserError
from keras_pose.data import decode_service, order
from keras_pose.data.dataset import DatasetInfo, Part, naming_broken_shards
from keras_pose.data.example import PoseExample
from keras_pose.data.parsing import parse_example, to_example

SHARD_BY = ("examples", "files")
# Images decoded in parallel. Without tuning (see `_untuned`), tf.data would take the number of threads of an operation.
DECODERS = os.cpu_count() or 1

METADATA = ("keypoint_hidden", "root_position_mm", "intrinsics", "image_size", "difficulty")
METADATA += ("subject", "action", "source", "frame")


# --- records ---------------------------------------------------------------------------------------------------


def _batch_record(record: tf.Tensor, info: DatasetInfo, with_metadata: bool) -> dict[str, tf.Tensor]:
    fields = parse_example(record, info.skeleton.num_joints)
    for name in ("keypoints_2d_px", "pose_3d_mm"):
        fields[name] = tf.debugging.assert_all_finite(fields[name], f"{name} holds NaN or inf")
    size = tf.cast(fields["image_size"], tf.float32)
    result = {
        "keypoints_2d": fields["keypoints_2d_px"] / size[::-1],
        "keypoint_valid": tf.cast(fields["keypoint_valid"], tf.float32),
        "pose_3d": fields["pose_3d_mm"],
        "pose_3d_valid": tf.cast(fields["pose_3d_valid"], tf.float32),
    }
    if info.image_size:
        image = _decode(fields["image"], info.parts[0].manifest.image_size)
        result["image"] = _resize(image, info.resized) if info.resized else image
    if with_metadata:
        result |= {name: fields[name] for name in METADATA}
        result["keypoint_hidden"] = tf.cast(result["keypoint_hidden"], tf.float32)
    return result


def _decode(jpeg: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """JPEG to (H, W, 3) uint8; an image with another size in its header fails before it takes memory."""
    told = tf.io.extract_jpeg_shape(jpeg)[:2]
    with tf.control_dependencies([tf.debugging.assert_equal(told, image_size, "an image of another size")]):
        image = tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE")
    return tf.ensure_shape(image, (*image_size, 3))


def _resize(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """(H, W, 3) uint8 to another (height, width): by the mean over each pixel's area if smaller, else bilinear."""
    methods = tf.image.ResizeMethod
    method = methods.AREA if size[0] < image.shape[0] else methods.BILINEAR  # AREA takes a fourth of reduce_mean's time
    return tf.cast(tf.round(tf.image.resize(image, size, method)), tf.uint8)


# --- batches ---------------------------------------------------------------------------------------------------


def make_batches(
    info: DatasetInfo,
    split: str,
    batch_size: int,
    *,
    training: bool,
    seed: int = 0,
    epoch: int = 0,
    passes: int = 1,
    skip_batches: int = 0,
    with_metadata: bool = False,
    shard: tuple[int, int] = order.WHOLE,
    shard_by: str = "examples",
    data_service: str = "",
) -> tf.data.Dataset:
    """The batches of one epoch.

    With `training`, examples are shuffled by (seed, epoch), every batch has `batch_size` examples, and an epoch makes
    `passes` over the data. Otherwise examples come in shard order, and the last batch may be smaller.

    Args:
        skip_batches: number of batches to omit, which a resumed run has already seen.
        with_metadata: adds the fields of `METADATA`.
        shard: (i, n) gives worker i of n its share of every global batch, whose size is then n * `batch_size`.
        shard_by: `examples`: every worker reads all files and keeps its share of each batch, so together the batches
            equal those of one process. `files`: it reads only a share of the files, and the batches differ.
        data_service: `grpc://HOST:PORT` of a tf.data service that reads and decodes the training examples, divided by
            files. The order is then not deterministic, and a resumed epoch gets the remaining number of batches, in
            which examples that it has already seen may repeat.

    Raises:
        UserError: the split is missing or, with `training`, smaller than one global batch.
    """
    share = shard if shard_by == "files" or data_service else order.WHOLE
    decode = functools.partial(_batch_record, info=info, with_metadata=with_metadata)
    decode = tf.autograph.experimental.do_not_convert(decode)  # no control flow on tensors; conversion takes a second
    count, global_batch = info.count(split), batch_size * shard[1]
    seen = skip_batches * (batch_size if share == shard else global_batch)
    if not training:
        records = _share_of(order.records_in_order(info, split, share).skip(seen), shard, share)
        return _untuned(records.map(decode, DECODERS).batch(batch_size).prefetch(2))
    if count < global_batch:
        raise UserError(
            f"split {split} of {info.spec} has {count} examples, fewer than one batch of {global_batch}; "
            "choose a smaller batch"
        )
    passes_over_data = [*range(epoch * passes, (epoch + 1) * passes)]
    if share != order.WHOLE or data_service:
        # A spare pass: a share may be an example short of its steps, and a decoder that dies loses examples.
        passes_over_data.append(passes_over_data[-1] + 1)
    steps = count * passes // global_batch - skip_batches

    def read(part: Part, part_seed: int) -> tf.data.Dataset:
        records = order.shuffled_records(part, split, part_seed, share)
        if not data_service:
            return records
        return decode_service.distribute(records.map(decode, tf.data.AUTOTUNE, deterministic=False), data_service)

    if data_service:
        chunks = order.training_stream(info, split, seed, passes_over_data, read, endless=True)
        return _untuned(chunks.rebatch(batch_size, drop_remainder=True).take(steps).prefetch(2))
    records = order.training_stream(info, split, seed, passes_over_data, read).skip(seen)
    examples = _share_of(records, shard, share).map(decode, DECODERS)
    return _untuned(examples.batch(batch_size, drop_remainder=True).take(steps).prefetch(2))


def _untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The data set without tf.data's tuning, which delays the end of an iterator by up to a minute.

    Its thread sleeps 10 ms, then 20, 40 and so on up to a minute. Freeing an iterator waits for the thread, which may
    miss the request to end and sleep once more.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _share_of(records: tf.data.Dataset, shard: tuple[int, int], share: tuple[int, int]) -> tf.data.Dataset:
    """A worker's records among `records`: all if it reads only its share of the files, else every n-th."""
    index, workers = shard
    return records.shard(workers, index) if workers > 1 and share == order.WHOLE else records


# --- examples --------------------------------------------------------------------------------------------------


def read_examples(info: DatasetInfo, split: str) -> Iterator[PoseExample]:
    """The examples of a split, in shard order; raises UserError that names a broken shard."""
    with naming_broken_shards(info):
        joints = info.skeleton.num_joints
        records = _untuned(order.records_in_order(info, split).map(lambda record: parse_example(record, joints)))
        for fields in records.as_numpy_iterator():
            yield to_example(fields)
