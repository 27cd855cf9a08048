"""The user's own photos with one label file."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17, LSP_14
from keras_pose.data import prepare, shard_jobs, shards
from keras_pose.data.dataset import open_dataset
from keras_pose.data.sources import folder, get_source
from keras_pose.data.sources.base import Options
from tests.data.sources import toy

SIZE = (200, 150)
JOINTS = ("left_hip", "right_hip", "left_knee", "head_top")


def points(number: int) -> np.ndarray:
    return np.random.default_rng(number).uniform([40, 40], [110, 160], (4, 2)).round(3)


@pytest.fixture
def photos(tmp_path):
    for i in range(3):
        toy.write_picture(tmp_path / "in" / "photos" / f"{i}.png", toy.picture(SIZE, points(i)[3]))
    return tmp_path / "in"


def write_json(folder, **changes) -> None:
    people = [
        {
            "image": f"photos/{i}.png",
            "split": ["train", "train", "test"][i],
            "subject": "anna",
            "keypoints": [[x, y, [2, 1, 0, 2][j]] for j, (x, y) in enumerate(points(i))],
        }
        for i in range(3)
    ]
    people[0] |= changes
    (folder / "labels.json").write_text(json.dumps({"joints": JOINTS, "people": people}))


def write_csv(folder, header=None, row=None) -> None:
    columns = ["image", "split", "subject", *(f"{joint}_{axis}" for joint in JOINTS for axis in "xyv")]
    lines = [",".join(header or columns)]
    for i in range(3):
        values = [f"photos/{i}.png", ["train", "", "test"][i], "anna"]
        for j, (x, y) in enumerate(points(i)):
            values += ["", "", ""] if j == 0 else [str(x), str(y), ["", "1", "", "2"][j]]
        lines.append(",".join(row or values))
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")


def test_json_labels(photos, tmp_path):
    write_json(photos)
    examples = toy.convert("folder", photos, tmp_path / "out", Options((96, 64), skeleton="lsp_14"))
    assert {split: len(part) for split, part in examples.items()} == {"train": 2, "test": 1}
    example = examples["train"][0]
    names = [n for n, v in zip(LSP_14.joint_names, example.keypoint_valid, strict=True) if v]
    assert set(names) == {"left_hip", "right_hip", "head_top"} and example.subject == "anna"
    assert example.keypoint_hidden[LSP_14.joint_names.index("right_hip")]
    assert not example.keypoint_hidden[LSP_14.joint_names.index("left_hip")]
    toy.assert_shows(example, LSP_14.joint_names.index("head_top"))


def test_csv_labels(photos, tmp_path):
    write_csv(photos)
    examples = toy.convert("folder", photos, tmp_path / "out", Options((96, 64), skeleton="lsp_14", margin=2.0))
    assert {split: len(part) for split, part in examples.items()} == {"train": 2, "test": 1}
    names = LSP_14.joint_names
    for example in examples["train"]:
        assert {names[j] for j in np.flatnonzero(example.keypoint_valid)} == {"right_hip", "left_knee", "head_top"}
        toy.assert_shows(example, names.index("head_top"))


def test_3d_labels_with_a_camera(photos, tmp_path):
    (photos / "own.json").write_text(json.dumps(own_skeleton("own_four")))
    intrinsics = np.array([[300.0, 0, 75], [0, 300, 100], [0, 0, 1]])
    pose = np.array([[100.0, 0, 2000], [-100, 0, 2000], [110, 400, 1950], [0, -600, 2010]])
    pixels = geometry.project_points(pose, intrinsics)
    keypoints = np.concatenate([pixels, np.full((4, 1), 2)], 1).tolist()
    write_json(photos, keypoints=keypoints, pose_3d_mm=pose.tolist(), intrinsics=intrinsics.tolist())
    options = Options((96, 64), skeleton=str(photos / "own.json"))
    example = toy.convert("folder", photos, tmp_path / "out", options, workers=2)["train"][0]
    assert example.pose_3d_valid.all()
    toy.assert_projects(example, pose, pixels)


def test_3d_labels_of_some_joints(photos, tmp_path):
    """A row of null is a joint without a 3D label; Human3.6M's root is the middle of the hips."""
    intrinsics = np.array([[300.0, 0, 75], [0, 300, 100], [0, 0, 1]])
    pose = np.array([[100.0, 0, 2000], [-100, 0, 2000], [110, 400, 1950], [0, -600, 2010]])
    keypoints = np.concatenate([geometry.project_points(pose, intrinsics), np.full((4, 1), 2)], 1).tolist()
    write_json(photos, keypoints=keypoints, pose_3d_mm=[*pose[:3].tolist(), None], intrinsics=intrinsics.tolist())
    example = toy.convert("folder", photos, tmp_path / "out", Options((96, 64)))["train"][0]
    names = {HUMAN36M_17.joint_names[j] for j in np.flatnonzero(example.pose_3d_valid)}
    assert names == {"pelvis", "left_hip", "right_hip", "left_knee"}
    assert example.keypoint_valid[HUMAN36M_17.index("head_top")]
    np.testing.assert_allclose(example.pose_3d_mm[HUMAN36M_17.index("left_knee")], [110, 400, -50], atol=1e-3)


