"""One type describes a model; every description file is read to it and written from it."""

import json
from dataclasses import replace

import pytest

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import COCO_17, HUMAN36M_17
from keras_pose.core.units import UNITS
from keras_pose.io.model_info import (
    OFFICIAL_CELL_CENTER,
    TARGET_PEAK,
    Export,
    ModelInfo,
    Tensor,
    read_sidecar,
    sidecar_path,
)
from keras_pose.weights import SHIPPED_WEIGHTS
from tests.conftest import ROOT

SHIPPED = [folder / "model.json" for folder in SHIPPED_WEIGHTS.values()]
EXPORT = Export(
    quantization="int8",
    layout="nchw",
    inputs={"image": Tensor((1, 3, 64, 48), "uint8")},
    outputs={"keypoints_2d": Tensor((1, 17, 2)), "scores": Tensor((1, 17))},
    run="run",
    model_sha256="0" * 64,
    version="9.9.9",
)


def without_units(values):
    """Units are prose: the text of older versions is not kept."""
    if not isinstance(values, dict):
        return values
    return {name: without_units(value) for name, value in values.items() if name not in ("unit", "units")}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_shipped_descriptions_are_rewritten_unchanged(path):
    values = json.loads(path.read_text())
    info = ModelInfo.read(path, "missing", "remedy")
    assert without_units(info.to_dict()) == without_units(values)
    assert list(info.to_dict()) == list(values)  # the order of the keys too
    assert info.export is None and info.trained_on


def test_the_shipped_export_is_rewritten_unchanged():
    path = ROOT / "keras_pose" / "weights" / "phone" / "pose_int8.tflite"
    values, info = json.loads(sidecar_path(path).read_text()), read_sidecar(path)
    assert without_units(info.to_dict()) == without_units(values) and list(info.to_dict()) == list(values)
    assert info.export.inputs == {"image": Tensor((1, 128, 128, 3), "uint8")} and info.kind == "pose"


@pytest.mark.parametrize(
    "info",
    [
        ModelInfo("keypoints", COCO_17, (64, 96)),
        ModelInfo("keypoints", COCO_17, (64, 96), cell_center=OFFICIAL_CELL_CENTER, weights={"used": 3}),
        ModelInfo("lifter", HUMAN36M_17, (64, 96), heatmap_peak=0.25, statistics={"a": [1.0]}, metrics={"loss": 0.5}),
        ModelInfo("pose", HUMAN36M_17, (64, 48), export=EXPORT),
    ],
    ids=["keypoints", "converted", "lifter", "exported"],
)
def test_a_description_survives_a_round_trip(tmp_path, info):
    info.write(tmp_path / "model.json")
    assert ModelInfo.read(tmp_path / "model.json", "missing", "remedy") == info
    assert ModelInfo.from_text(info.to_text(), "it", "remedy") == info


def test_keys_missing_in_older_files_have_defaults():
    info = ModelInfo.from_dict({"skeleton": HUMAN36M_17.to_dict(), "input_size": [64, 48]})
    assert (info.kind, info.heatmap_peak, info.cell_center, info.export) == ("pose", TARGET_PEAK, 0.5, None)


def test_every_tensor_has_a_unit():
    values = ModelInfo("pose", HUMAN36M_17, (64, 48), export=EXPORT).to_dict()
    assert values["inputs"]["image"]["unit"] == UNITS["image"]
    assert values["outputs"]["scores"]["unit"] == UNITS["scores"]
    with pytest.raises(KeyError):
        replace(ModelInfo("pose", HUMAN36M_17, (64, 48)), export=replace(EXPORT, outputs={"x": Tensor((1,))})).to_dict()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "it is damaged"),
        ("[]", "it is damaged"),
        ("{}", "it is damaged .KeyError"),
        ('{"format_version": 2}', "it has format 2, this version reads 1; export again"),
        ('{"skeleton": {}, "input_size": [64, 48]}', "it is damaged .*skeleton lacks"),
        (json.dumps({"kind": "cat", "skeleton": HUMAN36M_17.to_dict(), "input_size": [64, 48]}), "kind 'cat' is not"),
        (json.dumps({"skeleton": HUMAN36M_17.to_dict(), "input_size": [64]}), "it is damaged"),
        (json.dumps({"skeleton": HUMAN36M_17.to_dict(), "input_size": [1, 1], "inputs": {}}), "it is damaged"),
    ],
)
def test_a_damaged_description_is_refused_in_one_line(text, message):
    with pytest.raises(UserError, match=message) as error:
        ModelInfo.from_text(text, "it", "export again")
    assert "\n" not in str(error.value)


def test_a_missing_description_is_named(tmp_path):
    with pytest.raises(UserError, match=r"a\.onnx lacks its metadata a\.onnx\.json; copy both files"):
        read_sidecar(tmp_path / "a.onnx")
