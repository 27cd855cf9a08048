"""The commands: what they print and write; a mistake gives one line and leaves nothing behind."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from absl import flags

from exporters import benchmark, compare, export, inference_graph, onnx, parity, tflite
from exporters import flags as shared_flags
from exporters.compare import TOLERANCES
from keras_pose.core.errors import UserError
from keras_pose.io import atomic
from keras_pose.models.hrnet_checkpoint import with_official_cells
from keras_pose.models.pose_model import PoseStatistics, build_pose_model
from tests.conftest import write_dataset
from tests.exporters.conftest import CONFIG, write_run


def run(module, *arguments) -> int:
    """Runs a command's main on a command line."""
    values = flags.FlagValues()
    define = shared_flags.define_source_flags if module is parity else module.define_flags
    define(values)
    return module.main(values([module.__name__, *map(str, arguments)])[1:], values)


@pytest.fixture
def lifter(runs):
    return f"--model={runs['lifter']}"


def test_tflite_writes_file_metadata_and_figures(lifter, tmp_path, capsys):
    output, figures = tmp_path / "lifter.tflite", tmp_path / "figures.json"
    assert run(tflite, lifter, f"--output={output}", f"--json={figures}", "--samples=4") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures.json", "lifter.tflite", "lifter.tflite.json"]
    (row,) = json.loads(figures.read_text())["files"]
    assert row["passed"] and row["samples"] == 4 and row["largest_mm"] <= TOLERANCES["none"].mm
    assert row["largest_px"] is None
    assert row["file"] == "lifter.tflite" and "lifter.tflite" in capsys.readouterr().out


def test_files_are_held_against_the_model_as_they_see_it(exported, runs, toy_dataset, tmp_path, capsys):
    """One command checks files with and without the flip test, each against the same of the Keras model."""
    figures = tmp_path / "figures.json"
    files = [exported["pose.onnx"], exported["pose_flip_test.onnx"]]
    assert run(parity, f"--model={runs['pose']}", f"--dataset={toy_dataset}", f"--json={figures}", *files) == 0
    assert all(row["passed"] and row["largest_px"] < 0.01 for row in json.loads(figures.read_text())["files"])


@pytest.mark.parametrize(("size", "px"), [((64, 96), 0.5), ((100, 80), 0.5), ((160, 128), 0.8), ((256, 256), 1.28)])
def test_eight_bits_may_move_joints_by_a_share_of_a_large_crop(size, px):
    assert TOLERANCES["int8"].px_in(size) == TOLERANCES["dynamic"].px_in(size) == px
    assert TOLERANCES["none"].px_in(size) == 0.01 and TOLERANCES["float16"].px_in(size) == 0.1


def test_onnx_takes_opset_and_part(runs, tmp_path):
    import onnx as onnx_package

    output = tmp_path / "lifter.onnx"
    assert run(onnx, f"--model={runs['pose']}", "--part=lifter", "--opset=15", f"--output={output}", "--noparity") == 0
    assert onnx_package.load(output).opset_import[0].version == 15


def test_onnx_takes_images_at_the_oldest_opset(runs, tmp_path, toy_dataset):
    output = tmp_path / "pose.onnx"
    arguments = (f"--model={runs['pose']}", f"--output={output}", f"--opset={onnx.OPSETS[0]}", "--samples=4")
    assert run(onnx, *arguments) == 0
    assert "GlobalMaxPool" in {kind for kind, _ in onnx.operations(output)}


def test_a_lifter_computes_in_float32(lifter, tmp_path):
    with pytest.raises(UserError, match="a lifter computes in float32; choose none or float16"):
        run(onnx, lifter, f"--output={tmp_path / 'lifter.onnx'}", "--precision=float16_arithmetic", "--noparity")


def test_the_flat_form_is_refused_before_the_conversion(runs):
    source = inference_graph.load_source(runs["pose"])
    flat = build_pose_model(replace(CONFIG, soft_argmax_form="flat"), PoseStatistics.from_dict(source.info.statistics))
    with pytest.raises(UserError, match="trained with --soft_argmax_form=flat, whose operations phones lack"):
        inference_graph.build_inference_graph(replace(source, model=flat), tflite.Form("pose"))


