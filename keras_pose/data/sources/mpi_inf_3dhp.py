"""MPI-INF-3DHP as its authors distribute it: training videos with annot.mat, test images with HDF5 labels.

    S1/Seq1/{annot.mat, camera.calibration, imageSequence/video_0.avi}      (also under train/)
    TS1/{annot_data.mat, imageSequence/img_000001.jpg}                      (also under test/, mpi_inf_3dhp_test_set/)

Poses are `annot3`: true size, camera frame, mm; they project onto `annot2`. (The authors' own scores use
`univ_annot3`, scaled to one body height.) As usual, S1 to S8 are for training and TS1 to TS6 for test; S8/Seq2 is held
out for validation. The cameras are the usual eight, without those at the ceiling. Frames with less than half of the
joints inside the image are left out.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import MPI_INF_3DHP_17
from keras_pose.data.example import PoseExample
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.data.sources import base
from keras_pose.data.sources.base import Item, Options, Source
from keras_pose.data.sources.crop import Person, crop_person, mostly_in_picture
from keras_pose.data.sources.mat_file import read_mat

TERMS = "MPI-INF-3DHP licence: non-commercial research only, no redistribution; vcai.mpi-inf.mpg.de/3dhp-dataset"
# The 17 joints of the test set among the 28 of the training set.
JOINTS_17_OF_28 = [7, 5, 14, 15, 16, 9, 10, 11, 23, 24, 25, 18, 19, 20, 4, 3, 6]
PELVIS = MPI_INF_3DHP_17.root
CAMERAS = (0, 1, 2, 4, 5, 6, 7, 8)
VALIDATION = ("S8", "Seq2")


def list_items(input_dir: Path, options: Options) -> list[Item | BadFrame]:
    train = next((d for d in (input_dir, input_dir / "train") if any(d.glob("S[1-8]/Seq[12]"))), None)
    tests = [input_dir, input_dir / "test", input_dir / "mpi_inf_3dhp_test_set"]
    test = next((d for d in tests if any(d.glob("TS*/annot_data.mat"))), None)
    if train is None and test is None:
        raise UserError(f"{input_dir} holds neither S*/Seq* nor TS*/annot_data.mat; extract the data set there")
    items = _train_items(train, options) if train else []
    for folder in sorted(test.glob("TS*")) if test else []:
        path = base.require(folder / "annot_data.mat", "the labels of a test sequence")
        chosen = [int(i) for i in np.flatnonzero(load_test(str(path))["valid"])[:: options.frame_step]]
        items.append(Item("test", folder.name, "", len(chosen), str(path), chosen))
    return items


def _train_items(folder: Path, options: Options) -> list[Item | BadFrame]:
    items = []
    for sequence in sorted(folder.glob("S[1-8]/Seq[12]")):
        subject, path = sequence.parent.name, base.require(sequence / "annot.mat", "the labels of a sequence")
        cameras = read_calibration(sequence / "camera.calibration")
        split = "validation" if (subject, sequence.name) == VALIDATION else "train"
        for index in CAMERAS:
            video = sequence / "imageSequence" / f"video_{index}.avi"
            if index not in cameras:
                raise UserError(f"{sequence / 'camera.calibration'} has no camera {index}; get the file again")
            frames = len(range(0, len(load_train(str(path))[index][0]), options.frame_step))
            if not video.exists():
                items += [BadFrame(str(video), "the video of a camera is missing; get it")] * frames
                continue
            data = {"video": str(video), "camera": index, "calibration": cameras[index]}
            items.append(Item(split, subject, sequence.name, frames, str(path), data))
    return items


def read_calibration(path: Path) -> dict[int, tuple[np.ndarray, tuple[int, int]]]:
    """Camera number -> ((3, 3) intrinsics, (height, width)) of a camera.calibration; UserError if missing or broken."""
    base.require(path, "the cameras of a sequence")
    cameras, number, size = {}, None, (0, 0)
    with base.reading(path):
        for line in path.read_text().splitlines():
            key, *values = line.split() or [""]
            if key == "name":
                number = int(values[0])
            elif key == "size":
                size = (int(values[1]), int(values[0]))
            elif key == "intrinsic":
                cameras[number] = (np.array(values, np.float64).reshape(4, 4)[:3, :3], size)
    return cameras


@lru_cache(maxsize=1)
def load_train(path: str) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Camera number -> ((T, 17, 2) pixels, (T, 17, 3) mm in its frame) of an annot.mat; UserError if it is broken."""
    labels, result = read_mat(path, ("annot2", "annot3")), {}
    with base.reading(path):
        for index in CAMERAS:
            pixels, poses = (np.asarray(labels[name].ravel()[index], np.float64) for name in ("annot2", "annot3"))
            base.check_shape(pixels, (None, 56), f"{path}: annot2 of camera {index}")
            base.check_shape(poses, (len(pixels), 84), f"{path}: annot3 of camera {index}")
            pixels, poses = pixels.reshape(-1, 28, 2)[:, JOINTS_17_OF_28], poses.reshape(-1, 28, 3)[:, JOINTS_17_OF_28]
            base.check_millimetres(poses, PELVIS, path)
            result[index] = (pixels, poses)
    return result


