"""Data that change while a run reads them, and bad examples: they are named, and nothing learned from them is kept."""

from dataclasses import replace

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.data import pipeline, records, shards
from keras_pose.data.dataset import open_dataset
from keras_pose.training import checkpoint, run_folder
from keras_pose.training.experiment import PhaseConfig
from keras_pose.training.recorder import Recorder
from tests.data.test_foreign_shards import rewrite
from tests.training.runs import assert_same_run, run, write_poses

SHARD = shards.shard_name("train", 0, 1)


def after_epoch(monkeypatch, epoch: int, act) -> None:
    """Calls `act` when the run has recorded that epoch."""
    record = Recorder.epoch

    def record_and_act(recorder, phase, number, *figures):
        record(recorder, phase, number, *figures)
        if number == epoch:
            act()

    monkeypatch.setattr(Recorder, "epoch", record_and_act)


def test_a_shard_swapped_between_epochs_is_named_and_its_return_lets_the_run_go_on(
    tmp_path, finished_lifter, monkeypatch
):
    poses = write_poses(tmp_path / "poses", {"train": 32, "validation": 10})
    other = write_poses(tmp_path / "other", {"train": 40, "validation": 10})
    data = replace(finished_lifter.data, dataset=str(poses))
    experiment = replace(finished_lifter, output=str(tmp_path / "run"), data=data)
    good = (poses / SHARD).read_bytes()
    with monkeypatch.context() as patch:
        after_epoch(patch, 1, lambda: (poses / SHARD).write_bytes((other / SHARD).read_bytes()))
        with pytest.raises(UserError, match=f"shard .*{SHARD} has .* bytes, not"):
            run(experiment)
    assert checkpoint.load_progress(tmp_path / "run" / run_folder.LAST_CHECKPOINT).epoch == 1
    (poses / SHARD).write_bytes(good)
    run(experiment)
    assert_same_run(experiment, finished_lifter)


def with_bad_label(folder, split: str, value: float):
    """Poses whose fourth example has a label that no writer of this package lets through."""
    write_poses(folder, {"train": 32, "validation": 10})
    path = folder / shards.shard_name(split, 0, 1)
    examples = list(pipeline.read_examples(open_dataset(str(folder)), split))
    examples[3].pose_3d_mm = examples[3].pose_3d_mm.copy()
    examples[3].pose_3d_mm[5, 1] = value
    rewrite(path, b"".join(records.frame(records.serialize(example)) for example in examples))
    return folder


@pytest.mark.parametrize(("split", "value"), [("train", np.nan), ("validation", np.inf), ("train", 1e30)])
def test_a_bad_label_is_named_with_its_step_and_the_weights_before_it_are_kept(tmp_path, finished_lifter, split, value):
    """1e30 is a number, but its square is not: the loss reports it."""
    poses = with_bad_label(tmp_path / "poses", split, value)
    train = replace(finished_lifter.train, phases=(PhaseConfig("lifter", 2),), checkpoint_steps=1)
    data = replace(finished_lifter.data, dataset=str(poses))
    experiment = replace(finished_lifter, output=str(tmp_path / "run"), data=data, train=train)
    shard = shards.shard_name(split, 0, 1)
    with pytest.raises(UserError, match=rf"at step \d+.*shard .*{shard}, record 3: toy s0/sit/3: ") as caught:
        run(experiment)
    assert "\n" not in str(caught.value)
    last = tmp_path / "run" / run_folder.LAST_CHECKPOINT
    if last.is_file():  # the bad one may be in the very first batch
        with np.load(last) as arrays:
            assert all(np.isfinite(arrays[name]).all() for name in set(arrays.files) - {"meta"})
    assert not list((tmp_path / "run").glob("model*"))


def test_a_validation_that_is_nan_is_reported(tmp_path, finished_lifter):
    """A finite label whose error overflows."""
    poses = with_bad_label(tmp_path / "poses", "validation", 3e38)
    data = replace(finished_lifter.data, dataset=str(poses))
    experiment = replace(finished_lifter, output=str(tmp_path / "run"), data=data)
    with pytest.raises(UserError, match=r"the validation error is NaN or infinite at step 4.*record 3: toy s0/sit/3"):
        run(experiment)
    assert not list((tmp_path / "run").glob("model*"))
