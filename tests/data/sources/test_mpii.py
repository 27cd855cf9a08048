"""MPII in both of its forms, written with scipy and json as the originals are."""

import json

import numpy as np
import pytest
import scipy.io

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data.sources.base import Options
from tests.data.sources import toy

SIZE = (300, 200)
SCALE = 0.6
CENTER = np.array([101.0, 140.0])  # counted from 1


def joints(seed: int) -> np.ndarray:
    """(16, 2), counted from 1; the last one is shown in the image."""
    return np.random.default_rng(seed).uniform([70, 100], [130, 190], (16, 2)).round(2)


def struct_array(records: list[dict]) -> np.ndarray:
    """A MATLAB struct array (1, N) of the same fields."""
    array = np.zeros((1, len(records)), [(name, object) for name in records[0]])
    for i, record in enumerate(records):
        for name, value in record.items():
            array[name][0, i] = value
    return array


def person(seed: int, labelled: int = 16, **more) -> dict:
    points = [
        {"x": x, "y": y, "id": j, "is_visible": [1, 0, "1", "0", np.zeros((0, 0))][j % 5]}
        for j, (x, y) in list(enumerate(joints(seed)))[16 - labelled :]
    ]
    values = {"annopoints": {"point": struct_array(points)}} if points else {"annopoints": np.zeros((0, 0))}
    return {"scale": SCALE, "objpos": {"x": CENTER[0], "y": CENTER[1]}, **values} | more


def write_mat(folder, people: list[list[dict]], training: list[int]) -> None:
    annolist = [
        {"image": {"name": f"{i:09d}.jpg"}, "annorect": struct_array(p) if p else np.zeros((0, 0))}
        for i, p in enumerate(people)
    ]
    release = {"annolist": struct_array(annolist), "img_train": np.array([training], np.uint8), "version": "12"}
    scipy.io.savemat(folder / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": release}, do_compression=True)


def write_pictures(folder, count: int) -> None:
    for i in range(count):
        toy.write_picture(folder / "images" / f"{i:09d}.jpg", toy.picture(SIZE, joints(i)[15] - 0.5))


@pytest.fixture
def mat(tmp_path):
    folder = tmp_path / "mat"
    write_pictures(folder, 4)
    headless = person(3)
    del headless["scale"], headless["objpos"]
    people = [[person(0), person(7, labelled=0)], [person(1, labelled=9)], [], [headless]]
    write_mat(folder, [*people, [person(4)]], [1, 1, 1, 1, 0])
    return folder


@pytest.fixture
def hrnet(tmp_path):
    folder = tmp_path / "json"
    write_pictures(folder, 3)
    (folder / "annot").mkdir()
    for name, numbers in (("train", [0, 1]), ("valid", [2])):
        visible = [1] * 16
        visible[3] = 0
        entries = []
        for i in numbers:
            values = joints(i)
            values[3] = -1
            entries.append({"image": f"{i:09d}.jpg", "joints": values.tolist(), "joints_vis": visible})
            entries[-1] |= {"center": CENTER.tolist(), "scale": SCALE}
        (folder / "annot" / f"{name}.json").write_text(json.dumps(entries))
    return folder


def expected(seed: int) -> np.ndarray:
    """In a 96 x 64 crop: a box of 120 pixels around the center, 9 pixels lower, 1.25 times."""
    scale = 64 / (200 * SCALE * 1.25)
    return (joints(seed) - 0.5 - (CENTER - 0.5 + [0, 15 * SCALE])) * scale + [32, 48]


def test_the_matlab_file(mat, tmp_path):
    examples = toy.convert("mpii", mat, tmp_path / "out")
    assert list(examples) == ["train"]
    whole, half, headless = examples["train"]
    np.testing.assert_allclose(whole.keypoints_2d_px, expected(0), atol=0.01)
    assert whole.keypoint_valid.all()
    np.testing.assert_array_equal(whole.keypoint_hidden, [j % 5 in (1, 3) for j in range(16)])
    toy.assert_shows(whole, 15)
    np.testing.assert_array_equal(half.keypoint_valid, np.arange(16) >= 7)
    np.testing.assert_allclose(half.keypoints_2d_px[7:], expected(1)[7:], atol=0.01)
    assert headless.keypoints_2d_px.min() > 0 and (headless.keypoints_2d_px < [64, 96]).all()
    toy.assert_shows(headless, 15)


def test_hrnets_json(hrnet, tmp_path):
    examples = toy.convert("mpii", hrnet, tmp_path / "out")
    assert {split: len(part) for split, part in examples.items()} == {"train": 2, "validation": 1}
    example = examples["validation"][0]
    np.testing.assert_array_equal(example.keypoint_valid, np.arange(16) != 3)
    np.testing.assert_allclose(example.keypoints_2d_px[4:], expected(2)[4:], atol=0.01)
    toy.assert_shows(example, 15)


def test_joints_are_mapped_to_another_skeleton(hrnet, tmp_path):
    examples = toy.convert("mpii", hrnet, tmp_path / "out", Options((64, 64), skeleton="human36m_17"))
    lacking = {n for n, v in zip(HUMAN36M_17.joint_names, examples["train"][0].keypoint_valid, strict=True) if not v}
    assert lacking == {"left_hip", "spine", "neck_nose"}  # the first is not labeled here, the others MPII lacks


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "images").rename(d / "i"), "the photos"),
        (lambda d: (d / "mpii_human_pose_v1_u12_1.mat").unlink(), "HRNet's annot/train.json"),
        (lambda d: (d / "mpii_human_pose_v1_u12_1.mat").write_bytes(b"half"), "not a MAT file"),
        (lambda d: scipy.io.savemat(d / "mpii_human_pose_v1_u12_1.mat", {"a": 1}), "cannot be read"),
        (lambda d: write_mat(d, [[person(0, labelled=0)]], [1]), "no labeled people"),
        (lambda d: write_mat(d, [[person(0)]], [1, 1]), "cannot be read"),
    ],
)
def test_bad_matlab_files_are_named(mat, tmp_path, damage, message):
    damage(mat)
    with pytest.raises(UserError, match=message):
        toy.convert("mpii", mat, tmp_path / "out")


BROKEN = [{"joints": [[1, 2]] * 15}, {"center": 3}, {"scale": None}, {"joints_vis": "all"}, {"image": "gone.jpg"}]


@pytest.mark.parametrize("change", BROKEN)
def test_an_unusable_entry_is_left_out_and_listed(hrnet, tmp_path, change):
    path = hrnet / "annot" / "train.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps([values[0] | change] + values[:1] * 150))
    examples = toy.convert("mpii", hrnet, tmp_path / "out", Options((32, 32)))
    assert len(examples["train"]) == 150
    (line,) = (tmp_path / "out" / "bad_frames.txt").read_text().splitlines()
    assert "train.json, entry 0: " in line or "gone.jpg: 0: the image is missing" in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints": [[1, 2]]}, r"entry 0: joints has shape \(1, 2\)"),
        ({"center": [1]}, "entry 0: center"),
        ({"scale": "big"}, "cannot be read"),
        ({"joints": [[float("nan"), 1]] * 16}, "NaN"),
    ],
)
def test_bad_json_is_named(hrnet, tmp_path, change, message):
    path = hrnet / "annot" / "train.json"
    values = json.loads(path.read_text())
    values[0] |= change
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match=message):
        toy.convert("mpii", hrnet, tmp_path / "out")