def own_skeleton(name: str) -> dict:
    return {"name": name, "joint_names": JOINTS, "parents": [-1, 0, 0, 0], "root": 0}


def test_a_custom_skeleton_is_stored_with_the_data(photos, tmp_path):
    (photos / "own.json").write_text(json.dumps(own_skeleton("own_kept")))
    write_json(photos)
    toy.convert("folder", photos, tmp_path / "out", Options((64, 64), skeleton=str(photos / "own.json")))
    assert open_dataset(str(tmp_path / "out")).skeleton.joint_names == JOINTS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": [[1, 2]] * 4}, r"person 0: keypoints has shape \(4, 2\)"),
        ({"keypoints": [[1, 2, 2]] * 3}, r"keypoints has shape \(3, 3\)"),
        ({"keypoints": [[float("nan"), 2, 2]] * 4}, "NaN"),
        ({"keypoints": [[1, 2, 3]] * 4}, r"0 \(not labeled\), 1 \(hidden\) or 2 \(visible\)"),
        ({"keypoints": "here"}, "cannot be read"),
        ({"bbox": [1, 2, 3, 4]}, "unknown key 'bbox'"),
        ({"box": [1, 2, 3]}, "person 0: box has shape"),
        ({"box": [60, 40, 50, 120]}, "person 0: box is 60, 40, 50, 120; give x0, y0, x1, y1, not width and height"),
        ({"keypoints": [[50, 60, 2], *[[0, 0, 0]] * 3]}, "lie on one spot and no box gives"),
        ({"pose_3d_mm": [[0, 0, 0]] * 4}, "belong together"),
        ({"pose_3d_mm": [None] * 3, "intrinsics": [[1, 0, 0]] * 3}, r"pose_3d_mm has shape \(3, 3\), not 4 x 3"),
        ({"pose_3d_mm": [None, [0, 0]] * 2, "intrinsics": [[1, 0, 0]] * 3}, "cannot be read"),
        ({"split": "dev"}, "split 'dev' is not one of train, validation, test"),
        ({"image": "photos/9.png"}, r"9\.png.* missing or damaged"),
    ],
)
def test_bad_json_is_named(photos, tmp_path, change, message):
    write_json(photos, **change)
    with pytest.raises(UserError, match=message):
        toy.convert("folder", photos, tmp_path / "out")


def test_a_photo_that_a_phone_stored_sideways_is_turned_as_its_viewers_turn_it(photos, tmp_path):
    """The labels are of the upright image; EXIF orientation 6 says to turn the stored one by 90 degrees."""
    upright = toy.picture(SIZE, points(0)[3])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(upright)).save(photos / "photos" / "0.jpg", exif=exif, quality=95)
    write_json(photos, image="photos/0.jpg")
    examples = toy.convert("folder", photos, tmp_path / "out", Options((96, 64), skeleton="lsp_14"))
    toy.assert_shows(examples["train"][0], LSP_14.joint_names.index("head_top"))


def test_corrected_labels_are_not_skipped_as_finished(photos, tmp_path):
    write_json(photos)
    arguments = (get_source("folder"), photos, tmp_path / "out", Options((64, 64), skeleton="lsp_14"))
    prepare.prepare(*arguments)
    prepare.prepare(*arguments)  # complete already
    write_json(photos, keypoints=[[x + 1, y, 2] for x, y in points(0)])
    with pytest.raises(UserError, match="was started with other labels than the input has now"):
        prepare.prepare(*arguments)
    (tmp_path / "out" / shards.MANIFEST).unlink()  # as after an interruption
    with pytest.raises(UserError, match="was started with other labels than the input has now"):
        prepare.prepare(*arguments)


def test_corrected_labels_are_noticed_in_folders_whose_settings_have_none(photos, tmp_path):
    write_json(photos)
    arguments = (get_source("folder"), photos, tmp_path / "out", Options((64, 64), skeleton="lsp_14"))
    prepare.prepare(*arguments)
    path = tmp_path / "out" / shard_jobs.SETTINGS
    settings = json.loads(path.read_text())
    del settings[shard_jobs.LABELS]
    path.write_text(json.dumps(settings))
    prepare.prepare(*arguments)
    write_json(photos, keypoints=[[x + 1, y, 2] for x, y in points(0)])
    with pytest.raises(UserError, match="was made of other labels than .* has now; choose a new --output"):
        prepare.prepare(*arguments)


