"""MPI-INF-3DHP in its authors' form: MATLAB 5 and HDF5 labels, AVI videos, images; and in MMPose's form."""

import pickle

import h5py
import numpy as np
import pytest
import scipy.io

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import MPI_INF_3DHP_17
from keras_pose.data.sources import mpi_inf_3dhp
from keras_pose.data.sources.base import Options
from tests.data.sources import toy

SIZE = (480, 512)
CAMERA = toy.look_at([4000, 2500, 1400], (500.0, 498.0), (256.4, 238.7), radial=(), tangential=())
TRAIN = CAMERA.to_camera(toy.people(3, 28, seed=5))
# The test set's joints; frame 1 is marked as unusable.
TEST = CAMERA.to_camera(toy.people(4, 17, seed=6))
VALID = np.array([1, 0, 1, 1])
PELVIS = MPI_INF_3DHP_17.root


def calibration():
    """All fourteen cameras of camera.calibration."""
    k = np.eye(4)
    k[:3, :3] = CAMERA.intrinsics
    lines = ["Skeletool Camera Calibration File V1.0"]
    for camera in range(14):
        lines += [f"name          {camera}", "  sensor      10 10", "  size        512 480", "  animated    0"]
        lines += [f"  intrinsic   {' '.join(map(str, k.ravel()))} ", f"  extrinsic   {' '.join(['0'] * 16)} "]
        lines += ["  radial      0"]
    return "\n".join(lines) + "\n"


def write_train(folder, subject, sequence, poses=TRAIN):
    place = folder / subject / sequence
    place.mkdir(parents=True)
    write_annot(place / "annot.mat", poses)
    (place / "camera.calibration").write_text(calibration())
    shown = CAMERA.project(TRAIN[:, mpi_inf_3dhp.JOINTS_17_OF_28])[:, toy.SHOWN]
    for camera in mpi_inf_3dhp.CAMERAS:
        pictures = [toy.picture(SIZE, point) for point in shown]
        toy.write_video(place / f"imageSequence/video_{camera}.avi", pictures, codec="MJPG", rate=25)


def write_annot(path, poses):
    cells = {name: np.empty((14, 1), object) for name in ("annot2", "annot3")}
    for camera in range(14):
        cells["annot2"][camera, 0] = CAMERA.project(poses).reshape(len(poses), -1)
        cells["annot3"][camera, 0] = poses.reshape(len(poses), -1)
    scipy.io.savemat(path, cells)


def write_test(folder):
    folder.mkdir(parents=True)
    pixels = CAMERA.project(TEST)
    with h5py.File(folder / "annot_data.mat", "w") as file:
        file["annot2"] = pixels[:, None]
        file["annot3"] = TEST[:, None]
        file["univ_annot3"] = 0.9 * TEST[:, None]
        file["valid_frame"] = VALID[:, None].astype(np.float64)
    for t, points in enumerate(pixels):
        toy.write_picture(folder / f"imageSequence/img_{t + 1:06d}.jpg", toy.picture(SIZE, points[toy.SHOWN]))


@pytest.fixture
def download(tmp_path):
    write_train(tmp_path / "in", "S8", "Seq1")
    write_test(tmp_path / "in/mpi_inf_3dhp_test_set/TS1")
    return tmp_path / "in"


def test_joints_project_onto_the_image(download, tmp_path):
    examples = toy.convert("mpi_inf_3dhp", download, tmp_path / "out")
    assert {split: len(part) for split, part in examples.items()} == {"train": 24, "test": 3}
    known = {"train": TRAIN[:, mpi_inf_3dhp.JOINTS_17_OF_28], "test": TEST}
    for split, part in examples.items():
        for example in part[:3]:
            camera_mm = known[split][example.frame]
            toy.assert_projects(example, camera_mm, CAMERA.project(camera_mm), root=PELVIS)
            toy.assert_shows(example)
    assert [e.frame for e in examples["test"]] == [0, 2, 3]


def test_the_second_sequence_of_s8_is_for_validation(tmp_path):
    write_train(tmp_path / "in", "S8", "Seq2")
    examples = toy.convert("mpi_inf_3dhp", tmp_path / "in", tmp_path / "out", Options((64, 64), frame_step=3))
    assert {split: len(part) for split, part in examples.items()} == {"validation": 8}


def test_joints_map_to_human36m(download, tmp_path):
    examples = toy.convert("mpi_inf_3dhp", download, tmp_path / "out", Options((64, 64), skeleton="human36m_17"))
    example, world = examples["test"][0], TEST[0]
    assert example.pose_3d_valid.all() and example.keypoint_valid.all()
    wrist = MPI_INF_3DHP_17.index("left_wrist")
    np.testing.assert_allclose(example.pose_3d_mm[13], world[wrist] - world[PELVIS], atol=0.01)


def test_people_outside_the_image_are_left_out(tmp_path):
    away = TRAIN.copy()
    away[1] += [20000, 0, 0]
    write_train(tmp_path / "in", "S8", "Seq1", away)
    examples = toy.convert("mpi_inf_3dhp", tmp_path / "in", tmp_path / "out")
    assert {e.frame for e in examples["train"]} == {0, 2}
    write_annot(tmp_path / "in/S8/Seq1/annot.mat", TRAIN + [20000, 0, 0])
    mpi_inf_3dhp.load_train.cache_clear()
    with pytest.raises(UserError, match="no person of .* could be used"):
        toy.convert("mpi_inf_3dhp", tmp_path / "in", tmp_path / "none")


