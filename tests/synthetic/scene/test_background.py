"""The background: the horizon, floors, walls, and the dark spots under what stands on the floor."""

from dataclasses import replace

import numpy as np
import pytest

from keras_pose.core.geometry import Camera
from keras_pose.synthetic.render.camera import look_at
from keras_pose.synthetic.render.light import Light, ShadowMap
from keras_pose.synthetic.render.panorama import directions, make_panorama
from keras_pose.synthetic.render.raster import Raster
from keras_pose.synthetic.render.shade import tone
from keras_pose.synthetic.scene.background import Backdrop, draw_backdrop, sample_backdrop
from keras_pose.synthetic.scene.surfaces import SIZE, Surfaces, draw_surfaces

HEIGHT, WIDTH = 60, 80
SKYLIGHT = np.concatenate([np.full((1, 3), np.pi), np.zeros((8, 3))]).astype(np.float32)
LIGHT = Light(SKYLIGHT, np.array([0, 1, 0], np.float32), np.zeros(3, np.float32), 1.0)
NO_SHADOWS = ShadowMap(np.full((4, 4), np.inf, np.float32), np.eye(3, 4, dtype=np.float32))


def camera_at(pitch_deg=0.0, height_mm=1500.0, yaw_deg=0.0):
    pitch, yaw = np.deg2rad(pitch_deg), np.deg2rad(yaw_deg)
    position = np.array([0.0, height_mm, 0.0])
    forward = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), -np.cos(yaw) * np.cos(pitch)])
    rotation = look_at(position, position + forward)
    intrinsics = np.array([[100.0, 0, WIDTH / 2], [0, 100.0, HEIGHT / 2], [0, 0, 1]])
    return Camera(intrinsics, rotation, -rotation @ position)


@pytest.fixture(scope="module")
def panorama():
    """White above the horizon, nearly black below."""
    vectors, _ = directions(128, 256)
    return make_panorama("half", np.where(vectors[..., 1:2] > 0, 1.0, 0.01) * np.ones(3))


@pytest.fixture(scope="module")
def surfaces():
    """Surface 0 is red, surface 1 blue."""
    plain = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    plain[0, ..., 0] = plain[1, ..., 2] = 255
    drawn = draw_surfaces(0, 2)
    texels = np.concatenate([plain[:, : SIZE >> k, : SIZE >> k].reshape(-1) for k in range(len(drawn.level_start))])
    return Surfaces(plain, texels, drawn.level_start)


@pytest.fixture
def backdrop(panorama):
    return Backdrop(
        panorama=panorama,
        zoom=1.0,
        box_mm=np.array([-3000, 3000, 0, 4000, -5000, 5000], np.float32),
        surface=np.full(6, -1, np.int32),
        tint=np.ones((6, 3), np.float32),
        repeat_mm=np.full(6, 1000, np.float32),
        grain=0,
        grain_strength=0.0,
        contacts_mm=np.zeros((0, 4), np.float32),
    )


def draw(backdrop, surfaces, camera, covered=None):
    face = np.full((2 * HEIGHT, 2 * WIDTH), -1, np.int32)
    if covered is not None:
        face[covered] = 0
    raster = Raster(face, np.full(face.shape, np.inf, np.float32), np.zeros((*face.shape, 2), np.float32))
    return draw_backdrop(backdrop, surfaces, camera, raster, LIGHT, NO_SHADOWS)


