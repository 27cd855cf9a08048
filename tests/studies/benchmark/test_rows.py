"""The project's own rows, the machine, and the command."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from absl import flags

from keras_pose import benchmark as main
from keras_pose.core.errors import UserError
from keras_pose.studies.benchmark import contest, machine, report, rows, start, workers
from keras_pose.studies.benchmark.side import BATCH_FILE
from keras_pose.training.experiment import DataConfig, PhaseConfig
from tests.conftest import ROOT
from tests.studies.benchmark.tiny import TINY
from tests.training.runs import tiny_experiment


@pytest.fixture(scope="module")
def job(toy_dataset):
    return rows.Job(tiny_experiment("unused", toy_dataset, (PhaseConfig("hrnet", 1),)), steps=2)


def test_the_loop_is_measured_beside_the_bare_step(job):
    found = rows.measure_loop(job)
    assert found["loop_over_bare"] == pytest.approx(found["loop_images_per_second"] / found["bare_images_per_second"])
    assert set(found) <= set(report.LABELS) and all(value > 0 for value in found.values())


def test_three_ways_of_updating_are_measured(job):
    found = rows.measure_optimizer(replace(job, steps=1))
    assert len(found) == 6 and set(found) <= set(report.LABELS) and all(value > 0 for value in found.values())


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_two_ways_of_normalizing_are_measured(job, precision):
    experiment = replace(job.experiment, train=replace(job.experiment.train, precision=precision))
    found = rows.measure_batch_norm(replace(job, experiment=experiment))
    assert len(found) == 5 and set(found) <= set(report.LABELS) and all(value > 0 for value in found.values())
    ratio = found["one_kernel_ms"] / found["batch_norm_ms"]
    assert found["one_kernel_over_batch_norm"] == pytest.approx(ratio)


def test_the_start_is_measured_both_ways(job, monkeypatch):
    monkeypatch.setattr(start, "in_own_process", lambda row, job: row(job))  # importing TensorFlow again takes its time
    found = start.measure_start(job)
    assert len(found) == 10 and set(found) <= set(report.LABELS)
    for way in ("start", "rewritten"):
        assert 0 < found[f"{way}_build_s"] < found[f"{way}_first_step_s"]
        assert 0 < found[f"{way}_later_step_s"] < found[f"{way}_first_step_s"]


def test_the_pipeline_reads_images_of_the_models_size(job, toy_dataset, tmp_path):
    experiment = job.experiment
    model = replace(experiment.model, input_size=(96, 128))
    larger = rows.Job(replace(experiment, model=model, data=DataConfig(str(toy_dataset))), 1)
    dataset = rows.resized_dataset(larger, tmp_path)
    assert dataset.image_size == (96, 128) and dataset.count("train") >= 4000
    found = rows.measure_pipeline(larger)
    assert found["pipeline_images_per_second"] > 1 and found["pipeline_cpu_ms_per_image"] > 0


def test_each_batch_size_has_a_row():
    found = rows.measure_batch_sizes(replace(TINY, rounds=1), "torch", [3])
    assert list(found) == ["3"] and min(found["3"].values()) > 0
    assert len(report.format_results({"batch_sizes": found | {"4": found["3"]}})) == 4


def test_two_workers_are_measured_beside_one():
    processors = (machine.processors() * 2)[:2]  # where there is one, they share it
    found = workers.measure_workers(TINY, processors)
    one, two = found["one_worker_images_per_second"], found["two_workers_images_per_second"]
    assert one > 0 and found["worker_scaling"] == pytest.approx(two / one)


def test_a_worker_that_fails_ends_the_others(tmp_path):
    contest.write_batch(tmp_path / BATCH_FILE, TINY)
    no_processor = 10**6
    with pytest.raises(UserError, match="a worker ended with status 1: OSError"):
        workers.run_workers(TINY.spec("keras_pose", str(tmp_path)), [machine.processors()[0], no_processor], 1)


# --- the machine -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fastest", "gpus", "reason"),
    [
        ("mixed_bfloat16", [{}], ""),
        ("float32", [{}], "a GPU has no bfloat16"),
        ("float32", [], "no bfloat16 instructions (amx_bf16 or avx512_bf16) are known of this processor"),
    ],
)
def test_the_reason_against_bfloat16_names_what_lacks_it(monkeypatch, fastest, gpus, reason):
    monkeypatch.setattr(machine, "fastest_precision", lambda: fastest)
    monkeypatch.setattr(machine, "_gpus", lambda: gpus)
    assert machine.why_no_bfloat16().startswith(reason) and bool(reason) == bool(machine.why_no_bfloat16())


def test_two_workers_need_two_processors(monkeypatch):
    monkeypatch.setattr(machine, "processors", lambda: [3])
    assert machine.why_no_workers() == "2 workers need 2 processors; this machine has 1"
    monkeypatch.setattr(machine, "processors", lambda: [3, 5])
    assert machine.why_no_workers() == ""


def test_ratios_are_of_the_fastest_training():
    rates = {"torch": 9.0, "keras_pose": 2.0, "keras_pose_1": 4.0}
    found = {
        "contest": {"contestants": {name: {"training_images_per_second": rate} for name, rate in rates.items()}},
        "machine": {"training_gflop_per_image": 10.0, "matrix_peak_gflop_per_second": 80.0},
        "pipeline": {"pipeline_images_per_second": 100.0},
    }
    report.add_ratios(found)
    assert found["machine"]["share_of_peak"] == 0.5 and found["pipeline"]["pipeline_over_training"] == 25


# --- the command -------------------------------------------------------------------------------------------------


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "keras_pose.benchmark", "--variant=w8_tiny", "--input_size=64x96", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_the_command_writes_what_it_prints_and_what_it_skipped(tmp_path):
    path = Path(tmp_path, "out.json")
    done = run("--rows=machine,contest_bfloat16", "--contestants=torch", "--steps=1", f"--json={path}")
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    assert found["variant"] == "w8_tiny" and found["machine"]["forward_gflop_per_image"] > 0
    assert found["setup"]["torch"] == torch.__version__ and found["setup"]["processors"] > 0
    assert "convolutions, forward (GFLOP/image)" in done.stdout
    reason = machine.why_no_bfloat16()
    assert ("contest_bfloat16" in found["left_out"]) == bool(reason) == ("contest_bfloat16" not in found)
    assert reason in done.stdout


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rows": ["speed"]}, "--rows lists speed; choose from contest"),
        ({"rows": []}, "--rows lists nothing; choose from contest"),
        ({"rows": ["machine"], "contestants": ["jax"]}, "--contestants lists jax; choose from torch"),
        ({"rows": ["machine"], "batch_sizes": ["1", "x"]}, "--batch_sizes lists 'x'"),
        ({"rows": ["workers"]}, "none of --rows can be measured here: too few"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(monkeypatch, values, message):
    flag_values = flags.FlagValues()
    main.define_flags(flag_values)
    flag_values(["benchmark"])
    for name, value in values.items():
        flag_values[name].value = value
    monkeypatch.setattr(main, "FLAGS", flag_values)
    monkeypatch.setattr(machine, "why_no_workers", lambda: "too few")
    with pytest.raises(UserError, match=message):
        main.main([])
