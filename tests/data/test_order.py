"""Workers that each read their own files."""

import numpy as np
import pytest

from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data import order, pipeline, shards
from keras_pose.data.dataset import open_dataset
from tests.conftest import make_example

COUNTS = (9, 1, 4, 7, 2)  # examples of each shard: 23 in all


@pytest.fixture(scope="module")
def info(tmp_path_factory):
    """Shards of poses, as uneven as they come; `frame` numbers all examples."""
    directory, rng, first = tmp_path_factory.mktemp("uneven"), np.random.default_rng(0), 0
    entries = []
    for i, count in enumerate(COUNTS):
        examples = (make_example(rng, first + k, image_jpeg=b"") for k in range(count))
        entries.append(shards.write_shard(directory / shards.shard_name("train", i, len(COUNTS)), examples))
        first += count
    manifest = shards.Manifest("uneven", HUMAN36M_17, None, {"train": tuple(entries)}, {"name": "tests"})
    shards.write_manifest(directory, manifest)
    return open_dataset(str(directory))


def frames(info, batch_size, **options):
    batches = pipeline.make_batches(info, "train", batch_size, with_metadata=True, shard_by="files", **options)
    return [batch["frame"].numpy().tolist() for batch in batches]


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 23])
def test_every_example_goes_to_one_worker_in_equal_numbers(info, workers):
    seen = [
        [int(frame) for record in order.shuffled_records(info.parts[0], "train", 1, (i, workers))
         for frame in [pipeline.parse_example(record, 17)["frame"]]]
        for i in range(workers)
    ]  # fmt: skip
    assert sorted(sum(seen, [])) == list(range(23))
    assert {len(share) for share in seen} <= {23 // workers, 23 // workers + 1}


def test_a_worker_opens_only_its_own_files(info):
    (part,) = info.parts
    entries = part.manifest.splits["train"]
    pieces = [order._pieces(part, entries, (i, 2)).as_numpy_iterator() for i in range(2)]
    opened = [{file for file, _, _ in share} for share in pieces]
    assert len(opened[0] | opened[1]) == 5 and len(opened[0] & opened[1]) <= 1


def test_all_workers_have_the_steps_of_an_epoch(info):
    for passes, steps in ((1, 23 // 4), (3, 69 // 4)):
        parts = [frames(info, 2, training=True, seed=1, passes=passes, shard=(i, 2)) for i in range(2)]
        assert [len(part) for part in parts] == [steps, steps]
        assert all(len(batch) == 2 for part in parts for batch in part)
    first = [frames(info, 2, training=True, seed=1, shard=(i, 2)) for i in range(2)]
    assert len(set(np.ravel(first).tolist())) == 20  # nothing twice within a pass
    assert first == [frames(info, 2, training=True, seed=1, shard=(i, 2)) for i in range(2)]
    assert first != [frames(info, 2, training=True, seed=1, epoch=1, shard=(i, 2)) for i in range(2)]


def test_a_resumed_worker_continues_with_its_own(info):
    whole = frames(info, 2, training=True, seed=1, shard=(1, 2))
    assert frames(info, 2, training=True, seed=1, shard=(1, 2), skip_batches=3) == whole[3:]


def test_evaluation_by_files_sees_everything_once_and_in_order(info):
    parts = [frames(info, 4, training=False, shard=(i, 3)) for i in range(3)]
    assert sum(sum(parts, []), []) == list(range(23))
    few = [frames(info, 4, training=False, shard=(i, 30)) for i in range(30)]
    assert sum(sum(few, []), []) == list(range(23)) and [] in few


def test_a_mix_by_files_has_each_workers_share(info):
    mix = open_dataset(f"{info.spec}:0.5,{info.spec}:0.5")
    parts = [frames(mix, 2, training=True, seed=1, shard=(i, 2)) for i in range(2)]
    assert [len(part) for part in parts] == [46 // 4, 46 // 4]
