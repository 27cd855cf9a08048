"""Readers of foreign files: for any bytes, a reader returns or raises UserError."""

import functools
import json

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.data.sources import (
    human36m,
    human36m_challenge,
    human36m_common,
    human36m_moon,
    human36m_videopose3d,
    mmpose_common,
    mpi_inf_3dhp,
)
from keras_pose.data.sources.crop import Person, crop_person
from tests.data.sources import test_human36m, test_mpi_inf_3dhp, toy

quick = settings(
    max_examples=40, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 40) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def reads_or_complains(read, *arguments):
    getattr(read, "cache_clear", lambda: None)()
    try:
        read(*arguments)
    except UserError as error:
        assert "\n" not in str(error)


def mat_file(path):
    test_mpi_inf_3dhp.write_annot(path, test_mpi_inf_3dhp.TRAIN)


def hdf5_file(path):
    with h5py.File(path, "w") as file:
        for name, size in (("annot2", 2), ("annot3", 3)):
            file[name] = 10 * np.arange(2.0 * 17 * size).reshape(2, 1, 17, size)
        file["valid_frame"] = np.ones((2, 1))


def npz_file(path):
    ones = np.ones((2, 17, 1))
    pose = np.random.default_rng(0).normal(0, 0.3, (2, 17, 3)) + [0, 0, 4]
    np.savez(path, imgname=np.array(["a", "b"]), part=np.ones((2, 17, 3)), S=np.concatenate([pose, ones], -1))


def cdf_file(path):
    test_human36m.write_cdf(path, toy.people(2, 32))


def xml_file(path):
    test_human36m.write_metadata(path.parent)


def csv_file(path):
    np.savetxt(path, toy.people(1, 17)[0], delimiter=",")


def calibration_file(path):
    path.write_text(test_mpi_inf_3dhp.calibration())


def python_file(path):
    path.write_text("h36m_cameras_intrinsic_params = [{'id': '1'}]\nh36m_cameras_extrinsic_params = {'S1': [{}]}\n")


def as_path(read):
    return lambda path: read(str(path))


READERS = {
    "annot.mat": (mat_file, mpi_inf_3dhp.load_train, str),
    "annot_data.mat": (hdf5_file, mpi_inf_3dhp.load_test, str),
    "h36m_train.npz": (npz_file, functools.partial(mmpose_common.load, root=0), str),
    "pose.cdf": (cdf_file, human36m.read_poses, None),
    "metadata.xml": (xml_file, human36m.read_cameras, None),
    "00001.csv": (csv_file, human36m_challenge.read_pose, None),
    "camera.calibration": (calibration_file, mpi_inf_3dhp.read_calibration, None),
    "h36m_dataset.py": (python_file, human36m_videopose3d.read_cameras, None),
}


@pytest.mark.parametrize("name", READERS)
@quick
@given(data=st.data())
def test_damaged_files_are_reported(name, tmp_path, data):
    """A good file that is cut, or has some bytes replaced; or bytes that never were one."""
    write, read, convert = READERS[name]
    good = tmp_path / "good" / name
    if not good.exists():
        good.parent.mkdir()
        write(good)
    content = bytearray(good.read_bytes())
    kind = data.draw(st.sampled_from(["cut", "changed", "foreign"]))
    if kind == "cut":
        content = content[: data.draw(st.integers(0, len(content)))]
    elif kind == "changed":
        places = st.tuples(
            st.integers(0, len(content) - 1) | st.integers(0, min(400, len(content) - 1)), st.integers(0, 255)
        )
        for place, value in data.draw(st.lists(places, min_size=1, max_size=6)):
            content[place] = value
    else:
        content = data.draw(st.binary(max_size=300))
    damaged = tmp_path / name
    damaged.write_bytes(bytes(content))
    reads_or_complains(read, convert(damaged) if convert else damaged)


@quick
@given(text=st.text(st.sampled_from("0123456789.,-einfa\n "), max_size=400))
def test_csv_text(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    reads_or_complains(human36m_challenge.read_pose, tmp_path / "a.csv")


@quick
@given(values=JSON, kind=st.sampled_from(["data", "camera", "joint_3d"]), where=st.integers(0, 3))
def test_json_of_any_content(tmp_path, values, kind, where):
    """Whole files, and single fields of an otherwise good one."""
    image = {"id": 1, "file_name": "a.jpg", "width": 9, "height": 9, "action_idx": 2, "subaction_idx": 1, "cam_idx": 1}
    good = {
        "data": {"images": [image | {"frame_idx": 0}], "annotations": [{"image_id": 1, "bbox": [0, 0, 9, 9]}]},
        "camera": {"1": {"R": np.eye(3).tolist(), "t": [0, 0, 0], "f": [1, 1], "c": [1, 1]}},
        "joint_3d": {"2": {"1": {"0": toy.people(1, 17)[0].tolist()}}},
    }
    if where:
        part = good[kind]
        for _ in range(where):
            key = next(iter(part)) if isinstance(part, dict) else 0
            last, part = part, part[key]
        last[key] = values
    else:
        good[kind] = values
    (tmp_path / "annotations").mkdir(exist_ok=True)
    for name, content in good.items():
        (tmp_path / "annotations" / f"Human36M_subject1_{name}.json").write_text(json.dumps(content))

    def read(folder):
        human36m_moon.load.cache_clear()
        for item in human36m_moon.list_items(folder, toy.SMALL):
            if isinstance(item, BadFrame):
                continue
            list(human36m_moon.read_item(item, toy.SMALL))

    reads_or_complains(read, tmp_path)


@quick
@given(table=JSON)
def test_poses_of_any_content(tmp_path, table):
    np.savez(tmp_path / "a.npz", positions_3d=np.array(table, object))
    reads_or_complains(human36m_videopose3d.load_poses, str(tmp_path / "a.npz"), True)


LABELS = st.floats(width=32) | st.floats(-2000, 2000)


@quick
@given(
    pixels=hnp.arrays(np.float64, (17, 2), elements=LABELS),
    camera_mm=hnp.arrays(np.float64, (17, 3), elements=LABELS | st.floats(1000, 4000)),
    valid=hnp.arrays(bool, 17),
)
def test_labels_of_any_size_give_a_good_example_or_a_bad_frame(pixels, camera_mm, valid):
    camera = toy.look_at([0, -5000, 1000])
    person = Person(pixels, valid, camera_mm=camera_mm)
    person.intrinsics = human36m_common.local_intrinsics(camera, camera_mm)
    person.tags = {"source": "fuzz", "subject": "", "action": "", "frame": 0}
    picture = np.zeros((40, 50, 3), np.uint8)
    result = crop_person(picture, person, HUMAN36M_17, HUMAN36M_17, toy.SMALL)
    if not isinstance(result, BadFrame):
        reads_or_complains(result.validate)
        assert np.isfinite(result.keypoints_2d_px).all()
