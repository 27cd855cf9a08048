"""Label files of photos, damaged in every way: a reader returns or raises UserError with one line."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_pose.core.errors import UserError
from keras_pose.data import records
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.data.sources import get_source
from keras_pose.data.sources.base import Options
from tests.data.sources import test_coco, test_folder, test_lsp, test_mpii, toy

OPTIONS = Options((64, 64))


def coco(folder):
    image = {"id": 1, "file_name": "a.jpg"}
    values = {"images": [image], "annotations": [test_coco.annotation(0, 1)]}
    (folder / "annotations").mkdir()
    picture(folder / "train2017" / "a.jpg")
    return write(folder / "annotations" / "person_keypoints_train2017.json", values)


def mpii_json(folder):
    entry = {"image": "a.jpg", "joints": test_mpii.joints(0).tolist(), "joints_vis": [1] * 16, "scale": 1.0}
    (folder / "annot").mkdir()
    picture(folder / "images" / "a.jpg")
    return write(folder / "annot" / "train.json", [entry | {"center": [50.0, 50.0]}])


def mpii_mat(folder):
    picture(folder / "images" / f"{0:09d}.jpg")
    test_mpii.write_mat(folder, [[test_mpii.person(0)]], [1])
    return folder / "mpii_human_pose_v1_u12_1.mat"


def lsp(folder):
    picture(folder / "images" / "im0001.jpg")
    test_lsp.scipy.io.savemat(folder / "joints.mat", {"joints": test_lsp.joints(2).transpose(2, 1, 0)})
    return folder / "joints.mat"


def folder_json(folder):
    picture(folder / "photos" / "0.png")
    test_folder.write_json(folder)
    return folder / "labels.json"


def folder_csv(folder):
    picture(folder / "photos" / "0.png")
    test_folder.write_csv(folder)
    return folder / "labels.csv"


def picture(path):
    toy.write_picture(path, np.full((60, 40, 3), 90, np.uint8))


def write(path, values):
    path.write_text(json.dumps(values))
    return path


FORMS = {
    "coco": ("coco", coco),
    "mpii json": ("mpii", mpii_json),
    "mpii mat": ("mpii", mpii_mat),
    "lsp": ("lsp", lsp),
    "folder json": ("folder", folder_json),
    "folder csv": ("folder", folder_csv),
}


def read(source_name: str, folder) -> None:
    source = get_source(source_name)
    try:
        for item in source.list_items(folder, OPTIONS):
            if isinstance(item, BadFrame):
                assert "\n" not in item.where + item.why
                continue
            for result in source.read_item(item, OPTIONS):
                if not isinstance(result, BadFrame):
                    records.serialize(result.validate())
    except UserError as error:
        assert "\n" not in str(error)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Source, folder, label file and its good content, of each form."""
    result = {}
    for name, (source, make) in FORMS.items():
        folder = tmp_path_factory.mktemp("form")
        path = make(folder)
        result[name] = source, folder, path, path.read_bytes()
    return result


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_bytes(places, form, data):
    source, folder, path, good = places[form]
    content = bytearray(good)
    for _ in range(data.draw(st.integers(0, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    read(source, folder)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("form", [form for form in FORMS if FORMS[form][1] in (coco, mpii_json, folder_json)])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_json_with_other_values_in_it(places, form, data):
    source, folder, path, good = places[form]
    part = values = {"": json.loads(good)}
    while True:
        key = data.draw(st.sampled_from(sorted(part) if isinstance(part, dict) else range(len(part))))
        if not isinstance(part[key], dict | list) or not part[key] or data.draw(st.integers(0, 3)) == 0:
            break
        part = part[key]
    part[key] = data.draw(VALUES)
    path.write_text(json.dumps(values[""]))
    read(source, folder)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_csv_with_other_cells_in_it(places, data):
    source, folder, path, good = places["folder csv"]
    rows = [line.split(",") for line in good.decode().splitlines()]
    row = data.draw(st.sampled_from(rows))
    cell = data.draw(st.integers(0, len(row) - 1))
    row[cell] = data.draw(st.sampled_from(["nan", "1e999", '"', "", "\0", "a,b", "\n"]) | st.text(max_size=5))
    path.write_text("\n".join(",".join(row) for row in rows), encoding="utf-8", errors="replace")
    read(source, folder)
