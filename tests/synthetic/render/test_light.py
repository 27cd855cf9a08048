"""Panoramas, their light, and the shading of known geometry."""

import base64

import cv2
import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.core.geometry import Camera
from keras_pose.synthetic.render.camera import camera_position, look_at
from keras_pose.synthetic.render.light import Light, cast_shadows
from keras_pose.synthetic.render.mesh import Material, Mesh
from keras_pose.synthetic.render.panorama import (
    directions,
    drawn_panorama,
    irradiance_basis,
    list_panoramas,
    load_panorama,
    make_panorama,
    sky_irradiance,
)
from keras_pose.synthetic.render.raster import rasterize, to_homogeneous_pixels
from keras_pose.synthetic.render.shade import join_meshes, shade, tone
from keras_pose.synthetic.scene.props import _box

SIZE = (40, 64)
WHITE = np.full((2, 2, 3), 255, np.uint8)


def camera_from(position_mm, target_mm=(0.0, 0.0, 0.0), focal=60.0):
    rotation = look_at(np.array(position_mm, float), np.array(target_mm, float))
    intrinsics = np.array([[focal, 0, SIZE[1] / 2], [0, focal, SIZE[0] / 2], [0, 0, 1]])
    return Camera(intrinsics, rotation, -rotation @ np.array(position_mm, float))


def mesh_of(vertices, faces, texture=WHITE):
    faces = np.array(faces, np.int32)
    uv = np.zeros((len(faces), 3, 2), np.float32)
    return Mesh(np.array(vertices, np.float32), faces, uv, np.zeros(len(faces), np.int32), [Material(texture)])


def picture(meshes, camera, sun_direction, sky=0.0):
    """The linear image under one white sun and a uniform sky, over black."""
    direction = np.array(sun_direction, np.float32) / np.linalg.norm(sun_direction)
    skylight = np.zeros((9, 3), np.float32)
    skylight[0] = sky
    light = Light(skylight, direction.astype(np.float32), np.ones(3, np.float32), 1.0)
    solids = join_meshes(meshes)
    raster = rasterize(to_homogeneous_pixels(solids.vertices_mm, camera, 2.0), solids.faces, (2 * SIZE[0], 2 * SIZE[1]))
    shadows = cast_shadows(solids.vertices_mm, solids.faces, light, np.zeros(3), 1500.0, 256)
    background = np.zeros((*SIZE, 3), np.float32)
    return shade(raster, solids, background, light, shadows, camera_position(camera))


def color_at(image, camera, point_mm):
    x, y = camera.project(camera.to_camera(np.array(point_mm, float))).astype(int)
    return image[y, x, 0]


def test_a_cube_is_bright_on_the_side_of_the_sun():
    vertices, faces, _ = _box()
    camera = camera_from([1500, 0, 1500])
    image = picture([mesh_of(vertices * 400, faces)], camera, [1, 0, 0.2])
    towards, away = color_at(image, camera, [400, 0, 150]), color_at(image, camera, [150, 0, 400])
    assert towards == pytest.approx(tone(1 / np.hypot(1, 0.2) / np.pi), abs=0.01)
    assert away == pytest.approx(tone(0.2 / np.hypot(1, 0.2) / np.pi), abs=0.01)


def test_both_sides_of_cloth_take_the_light_of_their_own_side():
    """A sheet lit from the viewer's side is bright whichever way its triangles turn; lit from behind it is dark."""
    sheet = [[-300, -300, 0], [300, -300, 0], [300, 300, 0], [-300, 300, 0]]
    camera = camera_from([0, 0, 1200])
    for faces in ([[0, 1, 2], [0, 2, 3]], [[0, 2, 1], [0, 3, 2]]):
        lit = color_at(picture([mesh_of(sheet, faces)], camera, [0, 0, 1]), camera, [0, 0, 0])
        behind = color_at(picture([mesh_of(sheet, faces)], camera, [0, 0, -1]), camera, [0, 0, 0])
        assert lit > 0.2 and behind == 0


def test_a_thing_before_the_sun_casts_a_shadow():
    floor = mesh_of(
        [[-900, -400, -900], [-900, -400, 900], [900, -400, 900], [900, -400, -900]], [[0, 1, 2], [0, 2, 3]]
    )
    vertices, faces, _ = _box()
    cube = mesh_of(vertices * 200, faces)
    camera = camera_from([0, 1800, 300])
    image = picture([floor, cube], camera, [-1, 1, 0])
    assert color_at(image, camera, [400, -400, 0]) == 0  # the cube's shadow falls to +x
    assert color_at(image, camera, [-600, -400, 0]) > 0.15


