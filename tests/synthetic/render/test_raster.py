"""The rasterizer on geometry with known answers."""

import numpy as np
import pytest

from keras_pose.core.geometry import Camera
from keras_pose.synthetic.render.raster import (
    NEAR_MM,
    rasterize,
    rasterize_depth,
    smooth_normals,
    to_homogeneous_pixels,
)
from keras_pose.synthetic.scene.props import _box

HEIGHT, WIDTH, FOCAL = 48, 64, 100.0
# At the origin, looking along +z with y down: camera coordinates are world coordinates.
CAMERA = Camera(np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]]), np.eye(3), np.zeros(3))


def draw(vertices, faces, size=(HEIGHT, WIDTH), scale=1.0):
    return rasterize(to_homogeneous_pixels(np.array(vertices, float), CAMERA, scale), np.array(faces, np.int32), size)


def square(z, half, x=0.0, y=0.0):
    return [[x - half, y - half, z], [x + half, y - half, z], [x + half, y + half, z], [x - half, y + half, z]]


QUAD = [[0, 1, 2], [0, 2, 3]]


def test_silhouette_of_a_cube():
    vertices, faces, _ = _box()
    raster = draw(vertices * 100 + [0, 0, 1100], faces)  # its front at z = 1000 covers 20 x 20 pixels
    seen = raster.face >= 0
    assert seen.sum() == 20 * 20
    rows, columns = np.nonzero(seen)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (14, 33, 22, 41)
    assert np.allclose(raster.depth_mm[seen], 1000.0, atol=0.01)
    assert np.isinf(raster.depth_mm[~seen]).all()


@pytest.mark.parametrize("order", [1, -1])
def test_the_nearer_of_two_squares_is_seen_in_any_order(order):
    squares = [square(1000, 50), square(800, 20, x=10)][::order]
    raster = draw(np.concatenate(squares), QUAD + [[i + 4 for i in face] for face in QUAD])
    center = raster.depth_mm[HEIGHT // 2, WIDTH // 2 + 1]
    assert center == pytest.approx(800, abs=0.01)
    assert raster.depth_mm[HEIGHT // 2, WIDTH // 2 - 4] == pytest.approx(1000, abs=0.01)


def test_shared_edges_leave_no_gap():
    raster = draw(square(500, 2000), QUAD)
    assert (raster.face >= 0).all()


def test_weights_are_perspective_correct():
    """On a floor that runs away, weights give back the 3D point that a pixel sees."""
    vertices = np.array([[-400, 80, 200], [400, 80, 200], [0, 80, 3000]], float)
    raster = draw(vertices, [[0, 1, 2]])
    rows, columns = np.nonzero(raster.face >= 0)
    assert len(rows) > 200
    first, second = raster.barycentric[rows, columns].T
    points = np.stack([first, second, 1 - first - second], -1) @ vertices
    pixels = CAMERA.project(points)
    assert np.abs(pixels - np.stack([columns + 0.5, rows + 0.5], -1)).max() < 1e-3
    assert np.allclose(points[:, 2], raster.depth_mm[rows, columns], rtol=1e-4)


def test_a_triangle_through_the_camera_plane_fills_what_lies_before_it():
    """A floor from behind the camera to the horizon covers exactly the rows below it, none mirrored above."""
    raster = draw([[-9000, 50, -5000], [9000, 50, -5000], [0, 50, 900000]], [[0, 1, 2]])
    seen = raster.face >= 0
    assert not seen[: HEIGHT // 2].any()
    assert seen[HEIGHT // 2 + 1 :, WIDTH // 2].all()
    assert raster.depth_mm[HEIGHT - 1, 0] == pytest.approx(50 * FOCAL / (HEIGHT / 2 - 0.5), rel=1e-3)


def test_nothing_nearer_than_the_near_plane_and_nothing_behind():
    assert (draw(square(NEAR_MM - 1, 500), QUAD).face < 0).all()
    assert (draw(square(-1000, 500), QUAD).face < 0).all()


def test_triangles_off_the_screen_draw_nothing_and_break_nothing():
    for x in (-1e7, 1e7):
        assert (draw(square(1000, 50, x=x), QUAD).face < 0).all()
    assert (draw([[0, 0, 100]] * 3, [[0, 1, 2]]).face < 0).all()  # no area


def test_scale_draws_the_same_image_larger():
    raster = draw(square(1000, 100), QUAD, (2 * HEIGHT, 2 * WIDTH), scale=2.0)
    assert (raster.face >= 0).sum() == 4 * 20 * 20


def test_depth_alone_equals_the_full_raster():
    vertices, faces, _ = _box()
    homogeneous = to_homogeneous_pixels(vertices * [100, 60, 80] + [30, 0, 700], CAMERA)
    full = rasterize(homogeneous, faces, (HEIGHT, WIDTH))
    assert np.array_equal(full.depth_mm, rasterize_depth(homogeneous, faces, (HEIGHT, WIDTH)))


def test_normals_of_a_cube_point_outward():
    vertices, faces, _ = _box()
    normals = smooth_normals(vertices, faces)
    assert np.allclose(np.abs(normals).max(-1), 1.0, atol=1e-6)  # corners are not shared, so each is one face's
    assert (np.einsum("vc,vc->v", normals, vertices) > 0.99).all()
