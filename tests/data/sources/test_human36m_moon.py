"""Human3.6M in the JSON form of Moon et al."""

import json

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.data.sources.base import Options
from tests.data.sources import toy

CAMERA = toy.look_at([-3500, -3500, 1600], radial=(), tangential=())
SIZE = (1002, 1000)
WORLD = toy.to_17(toy.people(4, 32, seed=9))


def write_subject(folder, subject, action, subaction):
    pixels = CAMERA.project(CAMERA.to_camera(WORLD))
    images, annotations = [], []
    for t, points in enumerate(pixels):
        stem = f"s_{subject:02d}_act_{action:02d}_subact_{subaction:02d}_ca_01"
        name = f"{stem}/{stem}_{t + 1:06d}.jpg"
        toy.write_picture(folder / "images" / name, toy.picture(SIZE, points[toy.SHOWN]))
        image = {"id": 10 * subject + t, "file_name": name, "width": 1000, "height": 1002, "subject": subject}
        image |= {"action_idx": action, "subaction_idx": subaction, "cam_idx": 1, "frame_idx": t}
        box = [*points.min(0), *(points.max(0) - points.min(0))]
        images.append(image)
        annotations.append({"id": 10 * subject + t, "image_id": 10 * subject + t, "category_id": 1, "bbox": box})
    position = -CAMERA.rotation.T @ CAMERA.translation_mm
    camera = {"R": CAMERA.rotation.tolist(), "t": position.tolist()}
    camera |= {"f": [1145.0, 1144.0], "c": [512.5, 515.5]}
    poses = {str(action): {str(subaction): {str(t): pose.tolist() for t, pose in enumerate(WORLD)}}}
    for kind, values in {
        "data": {"images": images, "annotations": annotations},
        "camera": {"1": camera},
        "joint_3d": poses,
    }.items():
        path(folder, subject, kind).parent.mkdir(parents=True, exist_ok=True)
        path(folder, subject, kind).write_text(json.dumps(values))


def path(folder, subject, kind):
    return folder / "annotations" / f"Human36M_subject{subject}_{kind}.json"


@pytest.fixture
def download(tmp_path):
    folder = tmp_path / "in"
    write_subject(folder, 1, action=2, subaction=1)
    write_subject(folder, 8, action=14, subaction=2)
    write_subject(folder, 9, action=5, subaction=2)
    return folder


def test_joints_project_onto_the_image(download, tmp_path):
    examples = toy.convert("human36m_moon", download, tmp_path / "out")
    assert {split: len(part) for split, part in examples.items()} == {"train": 4, "validation": 4, "test": 4}
    for world, example in zip(WORLD, examples["train"], strict=True):
        camera_mm = CAMERA.to_camera(world)
        toy.assert_projects(example, camera_mm, CAMERA.project(camera_mm))
        toy.assert_shows(example)
        assert (example.subject, example.action) == ("S1", "Directions")


def test_frames_and_bad_sequences(download, tmp_path):
    options = Options((64, 64), frame_step=2, drop_bad_sequences=True)
    examples = toy.convert("human36m_moon", download, tmp_path / "out", options)
    assert [e.frame for e in examples["validation"]] == [0, 2]
    assert "test" not in examples  # S9's second Greeting is a bad one


def edited(kind, change):
    def damage(folder):
        values = json.loads(path(folder, 1, kind).read_text())
        change(values)
        path(folder, 1, kind).write_text(json.dumps(values))

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "annotations").rename(d / "labels"), "annotations is missing"),
        (lambda d: path(d, 1, "camera").unlink(), r"Human36M_subject1_camera\.json is missing"),
        (lambda d: path(d, 1, "data").write_text('{"images": [1'), r"subject1_data\.json cannot be read"),
        (edited("data", lambda v: v.pop("annotations")), r"subject1_data\.json cannot be read \(KeyError"),
        (edited("data", lambda v: v["images"][0].update(action_idx=1)), "action 1 is not in 2 to 16"),
        (edited("data", lambda v: v["images"][0].update(height=500)), "its labels are for 1000 x 500"),
        (edited("camera", lambda v: v["1"].pop("R")), r"subject1_camera\.json cannot be read"),
        (edited("joint_3d", lambda v: v["2"]["1"].pop("3")), "frame 3 of Directions: the file has no such frame"),
        (edited("joint_3d", lambda v: v["2"]["1"]["3"].pop()), r"frame 3: the pose has shape \(16, 3\)"),
        (
            edited("joint_3d", lambda v: v["2"]["1"]["3"][0].__setitem__(0, float("nan"))),
            "Directions/3: a label is NaN",
        ),
        (
            edited("joint_3d", lambda v: v["2"]["1"].update({k: (np.array(p) / 1000).tolist() for k, p in all_of(v)})),
            r"joint_3d\.json: in frame 0 .* convert the poses to millimeters",
        ),
    ],
)
def test_broken_downloads_are_named(download, tmp_path, damage, message):
    damage(download)
    with pytest.raises(UserError, match=message):
        toy.convert("human36m_moon", download, tmp_path / "out")


def all_of(values):
    return list(values["2"]["1"].items())


def test_an_empty_folder_is_named(tmp_path):
    (tmp_path / "in" / "annotations").mkdir(parents=True)
    with pytest.raises(UserError, match=r"holds no Human36M_subject\*_data\.json"):
        toy.convert("human36m_moon", tmp_path / "in", tmp_path / "out")