@pytest.mark.parametrize("zoom", [1.0, 3.0])
@pytest.mark.parametrize("pitch_deg", [-10.0, 0.0, 8.0])
def test_the_horizon_stays_in_its_place_whatever_the_zoom(backdrop, surfaces, zoom, pitch_deg):
    image = draw(replace(backdrop, zoom=zoom), surfaces, camera_at(pitch_deg, yaw_deg=130))[:, WIDTH // 2, 0]
    horizon = HEIGHT / 2 + 100 * np.tan(np.deg2rad(pitch_deg))
    rows = np.arange(HEIGHT) + 0.5
    assert (image[rows < horizon - 2] > 0.5).all()
    assert (image[rows > horizon + 2] < 0.1).all()


def test_a_floor_lies_below_the_horizon_and_fades_far_away(backdrop, surfaces):
    floor = replace(backdrop, surface=np.array([-1, -1, 0, -1, -1, -1], np.int32))
    image = draw(floor, surfaces, camera_at())[:, WIDTH // 2]
    near = image[-1]  # 5 m away
    assert near[0] == pytest.approx(tone(1.0), abs=0.01) and near[2] == 0
    assert image[HEIGHT // 2 + 2, 0] < 0.1  # 60 m away: the panorama
    assert (image[: HEIGHT // 2 - 1] > 0.5).all()


def test_walls_hide_the_panorama_and_the_floor_ends_at_them(backdrop, surfaces):
    room = replace(backdrop, surface=np.array([1, 1, 0, 1, 1, 1], np.int32))
    image = draw(room, surfaces, camera_at())[:, WIDTH // 2]
    foot_of_wall = HEIGHT / 2 + 100 * 1500 / 5000
    rows = np.arange(HEIGHT) + 0.5
    assert (image[rows < foot_of_wall - 0.6, 2] > 0.5).all() and (image[rows < foot_of_wall - 0.6, 0] == 0).all()
    assert foot_of_wall == HEIGHT  # the floor begins just outside the image
    lower = draw(room, surfaces, camera_at(pitch_deg=-20))[-1, WIDTH // 2]
    assert lower[0] > 0.5 and lower[2] == 0


def test_the_floor_is_dark_under_feet(backdrop, surfaces):
    floor = replace(backdrop, surface=np.array([-1, -1, 0, -1, -1, -1], np.int32))
    standing = replace(floor, contacts_mm=np.array([[0.0, -4000.0, 150.0, 0.8]], np.float32))
    camera = camera_at(pitch_deg=-15)
    x, y = camera.project(camera.to_camera(np.array([0.0, 0.0, -4000.0]))).astype(int)
    bright, dark = (draw(scene, surfaces, camera) for scene in (floor, standing))
    assert dark[y, x, 0] < 0.4 * bright[y, x, 0]
    assert dark[y, 5, 0] == bright[y, 5, 0]


def test_covered_pixels_are_left_out(backdrop, surfaces):
    image = draw(backdrop, surfaces, camera_at(), covered=np.s_[:21, :40])
    assert (image[:10, :20] == 0).all()
    assert (image[10, :20] > 0).all()  # two of its four samples are open


def test_grain_changes_the_image_and_keeps_its_mean(backdrop):
    surfaces = draw_surfaces(0, 22)
    camera = camera_at(pitch_deg=8)
    plain = draw(backdrop, surfaces, camera)
    rough = draw(replace(backdrop, grain=3, grain_strength=0.5), surfaces, camera)
    assert np.abs(rough - plain).mean() > 0.01
    assert rough.mean() == pytest.approx(plain.mean(), rel=0.2)


def test_sampled_rooms_hold_camera_and_person(panorama):
    rng = np.random.default_rng(0)
    camera, person = camera_at(), np.array([500.0, 900.0, -4000.0])
    contacts = np.array([[2500.0, -9000.0, 100.0, 0.5]])
    kinds = set()
    for _ in range(60):
        backdrop = sample_backdrop(rng, panorama, 5, camera, person, contacts, 0.5)
        low, high = backdrop.box_mm[::2], backdrop.box_mm[1::2]
        for point in ([0, 1500, 0], person, [2500, 0, -9000]):
            assert (low <= point).all() and (point < high).all()
        kinds.add(tuple(backdrop.surface[[0, 2]] >= 0))
        assert backdrop.surface.max() < 5
    assert kinds >= {(False, False), (False, True), (True, True)}
