"""Human3.6M in MMPose's form: npz, images and a pickle of cameras."""

import pickle

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.data.sources.base import Options
from tests.data.sources import toy

TRUSTED = Options(image_size=(96, 64), allow_pickle=True)
SIZE = (1002, 1000)
CAMERA = toy.look_at([4000, -3000, 1500])
SEQUENCES = {
    "train": [("S1", "TakingPhoto 1"), ("S8", "Eating"), ("S8", "Directions")],
    "test": [("S9", "Greeting"), ("S11", "Walking")],
}


def write_download(folder, frames=3):
    folder.mkdir()
    world = toy.to_17(toy.people(frames, 32, seed=7))
    camera_mm = CAMERA.to_camera(world)
    pixels = CAMERA.project(camera_mm)
    cameras = {}
    for part, sequences in SEQUENCES.items():
        names = []
        for subject, sequence in sequences:
            stem = f"{subject}_{sequence.replace(' ', '_')}.54138969"
            for t in range(frames):
                names.append(f"{subject}/{stem}/{stem}_{5 * t + 1:06d}.jpg")
                toy.write_picture(folder / "images" / names[-1], toy.picture(SIZE, pixels[t, toy.SHOWN]))
            cameras[subject, "54138969"] = mmpose_camera()
        write_npz(folder / f"annotation_body3d/fps10/h36m_{part}.npz", names, camera_mm, pixels)
    (folder / "annotation_body3d/cameras.pkl").write_bytes(pickle.dumps(cameras))
    return camera_mm, pixels


def mmpose_camera():
    """Its rotation is the transpose, columns are (n, 1), translations meters."""
    k, p = np.array(toy.RADIAL)[:, None], np.array(toy.TANGENTIAL)[:, None]
    position = -CAMERA.rotation.T @ CAMERA.translation_mm / 1000
    f, c = CAMERA.intrinsics[[0, 1], [0, 1]][:, None], CAMERA.intrinsics[:2, 2:]
    values = {"R": CAMERA.rotation.T, "T": position[:, None], "c": c, "f": f, "k": k, "p": p, "w": 1000, "h": 1002}
    return values | {"name": "camera1", "id": "54138969"}


def write_npz(path, names, camera_mm, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    repeat = len(names) // len(camera_mm)
    ones = np.ones((*camera_mm.shape[:2], 1))
    np.savez(
        path,
        imgname=np.array(names),
        center=np.tile(pixels.mean(1), (repeat, 1)),
        scale=np.tile(np.full(len(pixels), 3.0), repeat),
        part=np.tile(np.concatenate([pixels, ones], -1), (repeat, 1, 1)),
        S=np.tile(np.concatenate([camera_mm / 1000, ones], -1), (repeat, 1, 1)),
    )


@pytest.fixture
def download(tmp_path):
    return tmp_path / "in", *write_download(tmp_path / "in")


def test_joints_project_onto_the_image(download, tmp_path):
    folder, camera_mm, pixels = download
    examples = toy.convert("human36m_mmpose", folder, tmp_path / "out", TRUSTED)
    assert {split: len(part) for split, part in examples.items()} == {"train": 6, "validation": 3, "test": 6}
    for t, example in enumerate(examples["train"][:3]):
        toy.assert_projects(example, camera_mm[t], pixels[t], lens=True)
        toy.assert_shows(example)
        assert (example.subject, example.action, example.frame) == ("S1", "Photo", 5 * t)


def test_known_bad_sequences_can_be_dropped(download, tmp_path):
    options = Options((64, 64), allow_pickle=True, drop_bad_sequences=True, frame_step=3)
    examples = toy.convert("human36m_mmpose", download[0], tmp_path / "out", options)
    assert [(e.subject, e.frame) for e in examples["test"]] == [("S11", 0)]


def test_pickle_needs_consent(download, tmp_path):
    with pytest.raises(UserError, match=r"cameras\.pkl is pickled.*--allow_pickle"):
        toy.convert("human36m_mmpose", download[0], tmp_path / "out")


def test_a_missing_image_is_listed(download, tmp_path):
    (download[0] / "images/S8/S8_Eating.54138969/S8_Eating.54138969_000006.jpg").write_bytes(b"half")
    with pytest.raises(UserError, match=r"S8_Eating\.54138969_000006\.jpg: the image is missing or damaged"):
        toy.convert("human36m_mmpose", download[0], tmp_path / "out", TRUSTED)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "annotation_body3d").rename(d / "annotations"), "annotation_body3d is missing"),
        (lambda d: (d / "annotation_body3d/cameras.pkl").write_bytes(b"\x80"), r"cameras\.pkl cannot be read"),
        (lambda d: (d / "annotation_body3d/cameras.pkl").write_bytes(pickle.dumps({})), "has no camera 54138969 of S1"),
        (lambda d: rewrite(d, S=lambda s: s * [1000, 1000, 1000, 1]), "from meters: in frame 0 .* no person"),
        (lambda d: rewrite(d, S=lambda s: s[:, :16]), r"S has shape \(9, 16, 4\), not any x 17 x 4"),
        (lambda d: rewrite(d, part=lambda p: p[:3]), r"its arrays have \[3, 9\] entries"),
        (lambda d: rewrite(d, part=lambda p: p * np.nan), r"h36m_train\.npz: S1/Photo/0: a label is NaN"),
        (lambda d: rewrite(d, imgname=lambda n: np.full(9, "a.jpg")), "image name 'a.jpg' is not like"),
        (lambda d: rewrite(d, imgname=lambda n: n.astype(object)), "is pickled, which can run code"),
        (lambda d: npz(d).write_bytes(npz(d).read_bytes()[:300]), r"h36m_train\.npz cannot be read"),
    ],
)
def test_broken_downloads_are_named(download, tmp_path, damage, message):
    damage(download[0])
    with pytest.raises(UserError, match=message):
        toy.convert("human36m_mmpose", download[0], tmp_path / "out", TRUSTED)


def npz(folder):
    return folder / "annotation_body3d/fps10/h36m_train.npz"


def rewrite(folder, **changes):
    arrays = dict(np.load(npz(folder)))
    np.savez(npz(folder), **{name: changes.get(name, lambda a: a)(array) for name, array in arrays.items()})
