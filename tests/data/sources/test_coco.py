"""COCO's JSON, with the visibilities, crowds and boxes that it has."""

import json
import re

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import COCO_17, HUMAN36M_17
from keras_pose.data.sources.base import Options
from tests.data.sources import toy

SIZE = (240, 180)


def keypoints(seed: int) -> np.ndarray:
    """(17, 3) pixel indices from 0 and visibility; the ears are not labeled, the left wrist is hidden."""
    points = np.random.default_rng(seed).integers([50, 60], [130, 180], (17, 2))
    visibility = np.full((17, 1), 2)
    visibility[[3, 4]] = 0
    visibility[9] = 1
    return np.concatenate([points * (visibility > 0), visibility], 1)


def annotation(number: int, image: int, **changes) -> dict:
    values = {"id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "num_keypoints": 15}
    values |= {"bbox": [40.0, 50.0, 100.0, 140.0], "keypoints": keypoints(number).ravel().tolist()}
    return values | changes


@pytest.fixture
def download(tmp_path):
    folder = tmp_path / "in"
    (folder / "annotations").mkdir(parents=True)
    for year, count in (("train2017", 3), ("val2017", 2)):
        images = [{"id": i, "file_name": f"{i:012d}.jpg", "height": 240, "width": 180} for i in range(count)]
        people = [annotation(10 * i + p, i) for i in range(count) for p in range(2)]
        people += [annotation(90, 0, iscrowd=1, keypoints=[0] * 51), annotation(91, 0, keypoints=[0] * 51)]
        values = {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}
        (folder / "annotations" / f"person_keypoints_{year}.json").write_text(json.dumps(values))
        for i in range(count):
            shown = keypoints(10 * i)[16, :2] + 0.5
            toy.write_picture(folder / year / f"{i:012d}.jpg", toy.picture(SIZE, shown))
    return folder


def test_people_are_cropped_with_their_joints(download, tmp_path):
    examples = toy.convert("coco", download, tmp_path / "out", workers=1)
    assert {split: len(part) for split, part in examples.items()} == {"train": 6, "validation": 4}
    for example in examples["train"]:
        labelled = keypoints(example.frame)
        np.testing.assert_array_equal(example.keypoint_valid, labelled[:, 2] > 0)
        np.testing.assert_array_equal(example.keypoint_hidden, labelled[:, 2] == 1)
        pixels = labelled[labelled[:, 2] > 0, :2] + 0.5
        scale = 64 / (100 * 1.25)  # the box is wider than the crop's shape
        expected = (pixels - [90, 120]) * scale + [32, 48]
        np.testing.assert_allclose(example.keypoints_2d_px[example.keypoint_valid], expected, atol=0.01)
        assert not example.has_pose_3d and example.skeleton == COCO_17.name
    for example in examples["train"]:
        if example.frame % 10 == 0:
            toy.assert_shows(example)


def test_joints_are_mapped_to_another_skeleton(download, tmp_path):
    options = Options((64, 64), skeleton="human36m_17", split="test")
    examples = toy.convert("coco", download, tmp_path / "out", options)
    assert list(examples) == ["test"] and len(examples["test"]) == 10
    lacking = {n for n, v in zip(HUMAN36M_17.joint_names, examples["test"][0].keypoint_valid, strict=True) if not v}
    assert lacking == {"spine", "thorax", "neck_nose", "head_top"}


def edit(folder, change):
    path = folder / "annotations" / "person_keypoints_train2017.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "annotations").rename(d / "a"), "COCO's annotations"),
        (lambda d: (d / "train2017").rename(d / "t"), "the images of person_keypoints_train2017.json"),
        (lambda d: edit(d, lambda v: v.pop("images")), "cannot be read"),
        (lambda d: edit(d, lambda v: v["annotations"][0].update(keypoints=[1, 2, 3])), "annotation 0: keypoints has"),
        (lambda d: edit(d, lambda v: v.update(images=[])), "no annotation of .* can be used; .*image 0 is not in"),
        (lambda d: edit(d, lambda v: v["annotations"][0].update(keypoints=[float("nan")] * 51)), "annotation 0: .*NaN"),
        (lambda d: (d / "train2017" / f"{1:012d}.jpg").unlink(), "missing or damaged"),
    ],
)
def test_bad_input_is_named(download, tmp_path, damage, message):
    damage(download)
    with pytest.raises(UserError, match=message):
        toy.convert("coco", download, tmp_path / "out")


def subset(folder, change):
    """Labels of few images in a file that was made for many: `change` breaks one entry of 200."""
    values = {"images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(200)]}
    values["annotations"] = [annotation(i, i) for i in range(200)]
    change(values)
    (folder / "annotations").mkdir(parents=True)
    (folder / "annotations" / "person_keypoints_val2017.json").write_text(json.dumps(values))
    for i in range(200):
        toy.write_picture(folder / "val2017" / f"{i}.jpg", np.full((240, 180, 3), 90, np.uint8))


@pytest.mark.parametrize(
    ("change", "listed"),
    [
        (lambda v: v["annotations"][7].update(keypoints=[1, 2]), "annotation 7: keypoints has shape"),
        (lambda v: v["annotations"][7].update(keypoints="here"), "annotation 7: cannot be read"),
        (lambda v: v["annotations"][7].update(bbox=[1]), "annotation 7: cannot be read"),
        (lambda v: v["annotations"][7].pop("image_id"), "annotation 7: cannot be read .KeyError"),
        (lambda v: v["annotations"].__setitem__(7, None), "annotation 7: cannot be read"),
        (lambda v: v["images"][7].pop("file_name"), "annotation 7: its image 7 is not in the file's list"),
        (lambda v: v["images"].pop(7), "annotation 7: its image 7 is not in the file's list"),
        (lambda v: v["images"][7].update(file_name="gone.jpg"), "gone.jpg: 7: the image is missing or damaged"),
    ],
)
def test_an_unusable_entry_is_left_out_and_listed(tmp_path, capsys, change, listed):
    subset(tmp_path / "in", change)
    examples = toy.convert("coco", tmp_path / "in", tmp_path / "out", Options((32, 32)))["validation"]
    assert sorted(example.frame for example in examples) == [i for i in range(200) if i != 7]
    assert re.search(listed, (tmp_path / "out" / "bad_frames.txt").read_text())
    assert re.search("(1 bad frames left out|entries skipped), see .*bad_frames.txt", capsys.readouterr().out)


def test_the_annotations_of_a_whole_set_serve_a_subset_of_its_images(tmp_path, capsys):
    subset(tmp_path / "in", lambda v: v.update(images=v["images"][:3]))
    examples = toy.convert("coco", tmp_path / "in", tmp_path / "out", Options((32, 32)))["validation"]
    assert len(examples) == 3
    assert "; 197 entries skipped, see" in capsys.readouterr().out
    assert len((tmp_path / "out" / "bad_frames.txt").read_text().splitlines()) == 197


def test_images_that_a_subset_lacks_may_be_accepted(tmp_path, capsys):
    subset(tmp_path / "in", lambda v: None)
    for i in range(3, 200):
        (tmp_path / "in" / "val2017" / f"{i}.jpg").unlink()
    with pytest.raises(UserError, match=r"missing or damaged.*over 1%.* or raise --max_bad_share"):
        toy.convert("coco", tmp_path / "in", tmp_path / "out", Options((32, 32)))
    examples = toy.convert("coco", tmp_path / "in", tmp_path / "out", Options((32, 32)), max_bad_share=1.0)
    assert len(examples["validation"]) == 3 and "; 197 bad frames left out" in capsys.readouterr().out
