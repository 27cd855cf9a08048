"""Leeds Sports Pose: small files as scipy writes them, and the sample of the extended set."""

import numpy as np
import pytest
import scipy.io

from keras_pose.core.errors import UserError
from keras_pose.data import inspect
from keras_pose.data.sources import lsp
from keras_pose.data.sources.base import Options
from tests.conftest import shared_data
from tests.data.sources import toy

SIZE = (200, 150)


def joints(count: int) -> np.ndarray:
    """(count, 14, 3): counted from 1, a flag that is 0 for the first joint."""
    points = np.random.default_rng(0).uniform([40, 40], [110, 160], (count, 14, 2))
    flags = np.ones((count, 14, 1)) * (np.arange(14) > 0)[None, :, None]
    return np.concatenate([points, flags], -1)


@pytest.fixture
def downloads(tmp_path):
    values = joints(2)
    for name, axes, digits in (("lsp", (2, 1, 0), 4), ("lsp_extended", (1, 2, 0), 5)):
        folder = tmp_path / name
        for i, label in enumerate(values, 1):
            toy.write_picture(folder / "images" / f"im{i:0{digits}d}.jpg", toy.picture(SIZE, label[13, :2] - 0.5))
        scipy.io.savemat(folder / "joints.mat", {"joints": values.transpose(axes)}, do_compression=True)
    return tmp_path


@pytest.mark.parametrize("name", ["lsp", "lsp_extended"])
def test_photos_are_cropped_around_their_joints(downloads, tmp_path, name):
    examples = toy.convert(name, downloads / name, tmp_path / "out")
    assert list(examples) == [{"lsp": "train", "lsp_extended": "test"}[name]]
    for example, label in zip(next(iter(examples.values())), joints(2), strict=True):
        used = label[:, :2] if name == "lsp" else label[1:, :2]
        low, high = used.min(0) - 0.5, used.max(0) - 0.5
        scale = min(64 / (1.25 * (high - low)[0]), 96 / (1.25 * (high - low)[1]))
        expected = (label[:, :2] - 0.5 - (low + high) / 2) * scale + [32, 48]
        np.testing.assert_allclose(example.keypoints_2d_px[1:], expected[1:], atol=0.01)
        # The flag 0 of the first joint: visible in lsp, not labeled in lsp_extended.
        assert example.keypoint_valid[1:].all() and example.keypoint_valid[0] == (name == "lsp")
        assert not example.keypoint_hidden[0] and example.keypoint_hidden[1:].all() == (name == "lsp")
        toy.assert_shows(example, 13)


def test_everything_can_go_into_one_split(downloads, tmp_path):
    examples = toy.convert(
        "lsp_extended", downloads / "lsp_extended", tmp_path / "out", Options((64, 64), split="train")
    )
    assert {split: len(part) for split, part in examples.items()} == {"train": 2}


def test_parts_of_the_photos_share_nothing(downloads, tmp_path):
    frames = []
    for i in range(2):
        part = toy.convert("lsp_extended", downloads / "lsp_extended", tmp_path / f"{i}", chosen=(i, i + 1))
        frames += [example.frame for example in part["test"]]
    assert frames == [1, 2]
    with pytest.raises(UserError, match="--items=1:3, but .* has 2; lower the last number"):
        toy.convert("lsp_extended", downloads / "lsp_extended", tmp_path / "over", chosen=(1, 3))
    assert not (tmp_path / "over").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "joints.mat").unlink(), "the joints' labels"),
        (
            lambda d: (d / "joints.mat").write_bytes((d / "joints.mat").read_bytes()[:300]),
            r"joints\.mat cannot be read",
        ),
        (lambda d: scipy.io.savemat(d / "joints.mat", {"points": 1}), "no numbers named joints"),
        (lambda d: scipy.io.savemat(d / "joints.mat", {"joints": joints(2)}), "has shape"),
        (lambda d: [p.unlink() for p in (d / "images").iterdir()], "contains no im"),
        (lambda d: (d / "images/im0001.jpg").rename(d / "images/im0009.jpg"), r"im0009\.jpg: it has no joints"),
        (lambda d: (d / "images/im0001.jpg").write_bytes(b"half"), r"im0001\.jpg.*missing or damaged"),
        (lambda d: scipy.io.savemat(d / "joints.mat", {"joints": joints(2).transpose(2, 1, 0) * np.nan}), "NaN"),
    ],
)
def test_bad_input_is_named(downloads, tmp_path, damage, message):
    damage(downloads / "lsp")
    with pytest.raises(UserError, match=message):
        toy.convert("lsp", downloads / "lsp", tmp_path / "out")


def test_the_sample_goes_through_prepare_and_inspect(tmp_path):
    folder = shared_data("lsp_extended_sample")
    examples = toy.convert("lsp_extended", folder, tmp_path / "out", Options((64, 64)), limit=100)["test"]
    labels = lsp.read_joints(folder / "joints.mat", extended=True)
    assert len(examples) == 100 and len(labels) == 1000
    for example in examples:
        moved = example.keypoints_2d_px - labels[example.frame - 1, :, :2]
        assert example.keypoint_valid.all() and np.ptp(moved, axis=0).max() < 400
    found = inspect.inspect(str(tmp_path / "out"), str(tmp_path / "sheet.png"), pictures=6)
    assert found["problems"] == [] and found["splits"]["test"]["outside_share"] == 0
