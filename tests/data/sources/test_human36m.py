"""Human3.6M in its authors' form, built with cdflib, OpenCV and an XML file of the same layout."""

import cdflib.cdfwrite
import numpy as np
import pytest

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.data.sources import human36m, human36m_common
from keras_pose.data.sources.base import Options
from tests.data.sources import toy

ANGLES = {name: np.array([1.9, 0.2 + 0.5 * i, -0.3 * i]) for i, name in enumerate(human36m_common.CAMERA_IDS)}


def rotation(angles):
    """Rotations about x, y, z one after the other, by Rodrigues' formula."""
    result = np.eye(3)
    for axis, angle in zip(np.eye(3), angles, strict=True):
        cross = np.cross(np.eye(3), axis)
        result = result @ (np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)
    return result


def camera_of(name):
    turned = rotation(ANGLES[name])
    # Five meters back from the point that it looks at.
    position = np.array([0, 0, 1000.0]) - 5000 * turned[2]
    return human36m_common.make_camera(turned, position, (1145, 1144), (512, 515), toy.RADIAL, toy.TANGENTIAL), position


def write_metadata(folder):
    outer, inner = np.zeros((4, 11, 6)), []
    for c, name in enumerate(human36m_common.CAMERA_IDS):
        _, position = camera_of(name)
        outer[c, :] = np.concatenate([ANGLES[name], position])
        inner.append([1145, 1144, 512, 515, *toy.RADIAL, *toy.TANGENTIAL])
    numbers = " ".join(repr(float(v)) for v in [*outer.ravel(), *np.ravel(inner)])
    (folder / "metadata.xml").write_text(f"<?xml version='1.0'?><H36MDataSet><w0>[{numbers}]</w0></H36MDataSet>")


