"""The description of a finder: it survives a round trip, in the form described in docs/find.md."""

import json
from dataclasses import replace

import pytest

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.core.units import UNITS
from keras_pose.io.finder_info import FinderInfo
from keras_pose.io.model_info import Export, ModelInfo, Tensor, is_finder
from keras_pose.weights import FINDER

INFO = FinderInfo(input_size=(96, 96), stride=8, versions={"keras_pose": "9.9.9"}, metrics={"step": 3})
EXPORT = Export(
    quantization="int8",
    layout="nhwc",
    inputs={"image": Tensor((1, 96, 96, 3), "uint8")},
    outputs={"boxes": Tensor((1, 12, 12, 4)), "centers": Tensor((1, 12, 12, 1))},
    run="run",
    model_sha256="0" * 64,
    version="9.9.9",
)


def test_the_keys_of_both_forms():
    assert list(INFO.to_dict()) == ["format_version", "kind", "input_size", "stride", "versions", "metrics"]
    values = replace(INFO, export=EXPORT).to_dict()
    assert list(values) == [
        "format_version", "keras_pose_version", "part", "quantization", "input_size", "stride", "score", "overlap",
        "colour_order", "layout", "inputs", "outputs", "source",
    ]  # fmt: skip
    assert values["part"] == "finder" and values["input_size"] == [96, 96]
    assert values["inputs"]["image"] == {"shape": [1, 96, 96, 3], "dtype": "uint8", "unit": UNITS["whole_image"]}
    assert [tensor["unit"] for tensor in values["outputs"].values()] == [UNITS["boxes"], UNITS["centers"]]


@pytest.mark.parametrize("info", [INFO, FinderInfo((64, 64), 4, score=0.4, overlap=0.6, export=EXPORT)])
def test_a_description_survives_a_round_trip(tmp_path, info):
    info.write(tmp_path / "model.json")
    assert FinderInfo.read(tmp_path / "model.json", "missing", "remedy") == info
    assert FinderInfo.from_text(info.to_text(), "it", "remedy") == info


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "it is damaged"),
        ('{"kind": "finder"}', "it is damaged .KeyError"),
        ('{"kind": "finder", "input_size": [64, 48], "stride": 8}', "not square"),
        ('{"kind": "finder", "format_version": 2}', "it has format 2, this version reads 1; export again"),
    ],
)
def test_a_damaged_description_is_refused_in_one_line(text, message):
    with pytest.raises(UserError, match=message) as error:
        FinderInfo.from_text(text, "it", "export again")
    assert "\n" not in str(error.value)


def test_the_kinds_are_distinguished(tmp_path):
    pose = ModelInfo("pose", HUMAN36M_17, (64, 48))
    with pytest.raises(UserError, match="it describes a model of kind finder, not a pose model"):
        ModelInfo.from_text(INFO.to_text(), "it", "remedy")
    with pytest.raises(UserError, match="it describes a model of kind pose, not a finder"):
        FinderInfo.from_text(pose.to_text(), "it", "remedy")
    found = []
    for text in (INFO.to_text(), json.dumps({"part": "finder"}), pose.to_text(), "[]", "{"):
        (tmp_path / "model.json").write_text(text)
        found.append(is_finder(tmp_path / "model.json"))
    assert found == [True, True, False, False, False] and not is_finder(tmp_path / "gone.json")


def test_the_shipped_finder_is_described_as_it_stands():
    for path in FINDER.glob("*.json"):
        info = FinderInfo.read(path, "missing", "remedy")
        values = json.loads(path.read_text())
        assert info.to_dict() == values and list(info.to_dict()) == list(values)