FIRST = ["photos/0.png", "train", "anna"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"header": ["image", "left_hip_x"]}, "lacks a column left_hip_y"),
        (
            {"header": ["file", "left_hip_x", "left_hip_y"]},
            "lacks a column image; its header is file, left_hip_x, left_hip_y; docs",
        ),
        ({"header": ["image", "split"]}, "lacks a column <joint>_x"),
        ({"header": ["image", "left_hip_x", "left_hip_y", "weight"]}, "unknown column 'weight'"),
        ({"header": ["image", "tail_x", "tail_y"], "row": ["photos/0.png", "1", "2"]}, "none of its joints .tail."),
        (
            {"header": ["image", "left_hip_x", "left_hip_y", "left_hip_v"], "row": ["photos/0.png", "1", "2", "0.5"]},
            "row 1: a joint's _v must be 0",
        ),
        ({"row": [*FIRST, "1"]}, "row 1: has more or fewer cells"),
        ({"row": [*FIRST, *["wide"] * 12]}, "row 1: left_hip_x is 'wide', not a number"),
        ({"row": [*FIRST, *["nan"] * 12]}, "left_hip_x is nan; leave the cell empty"),
        ({"row": [*FIRST[:1], "dev", "", *["1"] * 12]}, "split 'dev'"),
    ],
)
def test_bad_csv_is_named(photos, tmp_path, values, message):
    write_csv(photos, **values)
    with pytest.raises(UserError, match=message):
        toy.convert("folder", photos, tmp_path / "out")


TABLE = [["image", "split", "left_hip_x", "left_hip_y"], ["photos/0.png", "train", "41.5", "1060.25"]]


def table(delimiter=",", comma=".", quote="", end="\n", blank="") -> str:
    cells = [[quote + blank + cell.replace(".", comma if i > 1 else ".") + blank + quote for i, cell in enumerate(row)]
             for row in TABLE]  # fmt: skip
    return "".join(delimiter.join(row) + end for row in cells)


TABLES = {
    "plain": table().encode(),
    "Excel in Europe": table(";", ",", end="\r\n").encode("cp1252"),
    "Excel in Europe, UTF-8": table(";", ",", end="\r\n").encode("utf-8-sig"),
    "Excel's Unicode text": table("\t", ",", end="\r\n").encode("utf-16"),
    "UTF-16, big-endian": b"\xfe\xff" + table("\t").encode("utf-16-be"),
    "UTF-16 without a mark": table(";").encode("utf-16-le"),
    "bars": table("|").encode(),
    "quotes": table(";", ",", quote='"').encode(),
    "quoted decimal commas": table(",", ",", quote='"').encode(),
    "single quotes and blanks": table(" , ", quote="'").encode(),
    "blanks inside": table(";", blank=" ").encode(),
    "sep=": b"sep=;\r\n" + table(";", end="\r\n").encode(),
    "empty columns and rows": table(";").replace("\n", ";;\n").encode() + b";;;;;\n\n",
    "old Mac's line ends": table(end="\r").encode(),
    "thousands": table(";").replace("1060.25", "1.060,25").encode(),
    "English thousands": table(";").replace("1060.25", "1,060.25").encode(),
    "capitals": table(";").replace("image;split", "Image;SPLIT").encode(),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_office_programs_hold_the_same(tmp_path, name):
    (tmp_path / "labels.csv").write_bytes(TABLES[name])
    (item,) = folder.list_items(tmp_path, Options())
    _, (label,) = item.data
    assert item.file == str(tmp_path / "photos/0.png") and item.split == "train"
    np.testing.assert_allclose(label.keypoints_px, [[41.5, 1060.25]])


def test_umlauts_of_windows_are_read(tmp_path):
    (tmp_path / "labels.csv").write_bytes(table(";").replace("photos/0", "Füße/0").encode("cp1252"))
    assert folder.list_items(tmp_path, Options())[0].file == str(tmp_path / "Füße/0.png")


@pytest.mark.parametrize("form", ["csv", "json"])
def test_backslashes_separate_folders(tmp_path, form):
    name = "photos\\a\\0.png"
    people = [{"image": name, "keypoints": [[1, 2, 2]]}]
    text = (
        table(";").replace("photos/0.png", name)
        if form == "csv"
        else json.dumps({"joints": ["neck_nose"], "people": people})
    )
    (tmp_path / f"labels.{form}").write_text(text)
    assert folder.list_items(tmp_path, Options())[0].file == str(tmp_path / "photos/a/0.png")


@pytest.mark.parametrize("row", ["a.png;train;wide;2", "a.png;train;1", "a.png;dev;1;2", "a.png;train;nan;2"])
def test_an_unusable_row_is_left_out_and_named(tmp_path, row):
    (tmp_path / "labels.csv").write_text(table(";") + row + "\n")
    item, bad = folder.list_items(tmp_path, Options())
    assert item.frames == 1 and bad.where.endswith("labels.csv, row 2") and not bad.skipped


def test_exactly_one_label_file_is_wanted(photos, tmp_path):
    with pytest.raises(UserError, match="labels.json or labels.csv"):
        toy.convert("folder", photos, tmp_path / "out")
    write_json(photos)
    write_csv(photos)
    with pytest.raises(UserError, match="not both"):
        toy.convert("folder", photos, tmp_path / "out")


@pytest.mark.parametrize(
    "content", ["", "[1]", "{}", '{"name": "a"}', '{"name": "coco_17", "joint_names": ["a"], "parents": [-1]}']
)
def test_a_bad_skeleton_file_is_named(photos, tmp_path, content):
    write_json(photos)
    (photos / "own.json").write_text(content)
    with pytest.raises(UserError, match=r"own\.json|another name"):
        toy.convert("folder", photos, tmp_path / "out", Options((64, 64), skeleton=str(photos / "own.json")))