def test_int8_calibrates_on_the_runs_data(runs, tmp_path, capsys):
    """Also: a run of keypoints alone, whose weights were not trained, is held to the tolerance that is given."""
    output = tmp_path / "keypoints.tflite"
    arguments = (f"--model={runs['keypoints']}", f"--output={output}", "--quantize=int8", "--calibration_samples=8")
    assert run(tflite, *arguments, "--noparity") == 0
    assert run(parity, f"--model={runs['keypoints']}", output) in (0, 1)
    assert "int8" in capsys.readouterr().out


def test_a_file_that_exceeds_its_tolerance_is_not_written(lifter, tmp_path):
    arguments = (f"--output={tmp_path / 'lifter.tflite'}", "--quantize=float16", "--tolerance_mm=0")
    with pytest.raises(UserError, match="did not write .*lifter.tflite: float16 differs from Keras: 3D by"):
        run(tflite, lifter, *arguments)
    assert not list(tmp_path.iterdir())


def test_parity_exits_with_1_if_a_tolerance_is_exceeded(exported, runs, tmp_path, capsys):
    model, figures = f"--model={runs['pose']}", tmp_path / "figures.json"
    assert run(parity, model, exported["lifter.tflite"], exported["lifter.onnx"], f"--json={figures}") == 0
    assert [row["file"] for row in json.loads(figures.read_text())["files"]] == ["lifter.tflite", "lifter.onnx"]
    assert run(parity, model, exported["pose_float16.tflite"], "--tolerance_mm=0") == 1
    assert "PAST TOLERANCE" in capsys.readouterr().out


def test_benchmark_measures_files_and_keras(exported, runs, tmp_path, capsys):
    figures = tmp_path / "figures.json"
    arguments = (exported["lifter.tflite"], exported["lifter.onnx"], f"--model={runs['lifter']}")
    assert run(benchmark, *arguments, "--repetitions=2", "--rounds=1", f"--json={figures}") == 0
    rows = json.loads(figures.read_text())["rows"]
    assert [(row["model"], row["threads"]) for row in rows] == [
        (model, threads) for model in ("lifter.tflite", "lifter.onnx", "Keras (lifter)") for threads in (1, 2)
    ]
    for row in rows:
        assert 0 < row["median_ms"] <= row["p90_ms"] and row["load_s"] > 0 and row["peak_memory_mb"] > 1
    assert "median ms" in capsys.readouterr().out


def test_the_newest_run_is_the_default(runs, tmp_path, monkeypatch, capsys):
    assert inference_graph.find_run(None, runs["pose"].parent) in runs.values()
    assert "the newest run" in capsys.readouterr().out
    monkeypatch.setattr(inference_graph, "SHIPPED_WEIGHTS", {"phone": tmp_path})
    assert inference_graph.find_run(None, tmp_path / "none") == tmp_path
    assert "shipped weights phone" in capsys.readouterr().out
    assert inference_graph.find_run("phone") == tmp_path
    monkeypatch.setattr(inference_graph, "SHIPPED_WEIGHTS", {})
    with pytest.raises(UserError, match="no shipped weights; train first"):
        inference_graph.find_run(None, tmp_path / "none")