def test_texture_coordinates_start_at_the_first_pixel():
    texture = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    sheet = mesh_of([[-300, -300, 0], [300, -300, 0], [300, 300, 0], [-300, 300, 0]], [[0, 1, 2], [0, 2, 3]], texture)
    corners = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)  # v runs down, y up
    sheet.uv[:] = corners[sheet.faces]
    camera = camera_from([0, 0, 1200])
    image = picture([sheet], camera, [0, 0, 1])
    for point, strongest in (([-150, 150, 0], [0]), ([150, 150, 0], [1]), ([-150, -150, 0], [2])):
        x, y = camera.project(camera.to_camera(np.array(point, float))).astype(int)
        assert np.flatnonzero(image[y, x] > 0.1).tolist() == strongest


def test_irradiance_of_a_uniform_sky_is_pi():
    coefficients = sky_irradiance(np.ones((64, 128, 3), np.float32))
    normals = np.random.default_rng(0).normal(size=(20, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    assert np.allclose(irradiance_basis(normals) @ coefficients, np.pi, rtol=2e-3)


def test_irradiance_matches_the_integral():
    """Against the sum over all directions of radiance times cosine; the third band is left out, hence 5 %."""
    vectors, solid_angle = directions(64, 128)
    radiance = np.repeat((1 + vectors[..., :1] * 0.5 + vectors[..., 1:2] * vectors[..., 2:] * 0.4), 3, axis=2)
    for normal in np.concatenate([np.eye(3), -np.eye(3), np.full((1, 3), 3**-0.5)]):
        direct = (radiance[..., 0] * solid_angle * np.maximum(vectors @ normal, 0)).sum()
        assert irradiance_basis(normal) @ sky_irradiance(radiance)[:, 0] == pytest.approx(direct, rel=0.05)


def test_the_sun_is_found_where_it_is():
    vectors, _ = directions(64, 128)
    towards = np.array([0.6, 0.5, -0.62])
    towards /= np.linalg.norm(towards)
    pixels = np.where((vectors @ towards > 0.99)[..., None], 500.0, 1.0) * np.ones(3)
    panorama = make_panorama("sun", pixels)
    assert panorama.sun_direction @ towards > 0.99
    assert panorama.sun.min() > 0.5
    assert make_panorama("clouds", np.ones((64, 128, 3))).sun.max() < 1e-5


def write_exr(path, pixels):
    openexr = pytest.importorskip("OpenEXR", reason="reading .exr needs OpenEXR")
    openexr.File({"type": openexr.scanlineimage}, {"RGB": pixels.astype(np.float32)}).write(str(path))


def test_reads_exr_hdr_and_javascript(tmp_path):
    pixels = np.random.default_rng(0).uniform(0.1, 2, (16, 32, 3)).astype(np.float32)
    write_exr(tmp_path / "a.exr", pixels)
    encoded = base64.b64encode((tmp_path / "a.exr").read_bytes()).decode()
    (tmp_path / "b.exr.js").write_text(f"export default 'data:application/exr;base64,{encoded}'")
    cv2.imwrite(str(tmp_path / "c.hdr"), pixels[..., ::-1])
    (tmp_path / "notes.txt").write_text("not a panorama")
    read = [load_panorama(path) for path in list_panoramas(str(tmp_path))]
    assert [panorama.name for panorama in read] == ["a", "b", "c"]
    scale = read[0].radiance.mean() / pixels.mean()
    for panorama in read:
        assert np.allclose(panorama.radiance / scale, pixels, rtol=0.03, atol=0.02)


@pytest.mark.parametrize("name", ["broken.exr", "broken.hdr", "broken.exr.js"])
def test_an_unreadable_panorama_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"export default 'data:application/exr;base64,AAAA'")
    with pytest.raises(UserError, match=name):
        load_panorama(tmp_path / name)


def test_a_folder_without_panoramas_is_named(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match="--panoramas"):
            list_panoramas(str(folder))


def test_drawn_panoramas_differ_and_repeat():
    first, again, other = (drawn_panorama("p", np.random.default_rng(seed)).radiance for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.isfinite(first).all() and (first >= 0).all()
