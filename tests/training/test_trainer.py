import signal
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import COCO_17
from keras_pose.losses import LossConfig
from keras_pose.models import model_folder
from keras_pose.training import checkpoint, learner, run_folder, trainer
from keras_pose.training.experiment import OptimizerConfig, PhaseConfig
from keras_pose.training.optimizer import FlatAdam
from keras_pose.training.stopping import Stopped
from tests.conftest import write_dataset
from tests.training.runs import assert_same_run, interrupt_at, read_metrics, run, tiny_experiment, write_poses

BOTH = (PhaseConfig("hrnet", 1, flip=0.5), PhaseConfig("e2e", 1))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, toy_dataset):
    """A run of both phases, with an average of the weights."""
    output = tmp_path_factory.mktemp("finished")
    experiment = tiny_experiment(output, toy_dataset, BOTH, optimizer=OptimizerConfig(ema=0.5))
    run(experiment)
    return experiment


# --- stopping and going on -------------------------------------------------------------------------------------


def stop_and_go_on(monkeypatch, whole, output, step: int) -> None:
    """Stops a run after `step` steps and starts it again: it must equal `whole`, which was not stopped."""
    experiment = replace(whole, output=str(output))
    with monkeypatch.context() as patch:
        interrupt_at(patch, step, lambda: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(Stopped, match=f"stopped by SIGTERM at step {step + 1}; run the same command to resume"):
            run(experiment)
    run(experiment)
    assert_same_run(experiment, whole)


def test_a_run_stopped_within_an_epoch_resumes_exactly(tmp_path, finished, monkeypatch):
    stop_and_go_on(monkeypatch, finished, tmp_path / "run", 4)


def test_a_run_with_muon_resumes_exactly(tmp_path, toy_dataset, monkeypatch):
    whole = tiny_experiment(tmp_path / "whole", toy_dataset, BOTH[:1], optimizer=OptimizerConfig(name="muon"))
    run(whole)
    stop_and_go_on(monkeypatch, whole, tmp_path / "run", 2)


@pytest.mark.parametrize("step", [4, 5, 8])
def test_a_stop_is_obeyed_wherever_it_comes(tmp_path, finished_lifter, monkeypatch, step):
    experiment = replace(finished_lifter, output=str(tmp_path / "run"))
    with monkeypatch.context() as patch:
        interrupt_at(patch, step, lambda: signal.raise_signal(signal.SIGINT))
        try:
            run(experiment)
        except Stopped:
            run(experiment)
    assert_same_run(experiment, finished_lifter)


def test_a_killed_run_resumes_from_its_last_checkpoint(tmp_path, finished_lifter, monkeypatch):
    train = replace(finished_lifter.train, checkpoint_steps=3)
    experiment = replace(finished_lifter, output=str(tmp_path / "run"), train=train)

    def power_cut():
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        interrupt_at(patch, 6, power_cut)
        with pytest.raises(RuntimeError):
            run(experiment)
    progress = checkpoint.load_progress(tmp_path / "run" / run_folder.LAST_CHECKPOINT)
    assert (progress.epoch, progress.step) == (1, 0)
    run(experiment)
    assert_same_run(experiment, finished_lifter)


def test_checkpoints_come_within_an_epoch(tmp_path, finished_lifter, monkeypatch):
    train = replace(finished_lifter.train, checkpoint_steps=2)
    experiment = replace(finished_lifter, output=str(tmp_path / "run"), train=train)
    monkeypatch.setattr(trainer.Trainer, "_finish_epoch", lambda *_: pytest.exit("not reached"))
    interrupt_at(monkeypatch, 3, lambda: (_ for _ in ()).throw(RuntimeError("power cut")))
    with pytest.raises(RuntimeError):
        run(experiment)
    assert checkpoint.load_progress(tmp_path / "run" / run_folder.LAST_CHECKPOINT).step == 2


def test_the_second_signal_does_not_wait(tmp_path, finished_lifter, monkeypatch):
    experiment = replace(finished_lifter, output=str(tmp_path / "run"))

    def press_twice():
        signal.raise_signal(signal.SIGINT)
        time.sleep(1.1)
        signal.raise_signal(signal.SIGINT)

    interrupt_at(monkeypatch, 2, press_twice)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(experiment)
    assert signal.getsignal(signal.SIGINT) is before


def test_one_stop_that_comes_as_two_signals_writes_its_checkpoint(tmp_path, finished_lifter, monkeypatch):
    """`timeout` and Ctrl-C signal a whole group of processes, and a parent in it passes its own signal on."""
    experiment = replace(finished_lifter, output=str(tmp_path / "run"))

    def twice_at_once():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)

    interrupt_at(monkeypatch, 2, twice_at_once)
    with pytest.raises(Stopped):
        run(experiment)
    assert checkpoint.load_progress(tmp_path / "run" / run_folder.LAST_CHECKPOINT).step == 3


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path, finished_lifter, monkeypatch):
    experiment = replace(finished_lifter, output=str(tmp_path / "run"))
    interrupt_at(monkeypatch, 2, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Stopped):
        run(experiment)
    wider = replace(experiment, model=replace(experiment.model, width=24))
    with pytest.raises(UserError, match="last.npz has another architecture"):
        trainer.train(wider)