def test_wrong_inputs_give_one_line_errors(runs, toy_dataset, tmp_path, exported):
    """Each mistake, before anything is written."""
    model, output = f"--model={runs['pose']}", f"--output={tmp_path / 'pose.tflite'}"
    other_size = write_dataset(tmp_path / "other_size", {"train": 4}, image_size=(32, 32))
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    mistakes = [
        ((tflite, model), r"--output= must name a file that ends in \.tflite"),
        ((tflite, model, "--output=pose.onnx"), r"must name a file that ends in \.tflite"),
        ((tflite, model, output, "pose"), "unknown argument 'pose'"),
        ((tflite, model, f"--output={exported['pose.tflite']}"), "already exists.*--overwrite"),
        ((tflite, "--model=nowhere", output), "no run nowhere"),
        ((tflite, f"--model={unfinished}", output), r"unfinished has no weights \(model.keras\)"),
        ((tflite, f"--model={runs['keypoints']}", output, "--part=pose", "--noparity"), "kind keypoints.*needs pose"),
        ((tflite, model, output, "--noparity", "--json=figures.json"), "--json needs the results of the parity check"),
        ((tflite, f"--model={runs['lifter']}", output, "--quantize=int8"), "lifter computes in float32"),
        ((tflite, model, output, "--part=lifter", "--heatmaps"), "lifter sees no images"),
        ((tflite, model, output, "--quantize=int8", f"--calibration={other_size}"), "32x32, the model sees 64x96"),
        ((tflite, model, output, f"--dataset={other_size}"), "32x32, the model sees 64x96"),
        ((parity, model), "no file given; name exported files"),
        ((parity, model, "pose.h5"), r"has an unknown suffix; exported files end in \.onnx, \.tflite"),
        ((parity, model, "missing.onnx"), "no file missing.onnx"),
        ((parity, f"--model={runs['keypoints']}", exported["lifter.onnx"]), "holds a lifter"),
        ((benchmark, exported["lifter.onnx"], "--model=nowhere"), "no run nowhere"),
    ]
    for (module, *arguments), message in mistakes:
        with pytest.raises(UserError, match=message) as error:
            run(module, *arguments)
        assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("pose*"))


def test_overwrite_replaces(lifter, tmp_path):
    output = tmp_path / "lifter.onnx"
    output.write_bytes(b"old")
    assert run(onnx, lifter, f"--output={output}", "--overwrite", "--noparity") == 0
    assert len(output.read_bytes()) > 1000


def test_a_full_disk_leaves_nothing(lifter, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(export.shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(UserError, match="has 0 MB free, the export needs"):
        run(onnx, lifter, f"--output={tmp_path / 'lifter.onnx'}")
    monkeypatch.undo()

    def no_space(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", no_space)
    with pytest.raises(UserError, match="No space left on device; free space"):
        run(onnx, lifter, f"--output={tmp_path / 'lifter.onnx'}", "--noparity")
    assert not list(tmp_path.iterdir())


def test_weights_must_be_finite(tmp_path, toy_dataset):
    broken = write_run(tmp_path / "broken", "lifter", toy_dataset)
    model = inference_graph.load_source(broken).model
    model.variables[0].assign(np.full(model.variables[0].shape, np.nan))
    model.save(broken / "model.keras")
    with pytest.raises(UserError, match="are not finite; export a run that converged"):
        inference_graph.load_source(broken)


def test_imported_heatmaps_are_read_off_the_center_of_their_cells(runs, samples, tmp_path):
    """A .keras file of `models.pretrained`, whose json tells where in a cell its targets lay."""
    own = inference_graph.load_source(runs["keypoints"])
    imported = tmp_path / "hrnet.keras"
    with_official_cells(own.model).save(imported)
    replace(own.info, cell_center=0.125).write(tmp_path / "hrnet.keras.json")
    outputs = []
    for source in (own, inference_graph.load_source(imported)):
        graph = inference_graph.build_inference_graph(source, tflite.Form("keypoints"))
        outputs.append(np.asarray(graph(samples.image[:1])["keypoints_2d"]))
    assert np.allclose(outputs[1] - outputs[0], np.array([-0.375 / 24, -0.375 / 16]), atol=1e-6)
    reference = compare.keras_outputs(source, "keypoints", samples)["keypoints_2d"][:1]  # what a file is held against
    assert np.allclose(outputs[1], reference, atol=1e-5)
    (tmp_path / "hrnet.keras.json").unlink()
    with pytest.raises(UserError, match="hrnet.keras lacks its metadata hrnet.keras.json"):
        inference_graph.load_source(imported)
