"""What BlazePose's outputs mean: crops that follow, and world landmarks in camera axes."""

import numpy as np
import pytest

from keras_pose.core import geometry
from keras_pose.core.skeleton import BLAZEPOSE_18
from keras_pose.data.teachers import blazepose
from keras_pose.data.teachers.crop import Crop


@pytest.mark.parametrize("lean", [-150, -60, 0, 30, 170])
def test_the_next_crop_is_upright_and_holds_the_person(lean):
    angle = np.deg2rad(lean)
    hips = np.array([80.0, 90])
    above = hips + 50 * np.array([np.sin(angle), -np.cos(angle)])
    crop = blazepose.crop_around(hips, above)
    inside = geometry.apply_affine(crop.affine(256), np.stack([hips, above]))
    np.testing.assert_allclose(inside, [[128, 128], [128, 128 - 128 / blazepose.CROP_MARGIN]], atol=1e-6)


def test_world_landmarks_turn_back_with_the_crop():
    """The same person before a turned crop and an upright one has the same pose."""
    rng = np.random.default_rng(1)
    metres = np.concatenate([rng.normal(0, 0.4, (39, 2)), np.zeros((39, 1))], 1)
    poses = []
    for degrees in (0.0, 50.0):
        crop = Crop(np.array([100.0, 80]), 200.0, degrees)
        in_crop = (metres[:, :2] * 100) @ crop.affine(256)[:, :2].T + 128
        turned = np.concatenate([metres[:, :2] @ (crop.affine(256)[:, :2] * 200 / 256).T, metres[:, 2:]], 1)
        values = np.concatenate([in_crop, np.zeros((39, 3))], 1)
        found = blazepose.read_landmarks(values.ravel(), np.ones(1), turned.ravel(), crop)
        poses.append(found.pose_mm)
        moved = found.keypoints_px - found.keypoints_px[0]
        np.testing.assert_allclose(found.pose_mm[:, :2] / 10, moved, atol=1e-6)
    np.testing.assert_allclose(*poses, atol=1e-6)
    assert np.abs(poses[0][BLAZEPOSE_18.root]).max() == 0
