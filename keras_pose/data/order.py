"""The order of records: a function of (seed, epoch), and of the worker if each worker reads its own files."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from keras_pose.data import files
from keras_pose.data.dataset import DatasetInfo, Part

SHUFFLE_BUFFER = 16384
PARALLEL_SHARDS = 4
WHOLE = (0, 1)  # the share of a single worker


def records_in_order(info: DatasetInfo, split: str, share: tuple[int, int] = WHOLE) -> tf.data.Dataset:
    """The records of a split in shard order; `share` (i, n) selects the i-th of n equal stretches of each part."""
    result = None
    for part in info.parts_with(split):
        records = _pieces(part, _entries(part, split), share).flat_map(_read_piece)
        result = records if result is None else result.concatenate(records)
    return result


def shuffled_records(part: Part, split: str, seed: int, share: tuple[int, int] = WHOLE) -> tf.data.Dataset:
    """The records of a part, each once, shuffled: first the shards, then the records in a buffer.

    `share` (i, n) selects the i-th of n stretches with equally many records. So n workers together read every record
    once, each from its own files, however uneven these are.
    """
    entries = _entries(part, split)
    by_file = {entry.file: entry for entry in entries}
    shuffled = np.random.default_rng(seed).permutation([entry.file for entry in entries])
    records = _pieces(part, [by_file[file] for file in shuffled], share).interleave(
        _read_piece, cycle_length=PARALLEL_SHARDS, num_parallel_calls=PARALLEL_SHARDS, deterministic=True
    )
    count = min(part.manifest.count(split), SHUFFLE_BUFFER)
    return records.shuffle(count, seed=seed, reshuffle_each_iteration=False)


def _entries(part: Part, split: str) -> Sequence:
    part.manifest.count(split)  # raises UserError if there is none
    return part.manifest.splits[split]


def _pieces(part: Part, entries: Sequence, share: tuple[int, int]) -> tf.data.Dataset:
    """(file, records to skip, records to read) for a share of the shards in the given order."""
    total, (index, workers) = sum(entry.count for entry in entries), share
    start, end = index * total // workers, (index + 1) * total // workers
    found, first = [], 0
    for entry in entries:
        low, high = max(first, start), min(first + entry.count, end)
        if low < high:
            found.append((files.join(part.directory, entry.file), low - first, high - low))
        first += entry.count
    names, skips, takes = zip(*found, strict=True) if found else ((), (), ())
    return tf.data.Dataset.from_tensor_slices(
        (tf.constant(names, tf.string), tf.constant(skips, tf.int64), tf.constant(takes, tf.int64))
    )


@tf.autograph.experimental.do_not_convert
def _read_piece(file: tf.Tensor, skip: tf.Tensor, take: tf.Tensor) -> tf.data.Dataset:
    return tf.data.TFRecordDataset(file).skip(skip).take(take)


# --- an epoch --------------------------------------------------------------------------------------------------


def training_stream(
    info: DatasetInfo,
    split: str,
    seed: int,
    passes: Sequence[int],
    read: Callable[[Part, int], tf.data.Dataset],
    endless: bool = False,
) -> tf.data.Dataset:
    """Consecutive passes over a split, each shuffled by the seed and its own number.

    Args:
        passes: the numbers of the passes, counted since training began.
        read: reads one part, shuffled by a seed.
        endless: repeat the last pass forever, and never end a mix. For chunks of examples, whose number is unknown.
    """
    result = None
    for number in passes:
        one = _one_pass(info, split, seed, number, read, endless)
        if endless and number == passes[-1]:
            one = one.repeat()
        result = one if result is None else result.concatenate(one)
    return result


def _one_pass(info, split, seed, number, read, endless) -> tf.data.Dataset:
    """Every example once; for a mix, as many weighted draws as there are examples."""
    parts = info.parts_with(split)
    if len(parts) == 1:
        return read(parts[0], _derived_seed(seed, number))
    streams = [read(part, _derived_seed(seed, number, i)).repeat() for i, part in enumerate(parts)]
    weights = [part.weight for part in parts]
    mixed = tf.data.Dataset.sample_from_datasets(streams, weights, seed=_derived_seed(seed, number, len(parts)))
    return mixed if endless else mixed.take(info.count(split))


def _derived_seed(*parts: int) -> int:
    """A 31-bit seed derived from all numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0] >> 1)