def nan_label(folder):
    poses = TRAIN.copy()
    poses[1, 4] = np.nan
    write_annot(folder / "S8/Seq1/annot.mat", poses)


def cut(name, size=400):
    def damage(folder):
        (folder / name).write_bytes((folder / name).read_bytes()[:size])

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: [path.rename(d / f"x{i}") for i, path in enumerate(list(d.iterdir()))], r"holds neither S\*/Seq\*"),
        (lambda d: (d / "S8/Seq1/annot.mat").unlink(), r"annot\.mat is missing"),
        (
            lambda d: (d / "S8/Seq1/camera.calibration").write_text("name 0\nintrinsic 1 2"),
            "calibration cannot be read",
        ),
        (lambda d: (d / "S8/Seq1/camera.calibration").write_text("name 0\n"), "has no camera 0"),
        (lambda d: (d / "S8/Seq1/imageSequence/video_4.avi").unlink(), r"video_4\.avi: the video .* is missing"),
        (cut("S8/Seq1/annot.mat"), r"annot\.mat cannot be read"),
        (cut("S8/Seq1/imageSequence/video_4.avi"), r"video_4\.avi frame 0: the image is missing or damaged"),
        (cut("mpi_inf_3dhp_test_set/TS1/annot_data.mat"), r"annot_data\.mat cannot be read"),
        (lambda d: write_annot(d / "S8/Seq1/annot.mat", TRAIN / 1000), r"annot\.mat: in frame 0 .* to millimeters"),
        (lambda d: write_annot(d / "S8/Seq1/annot.mat", TRAIN[:, :17].repeat(2, 1)), "annot2 of camera 0 has shape"),
        (nan_label, r"annot\.mat: S8/Seq1/1: a label is NaN"),
        (
            lambda d: (d / "mpi_inf_3dhp_test_set/TS1/imageSequence/img_000003.jpg").unlink(),
            r"img_000003\.jpg: the image",
        ),
    ],
)
def test_broken_downloads_are_named(download, tmp_path, damage, message):
    damage(download)
    with pytest.raises(UserError, match=message):
        toy.convert("mpi_inf_3dhp", download, tmp_path / "out")


# --- MMPose's form ---------------------------------------------------------------------------------------------

TRUSTED = Options(image_size=(96, 64), allow_pickle=True)


@pytest.fixture
def mmpose_download(tmp_path):
    folder = tmp_path / "mmpose"
    (folder / "annotations").mkdir(parents=True)
    parts = {"train": (["S1_Seq1_Cam0", "S8_Seq2_Cam4"], "train"), "test": (["TS1"], "test_valid")}
    camera_mm = TEST[:2]
    pixels = CAMERA.project(camera_mm)
    for part, (cameras, file) in parts.items():
        names = [f"{camera}_{t + 1:06d}.jpg" for camera in cameras for t in range(2)]
        for i, name in enumerate(names):
            toy.write_picture(folder / "images" / name, toy.picture(SIZE, pixels[i % 2, toy.SHOWN]))
        ones = np.ones((*camera_mm.shape[:2], 1))
        np.savez(
            folder / f"annotations/mpi_inf_3dhp_{file}.npz",
            imgname=np.array(names),
            center=np.zeros((len(names), 2)),
            scale=np.ones(len(names)),
            part=np.tile(np.concatenate([pixels, ones], -1), (len(cameras), 1, 1)),
            S=np.tile(np.concatenate([camera_mm / 1000, ones], -1), (len(cameras), 1, 1)),
        )
        f, c = CAMERA.intrinsics[[0, 1], [0, 1]][:, None], CAMERA.intrinsics[:2, 2:]
        lenses = {name: {"f": f, "c": c, "w": 512, "h": 480, "name": "train_cam_0"} for name in cameras}
        (folder / f"annotations/cameras_{part}.pkl").write_bytes(pickle.dumps(lenses))
    return folder


def test_mmpose_joints_project_onto_the_image(mmpose_download, tmp_path):
    examples = toy.convert("mpi_inf_3dhp_mmpose", mmpose_download, tmp_path / "out", TRUSTED)
    assert {split: len(part) for split, part in examples.items()} == {"train": 2, "validation": 2, "test": 2}
    for part in examples.values():
        for example in part:
            camera_mm = TEST[example.frame]
            toy.assert_projects(example, camera_mm, geometry.project_points(camera_mm, CAMERA.intrinsics), root=PELVIS)
            toy.assert_shows(example)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "annotations/cameras_test.pkl").unlink(), r"cameras_test\.pkl is missing"),
        (lambda d: (d / "annotations/cameras_test.pkl").write_bytes(pickle.dumps({})), "has no camera TS1"),
        (lambda d: (d / "annotations/cameras_test.pkl").write_bytes(pickle.dumps([1])), r"test\.pkl cannot be read"),
        (lambda d: (d / "images/TS1_000002.jpg").unlink(), r"TS1_000002\.jpg: the image is missing"),
    ],
)
def test_broken_mmpose_downloads_are_named(mmpose_download, tmp_path, damage, message):
    damage(mmpose_download)
    with pytest.raises(UserError, match=message):
        toy.convert("mpi_inf_3dhp_mmpose", mmpose_download, tmp_path / "out", TRUSTED)