def test_data_that_changed_are_refused(tmp_path, finished_lifter, monkeypatch):
    experiment = replace(finished_lifter, output=str(tmp_path / "run"))
    interrupt_at(monkeypatch, 2, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Stopped):
        run(experiment)
    other = write_poses(tmp_path / "other", {"train": 40, "validation": 10})
    with pytest.raises(UserError, match="has changed since"):
        trainer.train(replace(experiment, data=replace(experiment.data, dataset=str(other))))


# --- numbers ---------------------------------------------------------------------------------------------------


def test_the_seed_decides_the_curve(tmp_path, finished_lifter):
    again = replace(finished_lifter, output=str(tmp_path / "again"))
    run(again)
    assert_same_run(again, finished_lifter)
    train = replace(finished_lifter.train, seed=1)
    other = replace(finished_lifter, output=str(tmp_path / "other"), train=train)
    run(other)
    assert read_metrics(other.output)[0]["loss"] != read_metrics(finished_lifter.output)[0]["loss"]


def test_an_epoch_reports_the_mean_of_its_steps(finished):
    records = read_metrics(finished.output)
    steps = [record for record in records if record["kind"] == "step" and record["phase"] == "e2e"]
    epoch = [record for record in records if record["kind"] == "epoch" and record["phase"] == "e2e"][0]
    assert [record["step"] for record in steps] == [4, 5, 6] and epoch["step"] == 6
    for name in ("loss", "joint2d", "encoder", "decoder", "bone_symmetry"):
        assert epoch[name] == pytest.approx(np.mean([record[name] for record in steps]))
        assert epoch[f"val_{name}"] > 0


def test_an_epoch_makes_the_requested_number_of_passes(tmp_path, finished_lifter):
    data = replace(finished_lifter.data, passes=3)
    train = replace(finished_lifter.train, phases=(PhaseConfig("lifter", 1),))
    run(replace(finished_lifter, output=str(tmp_path), data=data, train=train))
    assert [record["step"] for record in read_metrics(tmp_path) if record["kind"] == "epoch"] == [12]


def test_alpha_decays_after_each_epoch(tmp_path, toy_dataset):
    loss = LossConfig(alpha=2.0, alpha_decay=0.25)
    experiment = tiny_experiment(tmp_path, toy_dataset, (PhaseConfig("hrnet", 2),), loss=loss)
    run(experiment)
    records = [record for record in read_metrics(tmp_path) if record["kind"] == "step"]
    factors = [record["loss"] / record["joint2d"] for record in records]
    np.testing.assert_allclose(factors, [2.0] * 3 + [0.5] * 3, rtol=1e-5)
    _, info = model_folder.load_run(tmp_path)
    assert info.kind == "keypoints" and info.statistics is None


def test_a_nan_loss_stops_the_run_and_keeps_the_good_checkpoint(tmp_path, poses):
    train = {"checkpoint_steps": 1}
    experiment = tiny_experiment(tmp_path, poses, (PhaseConfig("lifter", 1, learning_rate=1e30),), train=train)
    with pytest.raises(
        UserError, match=r"NaN or infinite at step 2 \(lifter, epoch 1\); .*last.npz holds the last good"
    ):
        run(experiment)
    assert checkpoint.load_progress(tmp_path / run_folder.LAST_CHECKPOINT).step == 1


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_a_model_trained_in_half_precision_is_saved_in_float32(tmp_path, toy_dataset, precision):
    experiment = tiny_experiment(tmp_path, toy_dataset, BOTH[:1], train={"precision": precision})
    run(experiment)
    assert keras.config.dtype_policy().name == "float32"
    model, info = model_folder.load_run(tmp_path)
    assert {layer.dtype_policy.name for layer in model.get_layer("hrnet").layers} == {"float32"}
    (epoch,) = [record for record in read_metrics(tmp_path) if record["kind"] == "epoch"]
    assert ("loss_scale" in epoch) == (precision == "mixed_float16")
    assert info.metrics["joint2d"] == pytest.approx(epoch["val_joint2d"]) and np.isfinite(epoch["loss"])


