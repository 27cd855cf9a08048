"""Jobs that fill a folder shard by shard."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data import shard_jobs, shards
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.io.folder_lock import LOCK
from tests.conftest import ROOT, make_example


def produce(items):
    """An example for each number; negative ones are bad."""
    for item in items:
        yield make_example(np.random.default_rng(item), item) if item >= 0 else BadFrame(f"frame {item}", "negative")


def die(items):
    os._exit(3)


def never_end(items):
    os.write(1, b"at work\n")
    time.sleep(600)
    yield from produce(items)


def plans(numbers, shard_size=4):
    return shard_jobs.plan_shards("train", numbers, [1] * len(numbers), shard_size)


def manifest(entries):
    return shards.Manifest("toy", HUMAN36M_17, (64, 96), entries, {"name": "test", "version": "1", "command": ""})


@pytest.mark.parametrize("shard_size", [1, 3, 7, 100])
def test_plans_hold_every_item_once_in_order(shard_size):
    frames = [int(f) for f in np.random.default_rng(0).integers(1, 6, 20)]
    made = shard_jobs.plan_shards("test", range(20), frames, shard_size)
    assert [item for plan in made for item in plan.items] == list(range(20))
    assert sum(plan.frames for plan in made) == sum(frames)
    assert all(plan.frames >= shard_size for plan in made[:-1])
    assert [plan.file for plan in made] == [shards.shard_name("test", i, len(made)) for i in range(len(made))]


def test_no_items_make_no_shards():
    assert shard_jobs.plan_shards("train", [], [], 4) == []


def test_parallel_workers_write_the_same_bytes_as_one(tmp_path):
    results = [shard_jobs.run(tmp_path / str(n), plans(range(10)), produce, workers=n) for n in (1, 2)]
    assert manifest(results[0][0]).digest() == manifest(results[1][0]).digest()


def test_a_second_run_makes_only_what_is_missing(tmp_path):
    shard_jobs.run(tmp_path, plans(range(10))[:2], produce, workers=1)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.tfrecord")}
    entries, _ = shard_jobs.run(tmp_path, plans(range(10)), produce, workers=1)
    assert sum(entry.count for entry in entries["train"]) == 10
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_a_few_bad_frames_are_listed_even_after_a_stop(tmp_path):
    numbers = [-7, *range(200)]
    shard_jobs.run(tmp_path, plans(numbers, 50)[:4], produce, workers=1)
    entries, bad = shard_jobs.run(tmp_path, plans(numbers, 50), produce, workers=1)
    assert bad == [BadFrame("frame -7", "negative")]
    assert (tmp_path / "bad_frames.txt").read_text() == "frame -7: negative\n"
    shard_jobs.finish(tmp_path, manifest(entries))
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json"] + [".tfrecord"] * 5 + [".txt"]


def test_many_bad_frames_are_refused_and_their_shards_made_again(tmp_path):
    with pytest.raises(UserError, match=r"frame -1: negative \(1 of 10 frames cannot be used, over 1%"):
        shard_jobs.run(tmp_path, plans([*range(4), -1, *range(5, 10)]), produce, workers=1)
    entries, bad = shard_jobs.run(tmp_path, plans(range(10)), produce, workers=1)
    assert bad == [] and sum(entry.count for entry in entries["train"]) == 10


def produce_some(items):
    """As `produce`, but negative numbers are skipped as expected."""
    for result in produce(items):
        yield BadFrame(result.where, result.why, skipped=True) if isinstance(result, BadFrame) else result


def test_skipped_frames_are_listed_and_do_not_count_towards_the_limit(tmp_path):
    entries, bad = shard_jobs.run(tmp_path, plans([0, -1, 1, -2, -3]), produce_some, workers=1)
    assert sum(entry.count for entry in entries["train"]) == 2
    assert [(frame.where, frame.skipped) for frame in bad] == [(f"frame -{n}", True) for n in (1, 2, 3)]
    assert len((tmp_path / "bad_frames.txt").read_text().splitlines()) == 3
    assert shard_jobs.run(tmp_path, plans([0, -1, 1, -2, -3]), produce_some, workers=1)[1] == bad


def test_frames_that_were_bad_before_the_work_count_too(tmp_path):
    skipped, known = BadFrame("label 8", "no image", skipped=True), BadFrame("label 9", "no number")
    for folder, before, share in (("a", [skipped] * 9, 0.01), ("b", [known], 0.2)):
        _, bad = shard_jobs.run(tmp_path / folder, plans(range(5)), produce, 1, before, share)
        assert bad == before
        assert (tmp_path / folder / "bad_frames.txt").read_text().startswith(f"{bad[0].where}: {bad[0].why}")
    with pytest.raises(UserError, match=r"label 9: no number \(1 of 6 frames cannot be used, over 10%"):
        shard_jobs.run(tmp_path / "c", plans(range(5)), produce, 1, [skipped, known], 0.1)


def test_a_dead_worker_is_reported(tmp_path):
    with pytest.raises(UserError, match="a worker process died"):
        shard_jobs.run(tmp_path, plans(range(10)), die, workers=2)


def test_settings_are_kept_and_other_ones_refused(tmp_path):
    folder = tmp_path / "out"
    assert not shard_jobs.start_or_resume(folder, {"size": (3, 4)})
    assert not shard_jobs.start_or_resume(folder, {"size": (3, 4)})
    with pytest.raises(UserError, match=r"was started with size \[3, 4\], now it is \[3, 5\]"):
        shard_jobs.start_or_resume(folder, {"size": (3, 5)})
    entries, _ = shard_jobs.run(folder, plans(range(3)), produce, workers=1)
    shard_jobs.finish(folder, manifest(entries))
    assert shard_jobs.start_or_resume(folder, {"size": (3, 4)})


def test_two_jobs_in_one_folder(tmp_path):
    """The second is refused and changes nothing; a finished folder is read only, and keeps no lock."""
    folder, settings = tmp_path / "out", {"size": 3}
    with shard_jobs.claimed(folder, settings) as is_finished:
        assert not is_finished
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        with pytest.raises(UserError, match=f"is being written by process {os.getpid()} on .*; wait for it"):
            with shard_jobs.claimed(folder, settings):
                pass
        assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
        entries, _ = shard_jobs.run(folder, plans(range(3)), produce, workers=1)
        shard_jobs.finish(folder, manifest(entries))
    before = sorted(folder.iterdir())
    assert folder / LOCK not in before
    with shard_jobs.claimed(folder, settings) as is_finished:
        assert is_finished and sorted(folder.iterdir()) == before


def test_files_left_by_a_job_killed_at_its_start_do_not_block(tmp_path):
    (tmp_path / LOCK).write_text("process 1 on a machine\n")
    with shard_jobs.claimed(tmp_path, {}) as is_finished:
        assert not is_finished


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_a_killed_job(tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.data.test_shard_jobs", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        assert [process.stdout.readline() for _ in range(2)] == ["at work\n"] * 2
        process.send_signal(number)
        process.communicate(timeout=60)  # until all who hold the pipe are gone
        assert process.returncode == -number
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "is a file"), ("notes.txt", "holds other files"), ("settings.json", "is damaged")]
)
def test_unrelated_folders_are_left_alone(tmp_path, content, message):
    folder = tmp_path / "out"
    if content:
        folder.mkdir()
    (folder / content if content else folder).write_text("mine")
    with pytest.raises(UserError, match=message), shard_jobs.claimed(folder, {}):
        pass
    assert not content or [path.name for path in folder.iterdir()] == [content]


if __name__ == "__main__":  # a job that has two workers and does not end by itself
    shard_jobs.run(sys.argv[1], plans(range(8)), never_end, workers=2)
