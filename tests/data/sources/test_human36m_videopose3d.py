"""Human3.6M's poses in VideoPose3D's form."""

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.data.dataset import open_dataset
from keras_pose.data.sources.base import Options
from keras_pose.data.sources.human36m_common import CAMERA_IDS
from tests.data.sources import toy

TRUSTED = Options(image_size=(96, 64), allow_pickle=True)
# One camera a side; (w, x, y, z) that turns world into camera axes: to look along +y with z up, and so on round.
HALF = 0.5**0.5
QUATERNIONS = [(HALF, -HALF, 0, 0), (0.5, -0.5, -0.5, 0.5), (0, 0, -HALF, HALF), (0.5, -0.5, 0.5, -0.5)]
DATASET_PY = """import numpy as np
from somewhere_that_does_not_exist import nothing
h36m_cameras_intrinsic_params = {inner!r}
h36m_cameras_extrinsic_params = {outer!r}
class Human36mDataset: pass
"""


def tables():
    inner = [
        {
            "id": name,
            "center": [512.5, 515.5],
            "focal_length": [1145.0, 1144.0],
            "radial_distortion": list(toy.RADIAL),
            "tangential_distortion": list(toy.TANGENTIAL[::-1]),
            "res_w": 1000,
            "res_h": 1002,
        }
        for name in CAMERA_IDS
    ]
    # Five meters back from the middle of the room along each camera's own axis.
    outer = [
        {"orientation": list(q), "translation": [float(v) for v in [0, 0, 1000] - 5000 * forward(q)]}
        for q in QUATERNIONS
    ]
    return inner, {"S1": outer, "S2": [{}] * 4, "S9": outer}


def forward(quaternion):
    """The z axis turned by a camera-to-world quaternion."""
    w, x, y, z = quaternion
    return np.array([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)])


@pytest.fixture
def download(tmp_path):
    folder = tmp_path / "VideoPose3D"
    (folder / "common").mkdir(parents=True)
    (folder / "data").mkdir()
    inner, outer = tables()
    (folder / "common/h36m_dataset.py").write_text(DATASET_PY.format(inner=inner, outer=outer))
    write_poses(folder, {"S1": {"Directions 1": world_of(3)}, "S9": {"Waiting 1": world_of(2), "Posing": world_of(2)}})
    return folder


def world_of(frames):
    return (toy.people(frames, 32, seed=frames) / 1000).astype(np.float32)


def write_poses(folder, table):
    np.savez(folder / "data/data_3d_h36m.npz", positions_3d=table)


def test_poses_project_through_the_lens_of_each_camera(download, tmp_path):
    examples = toy.convert("human36m_videopose3d", download, tmp_path / "out", TRUSTED)
    assert {split: len(part) for split, part in examples.items()} == {"train": 12, "test": 16}
    assert open_dataset(str(tmp_path / "out")).image_size is None
    camera = toy.look_at([0, -5000, 1000])  # the first of the four
    for world, example in zip(toy.to_17(world_of(3)) * 1000, examples["train"][:3], strict=True):
        camera_mm = camera.to_camera(world)
        toy.assert_projects(example, camera_mm, camera.project(camera_mm), lens=True)
        assert example.image_jpeg == b""


def test_the_four_cameras_see_the_same_bones(download, tmp_path):
    examples = toy.convert("human36m_videopose3d", download, tmp_path / "out", TRUSTED)["train"]
    lengths = [np.linalg.norm(e.pose_3d_mm, axis=-1) for e in examples if e.frame == 0]
    assert len(lengths) == 4
    np.testing.assert_allclose(lengths, [lengths[0]] * 4, atol=0.01)


def test_bad_sequences_can_be_dropped(download, tmp_path):
    options = Options((64, 64), allow_pickle=True, drop_bad_sequences=True, frame_step=2)
    examples = toy.convert("human36m_videopose3d", download, tmp_path / "out", options)
    assert {e.action for e in examples["test"]} == {"Posing"}


def test_pickle_needs_consent(download, tmp_path):
    with pytest.raises(UserError, match=r"data_3d_h36m\.npz is pickled.*--allow_pickle"):
        toy.convert("human36m_videopose3d", download, tmp_path / "out")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "data/data_3d_h36m.npz").unlink(), r"data_3d_h36m\.npz is missing"),
        (lambda d: (d / "common/h36m_dataset.py").unlink(), r"h36m_dataset\.py is missing"),
        (lambda d: (d / "common/h36m_dataset.py").write_text("x = ("), r"h36m_dataset\.py cannot be read"),
        (lambda d: (d / "common/h36m_dataset.py").write_text("x = 1"), r"h36m_dataset\.py cannot be read"),
        (lambda d: np.savez(d / "data/data_3d_h36m.npz", other=1), "has no array 'positions_3d'"),
        (lambda d: write_poses(d, {"S1": [1]}), r"data_3d_h36m\.npz cannot be read"),
        (lambda d: write_poses(d, {"S1": {"Eating": world_of(2)[:, :17]}}), r"'S1' 'Eating' has shape \(2, 17, 3\)"),
        (lambda d: write_poses(d, {"S1": {"Eating": world_of(2) * 1000}}), "'S1' 'Eating', from meters: .* no person"),
        (lambda d: write_poses(d, {"S2": {"Eating": world_of(2)}}), "no labels of subject 'S2'"),
        (lambda d: write_poses(d, {"S5": {"Eating": world_of(2)}}), "has no camera 54138969 of S5"),
    ],
)
def test_broken_downloads_are_named(download, tmp_path, damage, message):
    damage(download)
    with pytest.raises(UserError, match=message):
        toy.convert("human36m_videopose3d", download, tmp_path / "out", TRUSTED)