@lru_cache(maxsize=1)
def load_test(path: str) -> dict[str, np.ndarray]:
    """`pixels` (T, 17, 2), `poses` (T, 17, 3) mm, `valid` (T,) and the fitted `intrinsics` of an annot_data.mat."""
    h5py = base.optional_import("h5py")
    with base.reading(path), h5py.File(path, "r") as file:
        pixels = np.array(file["annot2"], np.float64).reshape(-1, 17, 2)
        poses = np.array(file["annot3"], np.float64).reshape(-1, 17, 3)
        valid = np.array(file["valid_frame"]).ravel() > 0
        if not len(pixels) == len(poses) == len(valid):
            raise UserError(f"{path}: annot2, annot3 and valid_frame have different lengths; get it again")
        base.check_millimetres(poses[valid], PELVIS, path)
        intrinsics = fit_intrinsics(pixels[valid], poses[valid])
    return {"pixels": pixels, "poses": poses, "valid": valid, "intrinsics": intrinsics}


def fit_intrinsics(pixels: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """The (3, 3) intrinsics without skew that best project (T, J, 3) `poses` onto (T, J, 2) `pixels`.

    A least-squares fit of f X + c Z = u Z, and the same for y; the test set comes without its cameras.
    """
    good = np.isfinite(pixels).all(-1) & np.isfinite(poses).all(-1)
    pixels, poses = pixels[good], poses[good]
    rows = [np.linalg.lstsq(poses[:, [i, 2]], pixels[:, i] * poses[:, 2], rcond=None)[0] for i in (0, 1)]
    return np.array([[rows[0][0], 0, rows[0][1]], [0, rows[1][0], rows[1][1]], [0, 0, 1]])


def read_item(item: Item, options: Options) -> Iterator[PoseExample | BadFrame]:
    target = SOURCE.target_skeleton(options)
    for frame, where, picture, size, person in _test_people(item) if item.split == "test" else _people(item, options):
        if picture is None:
            yield BadFrame(where, base.NO_PICTURE)
            continue
        base.check_picture_size(picture, size or picture.shape[:2], where)
        if mostly_in_picture(person.keypoints_px, picture):
            person.tags = {"source": SOURCE.name, "subject": item.subject, "action": item.action, "frame": frame}
            yield crop_person(picture, person, MPI_INF_3DHP_17, target, options)


def _people(item: Item, options: Options) -> Iterator[tuple]:
    pixels, poses = load_train(item.file)[item.data["camera"]]
    intrinsics, size = item.data["calibration"]
    frames = list(range(0, len(pixels), options.frame_step))
    for frame, picture in base.read_video(item.data["video"], frames):
        person = Person(pixels[frame], np.ones(17, bool), camera_mm=poses[frame], intrinsics=intrinsics)
        yield frame, f"{item.data['video']} frame {frame}", picture, size, person


def _test_people(item: Item) -> Iterator[tuple]:
    labels = load_test(item.file)
    for frame in item.data:
        path = Path(item.file).parent / "imageSequence" / f"img_{frame + 1:06d}.jpg"
        person = Person(labels["pixels"][frame], np.ones(17, bool), camera_mm=labels["poses"][frame])
        person.intrinsics = labels["intrinsics"]
        yield frame, str(path), base.read_picture(path), None, person


SOURCE = Source(
    name="mpi_inf_3dhp",
    summary="the data set's own files: S*/Seq*/{annot.mat,camera.calibration,imageSequence} and the test set's TS*.",
    terms=TERMS,
    skeleton=MPI_INF_3DHP_17,
    list_items=list_items,
    read_item=read_item,
)
