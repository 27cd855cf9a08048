"""Human3.6M's challenge subset: images and csv files."""

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.data.sources.base import Options
from tests.data.sources import toy


def poses(count):
    camera = toy.look_at([0, -5000, 1000])
    camera_mm = camera.to_camera(toy.people(count, 17, seed=2))
    return camera_mm - camera_mm[:, :1]


@pytest.fixture
def download(tmp_path):
    for folder, count in (("Train", 3), ("Val", 2)):
        for i, pose in enumerate(poses(count), 1):
            csv = tmp_path / "in" / folder / "POSE" / f"{i:05d}.csv"
            csv.parent.mkdir(parents=True, exist_ok=True)
            np.savetxt(csv, pose, delimiter=",", fmt="%.6f")
            toy.write_picture(csv.parent.parent / "IMG" / f"{i:05d}.jpg", toy.picture((220, 160), (40, 55)))
    return tmp_path / "in"


def test_poses_are_kept_and_what_is_unknown_is_invalid(download, tmp_path):
    examples = toy.convert("human36m_challenge", download, tmp_path / "out")
    assert {split: len(part) for split, part in examples.items()} == {"train": 3, "validation": 2}
    for example, pose in zip(examples["train"], poses(3), strict=True):
        np.testing.assert_allclose(example.pose_3d_mm, pose, atol=1e-3)
        assert example.pose_3d_valid.all() and not example.keypoint_valid.any()
    assert [e.frame for e in examples["train"]] == [1, 2, 3]


def test_the_whole_image_is_kept_without_stretching(download, tmp_path):
    """The disc at (40, 55) of 160 x 220 lands at the same place of a crop of the same width, padded in height."""
    example = toy.convert("human36m_challenge", download, tmp_path / "out", Options((300, 160)))["train"][0]
    example.keypoints_2d_px = np.full((17, 2), (40.0, 55 + 40))
    toy.assert_shows(example, joint=0)


def test_frame_step_and_limit_thin_the_data(download, tmp_path):
    examples = toy.convert("human36m_challenge", download, tmp_path / "a", Options((64, 64), frame_step=2), limit=1)
    assert [len(part) for part in examples.values()] == [1, 1]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "Val").rename(d / "Validation"), "POSE is missing"),
        (lambda d: [path.unlink() for path in (d / "Val/POSE").glob("*")], r"holds no \.csv file"),
        (lambda d: csv(d).write_text("1,2,3\n4,5"), r"00002\.csv: cannot be read"),
        (lambda d: csv(d).write_text("1,2,3\n4,5,6"), r"00002\.csv: has shape \(2, 3\), not 17 x 3"),
        (lambda d: csv(d).write_bytes(b"\xff\xfe"), r"00002\.csv: cannot be read"),
        (lambda d: csv(d).write_text("\n".join(["nan,0,0"] * 17)), r"00002\.csv: a label is NaN"),
        (lambda d: csv(d).write_text("\n".join(["0,0,0", *["0.1,0.2,0.3"] * 16])), r"00002\.csv: .* to millimeters"),
        (lambda d: (d / "Train/IMG/00002.jpg").unlink(), r"00002\.jpg: the image is missing"),
    ],
)
def test_broken_downloads_are_named(download, tmp_path, damage, message):
    damage(download)
    with pytest.raises(UserError, match=message):
        toy.convert("human36m_challenge", download, tmp_path / "out")


def csv(folder):
    return folder / "Train/POSE/00002.csv"
