"""The report on the precision that each layer of a quantized file loses."""

import json

import numpy as np
import pytest

from exporters import layer_errors, tflite
from keras_pose.core.errors import UserError
from tests.exporters.test_commands import run


@pytest.fixture(scope="module")
def reference(exported, source) -> bytes:
    return layer_errors.float_reference(source, tflite.read_info(exported["pose_int8.tflite"]))


@pytest.fixture(scope="module")
def inputs(samples) -> list[dict[str, np.ndarray]]:
    return [{"image": image[None]} for image in samples.image[:2]]


def test_a_file_loses_nothing_against_itself(reference, inputs):
    errors = layer_errors.measure(reference, reference, inputs)
    assert len(errors) > 50 and all(error.noise == error.added == 0.0 for error in errors)


def test_eight_bits_lose_more_than_float16(exported, reference, inputs):
    noise = {}
    for form in ("int8", "float16"):
        errors = layer_errors.measure(exported[f"pose_{form}.tflite"].read_bytes(), reference, inputs)
        noise[form] = {error.layer: error.noise for error in errors if error.operation == "CONV_2D"}
    both = noise["int8"].keys() & noise["float16"].keys()
    assert len(both) > 20
    assert sum(noise["int8"][name] > 5 * noise["float16"][name] for name in both) > 0.9 * len(both)


def test_added_noise_is_separated_from_the_inputs_noise(exported, reference, inputs):
    for error in layer_errors.measure(exported["pose_int8.tflite"].read_bytes(), reference, inputs):
        assert 0.0 <= error.added <= error.noise
        if error.operation in ("RESHAPE", "TRANSPOSE"):
            assert error.added == pytest.approx(0.0, abs=1e-3)


def test_the_command_ranks_layers_and_writes_all_of_them(exported, runs, tmp_path, capsys):
    figures = tmp_path / "layers.json"
    arguments = (exported["pose_int8.tflite"], f"--model={runs['pose']}", "--samples=2", "--worst=5")
    assert run(layer_errors, *arguments, f"--json={figures}") == 0
    header, *rows = capsys.readouterr().out.strip().splitlines()
    assert header.split() == ["added", "noise", "operation", "output", "layer"] and len(rows) == 5
    added = [float(row.split("%")[0]) for row in rows]
    assert added == sorted(added, reverse=True) and added[0] > 0
    assert len(json.loads(figures.read_text())["layers"]) > 50


def test_files_that_lose_nothing_or_are_not_tflite_are_refused(exported, runs):
    model = f"--model={runs['pose']}"
    with pytest.raises(UserError, match="is in float32 and loses nothing; name a quantized file"):
        run(layer_errors, model, exported["pose.tflite"])
    with pytest.raises(UserError, match=r"name one quantized \.tflite file"):
        run(layer_errors, model, exported["pose_float16.onnx"])