def write_cdf(path, poses, width=96):
    """As the data set has it: variable Pose, one record of (T, 96)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = poses.reshape(1, len(poses), width)
    with cdflib.cdfwrite.CDF(path, delete=True) as cdf:
        spec = {"Variable": "Pose", "Data_Type": cdf.CDF_FLOAT, "Num_Elements": 1, "Rec_Vary": True}
        cdf.write_var(spec | {"Dim_Sizes": list(values.shape[1:])}, var_data=values.astype(np.float32))


def write_sequence(folder, subject, sequence, camera_id, world, mono=True, frames_in_video=None):
    """One sequence; the video shows the last joint."""
    camera, _ = camera_of(camera_id)
    positions = folder / subject / "MyPoseFeatures"
    if mono:
        write_cdf(positions / "D3_Positions_mono" / f"{sequence}.{camera_id}.cdf", camera.to_camera(world))
    else:
        write_cdf(positions / "D3_Positions" / f"{sequence}.cdf", world)
    shown = camera.project(camera.to_camera(toy.to_17(world)))[:frames_in_video, toy.SHOWN]
    size = human36m_common.PICTURE_SIZES[camera_id]
    video = folder / subject / "Videos" / f"{sequence}.{camera_id}.mp4"
    toy.write_video(video, [toy.picture(size, point) for point in shown])


@pytest.fixture(scope="module")
def download(tmp_path_factory):
    """Three subjects, two cameras of different image size."""
    folder = tmp_path_factory.mktemp("h36m")
    write_metadata(folder)
    first, second = "54138969", "55011271"
    write_sequence(folder, "S1", "TakingPhoto 1", first, toy.people(5, 32, seed=1))
    write_sequence(folder, "S8", "Walking", second, toy.people(3, 32, seed=2))
    write_sequence(folder, "S9", "Waiting 1", second, toy.people(2, 32, seed=3))
    write_sequence(folder, "S9", "Posing", first, toy.people(2, 32, seed=4))
    return folder


def test_joints_project_onto_the_image(download, tmp_path):
    examples = toy.convert("human36m", download, tmp_path / "out", shard_size=2)
    assert {split: len(part) for split, part in examples.items()} == {"train": 5, "validation": 3, "test": 4}
    camera, _ = camera_of("54138969")
    for world, example in zip(toy.people(5, 32, seed=1), examples["train"], strict=True):
        camera_mm = camera.to_camera(toy.to_17(world))
        toy.assert_projects(example, camera_mm, camera.project(camera_mm), lens=True)
        toy.assert_shows(example)
    assert [(e.subject, e.action, e.frame) for e in examples["train"][:2]] == [("S1", "Photo", 0), ("S1", "Photo", 1)]


def test_world_frame_poses_give_the_same_as_camera_frame_poses(tmp_path):
    world = toy.people(2, 32, seed=5)
    for mono in (True, False):
        folder = tmp_path / str(mono)
        folder.mkdir()
        write_metadata(folder)
        for name in human36m_common.CAMERA_IDS:
            write_sequence(folder, "S5", "Eating", name, world, mono=mono)
    mono, turned = (toy.convert("human36m", tmp_path / str(m), tmp_path / f"out{m}")["train"] for m in (True, False))
    assert len(mono) == len(turned) == 8
    for a, b in zip(mono, turned, strict=True):
        np.testing.assert_allclose(a.pose_3d_mm, b.pose_3d_mm, atol=0.01)
        np.testing.assert_allclose(a.keypoints_2d_px, b.keypoints_2d_px, atol=0.01)


def test_options_choose_frames_sequences_and_skeleton(download, tmp_path):
    options = Options((64, 64), frame_step=2, skeleton="lsp_14", drop_bad_sequences=True)
    examples = toy.convert("human36m", download, tmp_path / "out", options)
    assert [e.frame for e in examples["train"]] == [0, 2, 4]
    assert {e.action for e in examples["test"]} == {"Posing"}
    # LSP has no root joint, so these are 2D examples; all its joints are in Human3.6M.
    assert all(e.keypoint_valid.all() and not e.has_pose_3d for e in examples["train"])


def test_s11_directions_may_lack_a_video_and_no_other(download, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write_metadata(folder)
    write_sequence(folder, "S11", "Directions", "54138969", toy.people(1, 32))
    write_sequence(folder, "S11", "Posing", "54138969", toy.people(1, 32))
    (folder / "S11/Videos/Directions.54138969.mp4").unlink()
    assert [item.action for item in human36m.list_items(folder, Options())] == ["Posing"]
    (folder / "S11/Videos/Posing.54138969.mp4").unlink()
    with pytest.raises(UserError, match=r"Posing\.54138969\.mp4: the video of these poses is missing"):
        toy.convert("human36m", folder, tmp_path / "out")


def copy_of(download, tmp_path, world, **more):
    folder = tmp_path / "in"
    folder.mkdir()
    write_metadata(folder)
    write_sequence(folder, "S1", "Posing", "55011271", world, **more)
    return folder


def test_meters_are_refused(download, tmp_path):
    folder = copy_of(download, tmp_path, toy.people(2, 32))
    camera, _ = camera_of("55011271")
    metres = camera.to_camera(toy.people(2, 32)) / 1000
    write_cdf(positions(folder), metres)
    with pytest.raises(UserError, match=r"Posing\.55011271\.cdf: in frame 0 .* convert the poses to millimeters"):
        toy.convert("human36m", folder, tmp_path / "out")


def test_nan_labels_are_named(download, tmp_path):
    world = toy.people(3, 32)
    world[1, 3] = np.nan
    folder = copy_of(download, tmp_path, world[[0, 2, 0]])
    camera, _ = camera_of("55011271")
    write_cdf(positions(folder), camera.to_camera(world))
    with pytest.raises(UserError, match=r"Posing\.55011271\.cdf: S1/Posing/1: a label is NaN"):
        toy.convert("human36m", folder, tmp_path / "out")


def test_a_file_that_claims_two_thousand_million_dimensions_is_refused_at_once(tmp_path):
    path = tmp_path / "a.cdf"
    write_cdf(path, toy.people(2, 32))
    content = bytearray(path.read_bytes())
    record = int.from_bytes(content[20:28], "big")  # the global descriptor; at its byte 56 stand the dimensions
    content[record + 56 : record + 60] = b"\x7f\xff\xff\xff"
    path.write_bytes(content)
    with pytest.raises(UserError, match="a.cdf cannot be read .*claims to hold 2147483647 values"):
        human36m.read_poses(path)


def test_a_truncated_video_is_refused_with_a_list(download, tmp_path):
    folder = copy_of(download, tmp_path, toy.people(4, 32), frames_in_video=3)
    with pytest.raises(UserError, match=r"frame 3: .*Posing\.55011271\.mp4 has no such frame .*1 of 4 frames"):
        toy.convert("human36m", folder, tmp_path / "out")
    assert "frame 3" in (tmp_path / "out" / "bad_frames.txt").read_text()


def test_resized_video_is_refused(download, tmp_path):
    folder = copy_of(download, tmp_path, toy.people(1, 32))
    toy.write_video(folder / "S1/Videos/Posing.55011271.mp4", [np.zeros((500, 500, 3), np.uint8)])
    with pytest.raises(UserError, match="is 500 x 500 pixels, its labels are for 1000 x 1000"):
        toy.convert("human36m", folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "metadata.xml").unlink(), "metadata.xml is missing"),
        (lambda d: (d / "metadata.xml").write_text("<a><w0>[1 2]</w0></a>"), "w0 has 2 numbers, not 300"),
        (lambda d: (d / "metadata.xml").write_text("<a>"), "metadata.xml cannot be read"),
        (lambda d: (d / "S1").rename(d / "s01"), "holds none of the folders S1"),
        (lambda d: (d / "S1/MyPoseFeatures").rename(d / "S1/Poses"), "D3_Positions is missing"),
        (
            lambda d: write_cdf(positions(d), toy.people(1, 32)[..., :2], width=64),
            r"Pose is \[1, 1, 64\], not frames x 96",
        ),
        (lambda d: truncate(positions(d)), "cdf cannot be read"),
    ],
)
def test_broken_downloads_are_named(download, tmp_path, damage, message):
    folder = copy_of(download, tmp_path, toy.people(1, 32))
    damage(folder)
    with pytest.raises(UserError, match=message):
        toy.convert("human36m", folder, tmp_path / "out")


def positions(folder):
    return folder / "S1/MyPoseFeatures/D3_Positions_mono/Posing.55011271.cdf"


def truncate(path):
    path.write_bytes(path.read_bytes()[:200])


def test_local_intrinsics_follow_the_lens():
    """Away from the image's middle the camera's own matrix is off by many times what the local one is."""
    camera = toy.look_at([0, -5000, 1000])
    errors = []
    for world in toy.people(20, 17):
        camera_mm = camera.to_camera(world + [600, 0, 0])
        matrices = (camera.intrinsics, human36m_common.local_intrinsics(camera, camera_mm))
        projected = [geometry.project_points(camera_mm, matrix) for matrix in matrices]
        errors.append([np.abs(points - camera.project(camera_mm)).max() for points in projected])
    pinhole, local = np.max(errors, axis=0)
    assert pinhole > 5 and local < 1.5