# --- what is saved ---------------------------------------------------------------------------------------------


def test_the_saved_model_has_the_averaged_weights(finished):
    with np.load(f"{finished.output}/{run_folder.LAST_CHECKPOINT}") as last:
        average = last["average"]
    model, info = model_folder.load_run(finished.output)
    trained = [w for part in ("hrnet", "encoder", "decoder") for w in model.get_layer(part).trainable_weights]
    np.testing.assert_array_equal(FlatAdam(trained, OptimizerConfig()).parameters.numpy(), average)
    assert info.kind == "pose" and info.skeleton.name == "human36m_17"


def test_the_best_epoch_is_saved_and_each_phase_has_its_own(tmp_path, finished_lifter, monkeypatch):
    results = iter([5.0, 3.0, 4.0])
    figures = {"loss": 1.0}
    monkeypatch.setattr(learner.Validator, "run", lambda *_: figures | {"mpjpe_mm": next(results)})
    train = replace(finished_lifter.train, phases=(PhaseConfig("lifter", 3),))
    run(replace(finished_lifter, output=str(tmp_path), train=train))
    metrics = model_folder.read_model_info(tmp_path).metrics
    assert (metrics["epoch"], metrics["mpjpe_mm"]) == (2, 3.0)


def test_a_run_folder_has_all_documented_files(finished):
    directory = Path(finished.output)
    for name in ("resolved.flags", "model.keras", "model.json", "metrics.jsonl", "curves.png"):
        assert (directory / name).stat().st_size > 0
    with np.load(directory / run_folder.LAST_CHECKPOINT) as arrays:
        assert not [name for name in arrays.files if "discriminator" in name]  # it was not asked for
    assert sorted(path.name for path in (directory / "samples").iterdir()) == [
        "1_hrnet_epoch_001.png",
        "2_e2e_epoch_001.png",
    ]
    tags = set()
    for path in (directory / "tensorboard").iterdir():
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            tags |= {value.tag for value in event.summary.value}
    assert {"samples", "step/loss", "step/learning_rate", "epoch/val_mpjpe_mm", "epoch/images_per_second"} <= tags


def test_a_run_starts_from_the_weights_of_another(tmp_path, finished, toy_dataset, capsys):
    train = {"init_from": finished.output, "log_steps": 3}
    still = PhaseConfig("hrnet", 1, learning_rate=1e-30)
    run(tiny_experiment(tmp_path, toy_dataset, (still,), train=train))
    assert "weights from" in capsys.readouterr().out
    source, found = model_folder.load_run(finished.output)[0], model_folder.load_run(tmp_path)[0]
    ours, theirs = found.get_layer("hrnet").trainable_weights, source.get_layer("hrnet").trainable_weights
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


# --- bad input -------------------------------------------------------------------------------------------------


def test_data_of_another_size_or_skeleton_are_refused(tmp_path, toy_dataset, poses):
    experiment = tiny_experiment(tmp_path, toy_dataset)
    other_size = replace(experiment, model=replace(experiment.model, input_size=(64, 64)))
    with pytest.raises(UserError, match="has images of 64x96, the model sees 64x64; prepare"):
        trainer.train(other_size)
    other_skeleton = replace(experiment, model=replace(experiment.model, skeleton=COCO_17.name))
    with pytest.raises(UserError, match="has skeleton human36m_17, the model has coco_17; prepare"):
        trainer.train(other_skeleton)
    with pytest.raises(UserError, match="has no images, the model sees 64x96"):
        trainer.train(tiny_experiment(tmp_path, poses))


def test_data_that_fill_no_batch_are_refused(tmp_path):
    few = write_dataset(tmp_path / "few", {"train": 5, "validation": 2})
    with pytest.raises(UserError, match="split train .* has 5 examples, fewer than the 8 of one batch"):
        trainer.train(tiny_experiment(tmp_path / "run", few))
    unvalidated = write_dataset(tmp_path / "unvalidated", {"train": 9})
    with pytest.raises(UserError, match="has no split 'validation'"):
        trainer.train(tiny_experiment(tmp_path / "run", unvalidated))


def test_an_operation_has_the_requested_threads(tmp_path, poses, monkeypatch):
    """TensorFlow is told before anything starts it, which it would refuse afterwards."""
    told = []

    def stop(count):
        told.append(count)
        raise InterruptedError

    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", stop)
    with pytest.raises(InterruptedError):
        run(tiny_experiment(tmp_path, poses, (PhaseConfig("lifter", 1),), train={"threads_per_operation": 1}))
    assert told == [1]
    with pytest.raises(UserError, match="threads_per_operation=1"):
        tiny_experiment(tmp_path, poses, train={"threads_per_operation": -1})
