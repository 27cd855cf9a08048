"""Laws for resizing the images of a data set."""

import json

import numpy as np
import pytest
from absl import flags

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.data import resize
from keras_pose.data.dataset import open_dataset
from keras_pose.data.pipeline import read_examples
from tests.conftest import write_dataset


def run(*arguments) -> None:
    values = flags.FlagValues()
    resize.define_flags(values)
    resize.main(values(["resize", *map(str, arguments)])[1:], values)


def test_labels_and_camera_are_scaled_too(toy_dataset, tmp_path, capsys):
    run(f"--input={toy_dataset}", f"--output={tmp_path / 'large'}", "--image_size=128x192", "--limit=8")
    assert capsys.readouterr().out.endswith("large: train 8, validation 8, test 6\n")
    old, new = open_dataset(str(toy_dataset)), open_dataset(str(tmp_path / "large"))
    assert new.image_size == (128, 192)
    for before, after in zip(read_examples(old, "test"), read_examples(new, "test"), strict=True):
        assert after.validate().where() == before.where() and after.decode_image().shape == (128, 192, 3)
        assert np.allclose(after.keypoints_2d_px, 2 * before.keypoints_2d_px, atol=1e-3)
        assert np.array_equal(after.pose_3d_mm, before.pose_3d_mm)
        seen = geometry.project_points(after.pose_3d_mm + after.root_position_mm, after.intrinsics)
        assert np.allclose(seen, after.keypoints_2d_px, atol=0.01)
    first = [next(read_examples(data, "train")) for data in (old, new)]
    means = first[1].decode_image().reshape(64, 2, 96, 2, 3).mean((1, 3))  # bilinear: the mean of 4 is nearly theirs
    assert np.corrcoef(means.ravel(), first[0].decode_image().ravel())[0, 1] > 0.9


def test_a_mix_keeps_the_splits_and_licences_of_all_its_parts(tmp_path):
    trains = write_dataset(tmp_path / "trains", {"train": 2})
    tests = write_dataset(tmp_path / "tests", {"train": 3, "test": 4}, seed=1)
    for folder, licences in ((trains, ["a"]), (tests, ["a", "b"])):
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(
            json.dumps(manifest | {"licences": [{"part": name} for name in licences]})
        )
    run(f"--input={trains},{tests}", f"--output={tmp_path / 'large'}", "--image_size=128x192")
    (manifest,) = [manifest for _, manifest in open_dataset(str(tmp_path / "large")).folders]
    assert {split: manifest.count(split) for split in manifest.splits} == {"train": 5, "test": 4}
    assert [entry["part"] for entry in manifest.licences] == ["a", "b"]


def test_unlabeled_joints_stay_at_zero(tmp_path):
    write_dataset(tmp_path / "some", {"train": 2}, keypoint_valid=np.arange(17) > 3)
    (example,) = list(read_examples(open_dataset(str(tmp_path / "some")), "train"))[:1]
    large = resize.resize_example(example, (128, 192))
    assert not large.keypoints_2d_px[:4].any() and large.keypoints_2d_px[4:].any()


def test_mistakes_give_one_line_errors(toy_dataset, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    for arguments, message in [
        ((f"--input={toy_dataset}",), "--output=FOLDER"),
        ((f"--input={toy_dataset}", f"--output={tmp_path / 'new'}"), "64x96, which 256x256 would stretch"),
        ((f"--input={toy_dataset}", f"--output={tmp_path / 'full'}", "--image_size=128x192"), "full already exists"),
        ((f"--input={tmp_path / 'none'}", f"--output={tmp_path / 'new'}"), "neither a folder"),
    ]:
        with pytest.raises(UserError, match=message):
            run(*arguments)
    assert not (tmp_path / "new").exists()
