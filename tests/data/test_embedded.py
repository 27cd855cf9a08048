"""The promises of the embedded data, checked on every example."""

import numpy as np
import pytest

from keras_pose.core import geometry
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data.dataset import open_dataset
from keras_pose.data.locate import NAMED_DATASETS
from keras_pose.data.pipeline import read_examples
from keras_pose.data.shards import SPLITS


@pytest.fixture(scope="module")
def examples():
    info = open_dataset("embedded")
    return {split: list(read_examples(info, split)) for split in SPLITS}


def test_it_is_small_and_names_its_origin():
    info = open_dataset("embedded")
    assert sum(path.stat().st_size for path in NAMED_DATASETS["embedded"].iterdir()) <= 25e6
    assert info.image_size == (128, 128) and info.skeleton == HUMAN36M_17
    manifest = info.parts[0].manifest
    assert manifest.generator["command"].startswith("python -m keras_pose.synthetic --")
    assert len(manifest.licences) == 4 and all(part["licence"] for part in manifest.licences)


def test_every_pose_projects_onto_its_keypoints(examples):
    for split in SPLITS:
        for example in examples[split]:
            projected = geometry.project_points(example.pose_3d_mm + example.root_position_mm, example.intrinsics)
            assert np.abs(projected - example.keypoints_2d_px).max() < 0.5, example.where()


def test_every_image_decodes_and_every_label_is_there(examples):
    for split in SPLITS:
        for example in examples[split]:
            assert example.decode_image().shape == (128, 128, 3)
            assert example.keypoint_valid.all() and example.pose_3d_valid.all()


def test_no_body_and_no_motion_is_in_two_splits(examples):
    for field in ("subject", "action"):
        values = [{getattr(e, field) for e in examples[split]} for split in SPLITS]
        assert not (values[0] & values[1] or values[0] & values[2] or values[1] & values[2]), field


def test_bones_are_of_the_body_not_of_the_pose(examples):
    """One body has the same bone lengths in every pose, and the same left and right."""
    lengths = {}
    for example in examples["train"]:
        bones = [np.linalg.norm(example.pose_3d_mm[c] - example.pose_3d_mm[p]) for p, c in HUMAN36M_17.bones]
        lengths.setdefault(example.subject, []).append(bones)
    assert len(lengths) > 100
    for subject, rows in lengths.items():
        assert np.ptp(rows, axis=0).max() < 0.1, subject
    left, right = zip(*HUMAN36M_17.symmetric_bones, strict=True)
    columns = {bone: i for i, bone in enumerate(HUMAN36M_17.bones)}
    rows = np.array([rows[0] for rows in lengths.values()])
    np.testing.assert_allclose(rows[:, [columns[b] for b in left]], rows[:, [columns[b] for b in right]], atol=0.1)


def test_people_turn_to_every_side(examples):
    """The hips' direction about the vertical is spread over the circle: no eighth of it is rare or common."""
    hips = [HUMAN36M_17.index(name) for name in ("right_hip", "left_hip")]
    across = np.array([e.pose_3d_mm[hips[1]] - e.pose_3d_mm[hips[0]] for e in examples["train"]])
    yaw = np.arctan2(across[:, 2], across[:, 0])
    shares = np.histogram(yaw, bins=8, range=(-np.pi, np.pi))[0] / len(yaw)
    assert shares.min() > 0.1 and shares.max() < 0.15
