"""The benchmark's rows run and tell what they promise; how fast they are is for a quiet machine to say."""

import pytest

from keras_pose import benchmark
from keras_pose.training.experiment import DataConfig
from tests.training.runs import tiny_experiment


@pytest.fixture(scope="module")
def job(toy_dataset):
    experiment = tiny_experiment("unused", toy_dataset, (benchmark.PhaseConfig("hrnet", 1),))
    return benchmark.Job(experiment, steps=2)


def test_rows_measure_in_processes_of_their_own(job, capsys):
    rows = {"training": benchmark.measure_training, "input pipeline": benchmark.measure_pipeline}
    found = benchmark.measure(rows, job)
    assert {"build_s", "first_step_s", "step_ms", "train_images_per_second"} <= set(found)
    assert all(value > 0 for value in found.values())
    ratio = found["pipeline_images_per_second"] / found["train_images_per_second"]
    assert found["pipeline_over_training"] == pytest.approx(ratio, rel=0.01)
    assert "training step, median (ms)" in capsys.readouterr().out


def test_inference_and_keras_fit_are_measured(job):
    found = benchmark.measure_inference(job) | benchmark.measure_keras_fit(job)
    assert set(found) == {"inference_images_per_second", "keras_fit_first_step_s", "keras_fit_step_ms"}
    assert all(value > 0 for value in found.values())


def test_the_pipeline_reads_pictures_of_the_models_size(toy_dataset, tmp_path):
    experiment = tiny_experiment("unused", toy_dataset, (benchmark.PhaseConfig("hrnet", 1),))
    larger = benchmark.replace(
        experiment, model=benchmark.replace(experiment.model, input_size=(96, 128)), data=DataConfig(str(toy_dataset))
    )
    dataset = benchmark._resized_dataset(benchmark.Job(larger, 1), tmp_path)
    assert dataset.image_size == (96, 128) and dataset.count("train") >= 4000
