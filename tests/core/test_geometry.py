import cv2
import numpy as np
import pytest

from keras_pose.core import geometry
from keras_pose.core.errors import UserError


def test_pixel_centers_are_halves():
    np.testing.assert_allclose(geometry.normalize_keypoints(np.array([3.5, 7.5]), (24, 16)), [3.5 / 16, 7.5 / 24])
    points = np.random.default_rng(0).uniform(0, 20, (5, 2))
    back = geometry.denormalize_keypoints(geometry.normalize_keypoints(points, (24, 16)), (24, 16))
    np.testing.assert_allclose(back, points, rtol=1e-6)


def test_crop_maps_its_corners_to_the_crop():
    affine = geometry.crop_affine(np.array([50.0, 80.0]), (40, 20), (128, 64))
    np.testing.assert_allclose(
        geometry.apply_affine(affine, np.array([[40.0, 60.0], [60.0, 100.0]])), [[0, 0], [64, 128]]
    )


@pytest.mark.parametrize("rotation", [0, 30, -120])
def test_affine_inverts(rotation):
    affine = geometry.crop_affine(np.array([50.0, 80.0]), (37, 23), (128, 64), rotation)
    points = np.random.default_rng(0).normal(0, 50, (4, 2))
    moved = geometry.apply_affine(affine, points)
    np.testing.assert_allclose(geometry.apply_affine(geometry.invert_affine(affine), moved), points, atol=1e-9)


def test_rotation_is_clockwise_on_the_screen():
    affine = geometry.crop_affine(np.array([0.0, 0.0]), (10, 10), (10, 10), 90)
    np.testing.assert_allclose(geometry.apply_affine(affine, np.array([1.0, 0.0])), [5, 6], atol=1e-9)


@pytest.mark.parametrize(("scale", "rotation"), [(1.0, 0), (2.0, 25), (0.5, -70)])
def test_warped_dots_land_where_the_affine_maps_them(scale, rotation):
    image = np.zeros((80, 120, 3), np.uint8)
    center = np.array([70.5, 33.5])
    cv2.circle(image, (70, 33), 4, (255, 255, 255), -1)
    affine = geometry.crop_affine(np.array([62.0, 41.0]), (48 / scale, 64 / scale), (48, 64), rotation)
    warped = geometry.warp_image(image, affine, (48, 64)).astype(float)[..., 0]
    ys, xs = np.mgrid[:48, :64] + 0.5
    found = np.array([(xs * warped).sum(), (ys * warped).sum()]) / warped.sum()
    np.testing.assert_allclose(found, geometry.apply_affine(affine, center), atol=0.15)


def test_a_warp_without_smoothing_is_opencvs():
    image = np.random.default_rng(0).integers(0, 256, (80, 120, 3)).astype(np.uint8)
    affine = geometry.crop_affine(np.array([62.0, 41.0]), (72, 96), (24, 32))
    in_indices = affine + np.array([[0, 0, affine[0, 0] / 2 - 0.5], [0, 0, affine[1, 1] / 2 - 0.5]])
    expected = cv2.warpAffine(image, in_indices, (32, 24))
    np.testing.assert_array_equal(geometry.warp_image(image, affine, (24, 32), smooth=False), expected)
    assert geometry.warp_image(image, affine, (24, 32)).std() < expected.std() / 2


def test_crop_intrinsics_project_into_the_crop():
    rng = np.random.default_rng(2)
    intrinsics = np.array([[1100, 0, 500], [0, 1150, 480], [0, 0, 1.0]])
    points = rng.normal(0, 500, (17, 3)) + [0, 0, 4000]
    affine = geometry.crop_affine(np.array([480.0, 510.0]), (400, 300), (256, 192), 33)
    direct = geometry.project_points(points, geometry.crop_intrinsics(intrinsics, affine))
    np.testing.assert_allclose(direct, geometry.apply_affine(affine, geometry.project_points(points, intrinsics)))


def test_box_crop_keeps_the_aspect_and_holds_the_box():
    center, (height, width) = geometry.box_crop(np.array([10, 20, 30, 120]), (256, 192), 1.25)
    assert height == pytest.approx(125) and width == pytest.approx(125 * 192 / 256)
    np.testing.assert_allclose(center, [20, 70])
    with pytest.raises(UserError, match="no valid keypoint"):
        geometry.keypoints_box(np.zeros((3, 2)), np.zeros(3))


@pytest.mark.parametrize("tangential", [(), (-0.0009, -0.0014)])
def test_distortion_is_opencvs_except_half_the_tangential_scale(tangential):
    """Human3.6M scales by p1 y + p2 x where OpenCV (Brown's formula) scales by twice that; the rest is the same."""
    points = np.random.default_rng(3).normal(0, 500, (20, 3)) + [0, 0, 4000]
    intrinsics = np.array([[1145.0, 0, 512], [0, 1143, 515], [0, 0, 1]])
    radial = (-0.2, 0.24, -0.002)
    p1, p2 = tangential or (0, 0)
    coefficients = np.array([*radial[:2], p1, p2, radial[2]])
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), intrinsics, coefficients)
    plane = points[:, :2] / points[:, 2:]
    excess = plane * (p1 * plane[:, 1:] + p2 * plane[:, :1]) * np.diag(intrinsics)[:2]
    camera = geometry.Camera(intrinsics, np.eye(3), np.zeros(3), radial, tangential)
    np.testing.assert_allclose(camera.project(points), expected[:, 0] - excess, atol=1e-6)


def test_camera_takes_world_to_camera():
    rotation, _ = cv2.Rodrigues(np.array([0.2, -0.5, 0.1]))
    camera = geometry.Camera(np.eye(3), rotation, np.array([10.0, 20.0, 3000.0]))
    world = np.random.default_rng(5).normal(0, 500, (7, 17, 3))
    np.testing.assert_allclose((camera.to_camera(world) - camera.translation_mm) @ rotation, world, atol=1e-9)
    relative = geometry.root_relative(world, 4)
    assert np.abs(relative[:, 4]).max() == 0
