"""exporters.table: every form in one folder, kept between calls, with its results."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from exporters import benchmark, compare, table
from keras_pose.core.errors import UserError
from keras_pose.flags import build_experiment
from keras_pose.inference import runtimes
from keras_pose.io.model_info import sidecar_path
from tests.conftest import ROOT
from tests.exporters.test_commands import run
from tests.flags.test_flags import parse

MS = {"pose.tflite": 40.0, "pose_int8.tflite": 10.0, "heatmaps.tflite": 32.0, "pose.onnx": 33.0, "heatmaps.onnx": 30.0}


def latencies(paths: list[Path], repetitions: int, rounds: int) -> list[benchmark.Latency]:
    """What a machine could measure; the law is in what is made of it."""
    return [
        benchmark.Latency(path.name, threads, MS.get(path.name, 50.0) / threads, 99, 99, 1, 1, repetitions, 1)
        for path in paths
        for threads in benchmark.THREADS
    ]


@pytest.fixture
def folder(exported, tmp_path) -> Path:
    """All forms, without any figures, as an earlier call that was stopped may leave them."""
    (tmp_path / "forms").mkdir()
    for name in table.FILES:
        for path in (exported[name], sidecar_path(exported[name])):
            shutil.copy(path, tmp_path / "forms" / path.name)
    return tmp_path / "forms"


def test_forms_figures_and_document(folder, exported, runs, samples, tmp_path, monkeypatch, capsys):
    document = tmp_path / "deploy.md"
    document.write_text("# Deploy\n<!-- forms of pose -->\nold\n<!-- end of forms of pose -->\nafter\n")
    arguments = (f"--model={runs['pose']}", f"--output={folder}", f"--doc={document}")
    code = run(table, *arguments, "--nolatency")
    rows = json.loads((folder / table.FIGURES).read_text())
    assert code == (not all(rows[name]["passed"] for name in table.FILES))
    assert all(rows[name]["samples"] == len(samples) for name in table.FILES)  # all of the test split
    assert rows["pose.tflite"]["passed"] and rows["heatmaps.onnx"]["convert_s"] > 0
    text = document.read_text()
    assert text.startswith("# Deploy\n") and text.endswith("\nafter\n") and "old" not in text
    assert [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")] == list(table.FILES)
    assert f"{rows['pose_int8.tflite']['mpjpe_mm']:.2f} | - | -" in text and "times as fast" not in text

    whole = runtimes.open_session(exported["keypoints.tflite"]).infer({"image": samples.image[:1].astype(np.float32)})
    for name in table.HEADLESS.values():  # the same network, and nothing else
        found = runtimes.open_session(folder / name).infer({"image": samples.image[:1]})
        assert list(found) == ["heatmaps"] and np.allclose(found["heatmaps"], whole["heatmaps"], atol=1e-4)

    monkeypatch.setattr(benchmark, "measure_all", latencies)
    monkeypatch.setattr(compare, "compare_file", None)  # neither parity nor conversion runs again
    monkeypatch.setattr(table, "_timed", None)
    assert run(table, *arguments) == code
    again = json.loads((folder / table.FIGURES).read_text())
    assert all(again[name].items() >= rows[name].items() for name in rows)
    text = document.read_text()
    assert "With 1 thread int8 is 4.0 times as fast as float32 in LiteRT" in text
    assert "+25.0% to the network's 32.0 ms in LiteRT" in text and "+10.0% to the network's 15.0 ms in ONNX" in text
    assert "| Keras | - | - | - | - | - | 50.0 | 25.0 |" in text

    del again["pose_int8.tflite"]["median_ms"]  # made anew, and not timed yet
    text = table.format_markdown(again)
    assert "times as fast" not in text and "+25.0% to the network's 32.0 ms in LiteRT" in text
    with pytest.raises(TypeError):  # another tolerance asks for parity anew
        run(table, *arguments, "--tolerance_mm=1000", "--nolatency")


def test_mistakes_give_one_line_errors(folder, runs):
    for arguments, message in [
        ((f"--model={runs['keypoints']}", f"--output={folder}"), "pose.tflite was made from another model"),
        ((f"--model={runs['lifter']}", f"--output={folder}"), "name a run that sees images"),
        ((f"--model={runs['pose']}",), "--output=FOLDER"),
    ]:
        with pytest.raises(UserError, match=message):
            run(table, *arguments)


def test_the_recipe_of_w32_is_complete(toy_dataset, monkeypatch):
    monkeypatch.chdir(ROOT)
    recipe = "--flagfile=exporters/w32_small_budget.flags"
    experiment = build_experiment(parse(recipe, f"--dataset={toy_dataset}", "--input_size=64x96"))
    assert experiment.kind == "pose" and experiment.model.variant == "w32" and not experiment.train.init_from
    assert [phase.name for phase in experiment.train.phases] == ["hrnet", "lifter"]
    assert experiment.augment.keypoint_noise > 0 and experiment.train.precision == "float32"
    lines = (ROOT / "exporters" / "w32_small_budget.flags").read_text().splitlines()
    assert "--input_size=256x256" in lines
    document = (ROOT / "docs" / "deploy.md").read_text()
    assert all(line.removeprefix("#     ") in document for line in lines if line.startswith("#     "))
