"""Small experiments for the tests of training."""

import json
from pathlib import Path

import numpy as np

from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data import shards
from keras_pose.io.folder_lock import locked
from keras_pose.models import model_folder
from keras_pose.models.pose_model import PoseModelConfig
from keras_pose.training import run_folder, trainer
from keras_pose.training.experiment import DataConfig, Experiment, PhaseConfig, TrainConfig
from keras_pose.training.recorder import Recorder
from tests.conftest import make_example

TIMINGS = ("time", "seconds", "processor_seconds", "images_per_second")
E2E = (PhaseConfig("e2e", 1),)


def tiny_experiment(
    output, dataset, phases=E2E, dropout: float = 0.5, train: dict | None = None, **changes
) -> Experiment:
    """A run of the smallest model on 64 x 96 images, eight a batch."""
    return Experiment(
        output=str(output),
        model=PoseModelConfig(variant="w8_tiny", input_size=(64, 96), width=16, dropout=dropout),
        train=TrainConfig(tuple(phases), **{"strategy": "one_device", "log_steps": 1} | (train or {})),
        data=DataConfig(str(dataset), batch_size=8),
        **changes,
    )


def write_poses(directory: Path, counts: dict[str, int], image_size: tuple[int, int] = (64, 96)) -> Path:
    """A data set of poses without images, for the lifter; they lie in crops of that size."""
    rng = np.random.default_rng(0)
    splits = {
        split: (
            shards.write_shard(
                directory / shards.shard_name(split, 0, 1),
                (
                    make_example(rng, i, image_size, image_jpeg=b"", keypoint_valid=rng.uniform(size=17) < 0.8)
                    for i in range(count)
                ),
            ),
        )
        for split, count in counts.items()
    }
    shards.write_manifest(directory, shards.Manifest("poses", HUMAN36M_17, None, splits, {"name": "tests"}))
    return directory


def run(experiment: Experiment) -> None:
    """Trains as the command does."""
    with locked(experiment.output):
        run_folder.claim(experiment.output, f"# {experiment}\n")
        trainer.train(experiment)


def interrupt_at(monkeypatch, step: int, interrupt) -> None:
    """Calls `interrupt` when the run has recorded that step."""
    record = Recorder.step

    def record_and_interrupt(recorder, phase, epoch, run_step, figures):
        record(recorder, phase, epoch, run_step, figures)
        if run_step == step:
            interrupt()

    monkeypatch.setattr(Recorder, "step", record_and_interrupt)


def read_metrics(directory, without: tuple[str, ...] = TIMINGS) -> list[dict]:
    """metrics.jsonl without values that differ from run to run."""
    lines = (Path(directory) / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in without} for line in lines]


def weights_of(experiment: Experiment) -> list[np.ndarray]:
    """The weights of the model saved by a run."""
    return model_folder.load_run(experiment.output)[0].get_weights()


def assert_same_run(ours: Experiment, theirs: Experiment) -> None:
    """The same figures all the way, and the same weights to the bit."""
    assert read_metrics(ours.output) == read_metrics(theirs.output)
    for a, b in zip(weights_of(ours), weights_of(theirs), strict=True):
        np.testing.assert_array_equal(a, b)
