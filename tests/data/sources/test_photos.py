"""A folder of photos and a teacher: the toy of test_video, which sees coloured discs."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17, LSP_14, TEACHER_22, map_joints
from keras_pose.data import prepare
from keras_pose.data.dataset import open_dataset
from keras_pose.data.pipeline import read_examples
from keras_pose.data.sources import get_source, photos
from keras_pose.data.sources.base import Options
from keras_pose.data.sources.crop import Person
from keras_pose.data.sources.teacher_labels import complete
from tests.data.sources.test_video import joints, make_teacher, person_at, picture


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return (make_teacher(tmp_path_factory.mktemp("teacher") / "toy.tflite"),)


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)
    return path


def run(folder, output, teacher, **options):
    options = Options((96, 64), skeleton="human36m_17", teacher=teacher, **options)
    manifest = prepare.prepare(get_source("photos"), folder, output, options)
    info = open_dataset(str(output))
    return {split: list(read_examples(info, split)) for split, entries in manifest.splits.items() if entries}


def test_photos_are_labelled_and_those_without_anyone_are_skipped(teacher, tmp_path, capsys):
    folder = tmp_path / "in"
    for frame in range(4):
        write(folder / "train" / f"a{frame}.png", picture(frame))
    write(folder / "validation" / "b.png", picture(2))
    write(folder / "nobody.png", np.full((240, 180, 3), 40, np.uint8))
    write(folder / "dot.png", np.zeros((1, 1, 3), np.uint8))
    (folder / "half.jpg").write_bytes(b"\xff\xd8\xff")
    found = run(folder, tmp_path / "out", teacher)
    assert {split: len(part) for split, part in found.items()} == {"train": 4, "validation": 1}
    assert "3 entries skipped" in capsys.readouterr().out
    listed = (tmp_path / "out" / "bad_frames.txt").read_text()
    assert all(name in listed for name in ("nobody.png", "dot.png", "half.jpg")) and "find no person" in listed
    for frame, example in enumerate(found["train"]):
        expected = map_joints(joints(*person_at(frame)), np.ones(22, bool), TEACHER_22, HUMAN36M_17)[0]
        scale = np.ptp(example.keypoints_2d_px, 0) / np.ptp(expected, 0)
        moved = expected * scale - (expected * scale - example.keypoints_2d_px).mean(0)
        assert np.abs(moved - example.keypoints_2d_px).max() < 2 * scale.max()
        assert example.pose_3d_valid.all()


def test_photos_of_one_person_stay_in_one_split():
    names = [f"move_{i}" for i in range(400)]
    splits = {name: {photos.split_of(path) for path in (_jpg(name, 0), _jpg(name, 1))} for name in names}
    assert all(len(both) == 1 for both in splits.values())
    share = sum(both == {"validation"} for both in splits.values()) / len(names)
    assert 0.03 < share < 0.1


@pytest.mark.parametrize("name", ["_1.jpg", "a/-12.png", "a/7.png", "x_1.jpg"])
def test_every_photo_has_a_group(name):
    assert photos.group_of(Path(name)).startswith(str(Path(name).parent / Path(name).stem[0]))


def _jpg(name, number):
    return Path(f"{name}x_{number}.jpg")


def test_teachers_complete_a_person_whom_people_labelled_in_part(teacher):
    image = picture(3)[..., ::-1]
    truth = map_joints(joints(*person_at(3)), np.ones(22, bool), TEACHER_22, LSP_14)[0]
    valid = np.arange(14) >= 4
    person = Person(np.where(valid[:, None], truth, 0), valid, tags={})
    person.box_px = np.concatenate([truth.min(0), truth.max(0)])
    options = Options((96, 64), teacher=teacher)
    merged = complete(image, person, LSP_14, HUMAN36M_17, options)
    assert merged.valid.all() and merged.camera_valid.all()
    expected = map_joints(truth, np.ones(14, bool), LSP_14, HUMAN36M_17)
    assert np.abs(merged.keypoints_px - expected[0])[expected[1]].max() < 4
    elsewhere = Person(truth[:, ::-1] * 0.2 + 150, valid, box_px=person.box_px, tags={})
    kept = complete(image, elsewhere, LSP_14, HUMAN36M_17, options)
    assert kept.camera_mm is None and not kept.valid.all()


def test_input_without_what_is_needed_is_named(teacher, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="holds no photo"):
        run(tmp_path / "none", tmp_path / "out", teacher)
    write(tmp_path / "in" / "nobody.png", np.full((240, 180, 3), 40, np.uint8))
    with pytest.raises(UserError, match="--teacher is missing"):
        run(tmp_path / "in", tmp_path / "out", ())
    with pytest.raises(UserError, match="no person of .* could be used"):
        run(tmp_path / "in", tmp_path / "out", teacher)
    assert not (tmp_path / "out" / "manifest.json").exists()
    (tmp_path / "movenet.json").write_text(json.dumps({"other": 1}))
    with pytest.raises(UserError, match="movenet.json is no graph model"):
        run(tmp_path / "in", tmp_path / "other", (str(tmp_path / "movenet.json"),))
