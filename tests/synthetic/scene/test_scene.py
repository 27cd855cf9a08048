"""Scenes: the projection law, labels of constructed cases, cameras, faults."""

from dataclasses import replace

import numpy as np
import pytest

from keras_pose.core import geometry
from keras_pose.core.geometry import Camera
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.synthetic.render import overlay
from keras_pose.synthetic.render.camera import camera_position, crop_camera, look_at, sample_camera
from keras_pose.synthetic.render.degrade import degrade
from keras_pose.synthetic.render.mesh import Material, Mesh
from keras_pose.synthetic.render.panorama import drawn_panorama
from keras_pose.synthetic.render.raster import rasterize, to_homogeneous_pixels
from keras_pose.synthetic.render.shade import join_meshes
from keras_pose.synthetic.scene import props
from keras_pose.synthetic.scene.stopwatch import Stopwatch
from keras_pose.synthetic.scene.studio import SceneSettings, Studio, hidden_joints, make_example, place
from keras_pose.synthetic.scene.surfaces import SIZE, SURFACES, draw_surfaces
from tests.synthetic.capsules import STANDING_MM, capsule_person

SETTINGS = SceneSettings((96, 64), (0.0, 1.0), 0.5, 95)


@pytest.fixture(scope="module")
def studio():
    return Studio([drawn_panorama(str(i), np.random.default_rng(i), 32) for i in range(3)], draw_surfaces(0, 22))


def examples(studio, count, settings=SETTINGS, seed=0):
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        yield make_example(rng, settings, studio, capsule_person(rng), lambda rng=rng: capsule_person(rng), Stopwatch())


def test_projection_law_and_record(studio):
    for example in examples(studio, 30):
        example.validate()
        camera_mm = example.pose_3d_mm + example.root_position_mm
        projected = geometry.project_points(camera_mm, example.intrinsics)
        assert np.abs(projected - example.keypoints_2d_px).max() < 0.5
        assert camera_mm[:, 2].min() > 200
        assert example.decode_image().shape == (96, 64, 3)
        assert example.keypoint_in_crop.sum() >= 4
        assert example.intrinsics[0, 0] == pytest.approx(example.intrinsics[1, 1])  # nothing is stretched


def test_the_image_agrees_with_the_labels(studio):
    """A person of white limbs before nothing else: pixels at the joints in sight are white."""
    settings = SceneSettings((128, 128), (0.0, 0.0), 0.0, 100)
    hits = total = 0
    for index in range(12):
        rng = np.random.default_rng([5, index])
        person = capsule_person(rng)
        for i in range(len(person.mesh.materials)):
            person.mesh.materials[i] = Material(np.array([[[255, 20, 255]]], np.uint8))
        example = make_example(rng, settings, studio, person, None, Stopwatch())
        image = example.decode_image().astype(int)
        seen = example.keypoint_in_crop & ~example.keypoint_hidden
        for x, y in example.keypoints_2d_px[seen].astype(int):
            red, green, blue = image[y, x]
            hits += min(red, blue) > green + 25
            total += 1
    assert total > 100 and hits / total > 0.9


def test_difficulty_is_drawn_and_stored(studio):
    stored = [e.difficulty for e in examples(studio, 10, replace(SETTINGS, difficulty=(0.25, 0.5)))]
    assert min(stored) >= 0.25 and max(stored) <= 0.5 and len(set(stored)) == 10
    assert [e.difficulty for e in examples(studio, 2, replace(SETTINGS, difficulty=(1.0, 1.0)))] == [1.0, 1.0]


def test_same_generator_state_same_bytes(studio):
    first, again = ([e.image_jpeg for e in examples(studio, 3)] for _ in range(2))
    assert first == again
    assert first != [e.image_jpeg for e in examples(studio, 3, seed=1)]


# --- labels ----------------------------------------------------------------------------------------------------


def front_camera(size=(200, 200), distance=4000.0):
    """Before a standing person, at half height."""
    position = np.array([0.0, 900.0, distance])
    rotation = look_at(position, np.array([0.0, 900.0, 0.0]))
    focal = 0.45 * distance / 900 * size[0]
    return Camera(
        np.array([[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]]), rotation, -rotation @ position
    )


def labels_of(meshes, joints_mm, camera, size=(200, 200)):
    solids = join_meshes(meshes)
    raster = rasterize(to_homogeneous_pixels(solids.vertices_mm, camera, 2.0), solids.faces, (2 * size[0], 2 * size[1]))
    hidden = hidden_joints(raster, solids.object_of_face, camera, joints_mm)
    return {HUMAN36M_17.joint_names[j] for j in np.flatnonzero(hidden)}


def slab(center_mm, half_mm):
    vertices, faces, uv = props._box()
    mesh = Mesh(vertices * np.float32(half_mm) + np.float32(center_mm), faces, uv, np.zeros(12, np.int32), [])
    mesh.materials.append(Material(np.zeros((1, 1, 3), np.uint8)))
    return mesh


def standing():
    return capsule_person(np.random.default_rng(0), noise_mm=0.0)


def test_a_person_in_full_view_hides_nothing():
    person = standing()
    assert labels_of([person.mesh], person.joints_mm, front_camera()) == set()


def test_an_occluder_hides_the_joints_behind_it_only():
    person = standing()
    knees = person.joints_mm[[2, 5]]
    board = slab([0, knees[0, 1], 1000], [400, 150, 20])
    assert labels_of([person.mesh, board], person.joints_mm, front_camera()) == {"left_knee", "right_knee"}
    behind = slab([0, knees[0, 1], -1000], [400, 150, 20])
    assert labels_of([person.mesh, behind], person.joints_mm, front_camera()) == set()


def test_a_limb_behind_the_persons_own_body_is_hidden():
    joints = STANDING_MM.copy()
    joints[13] = [0, 1300, -420]  # the left wrist, far behind the back
    person = capsule_person(np.random.default_rng(0), joints, noise_mm=0.0)
    assert "left_wrist" in labels_of([person.mesh], person.joints_mm, front_camera())
    joints[13] = [0, 1300, 420]
    person = capsule_person(np.random.default_rng(0), joints, noise_mm=0.0)
    assert "left_wrist" not in labels_of([person.mesh], person.joints_mm, front_camera())


def test_joints_outside_the_image_are_not_marked_hidden():
    person = standing()
    board = slab([0, 900, 1000], [3000, 3000, 20])
    camera = front_camera()
    shifted = Camera(
        camera.intrinsics + np.array([[0, 0, 0], [0, 0, 80], [0, 0, 0]]), camera.rotation, camera.translation_mm
    )
    hidden = labels_of([person.mesh, board], person.joints_mm, shifted)
    below = {"left_ankle", "right_ankle", "left_knee", "right_knee"}
    assert hidden == set(HUMAN36M_17.joint_names) - below


def test_pasted_shapes_cover_joints():
    mask = np.zeros((20, 30), bool)
    mask[5:10, 7:9] = True
    keypoints = np.array([[7.0, 5.0], [8.99, 9.99], [9.0, 7.0], [-1.0, 5.0], [40.0, 7.0]])
    assert overlay.covered_joints(mask, keypoints).tolist() == [True, True, False, False, False]


def test_the_border_and_shapes_cover_what_their_masks_show():
    rng = np.random.default_rng(3)
    image = rng.integers(1, 255, (60, 40, 3)).astype(np.uint8)
    for _ in range(20):
        pasted, ended = overlay.paste_border(rng, image)
        assert pasted.shape == image.shape and np.array_equal(pasted[~ended], image[~ended])
        linear = np.full((60, 40, 3), -1.0, np.float32)
        shaped, covered = overlay.paste_shapes(rng, linear, draw_surfaces(0, 11).images)
        assert (shaped[covered] > -1).all() and (linear == -1).all()


# --- cameras, placement and faults -------------------------------------------------------------------------------


def test_left_stays_left():
    """A person who faces the camera has the left hand on the right of the image; placing keeps that."""
    person = place(standing(), props.random_rotation(np.random.default_rng(0), None), np.array([500.0, 0, 300.0]))
    across = person.joints_mm[4] - person.joints_mm[1]  # from the right hip to the left
    facing = np.cross(across, [0.0, 1.0, 0.0])
    middle = person.joints_mm[0]
    position = middle + 4000 * facing / np.linalg.norm(facing)
    camera = Camera(front_camera().intrinsics, look_at(position, middle), np.zeros(3))
    camera = replace(camera, translation_mm=-camera.rotation @ position)
    x = camera.project(camera.to_camera(person.joints_mm))[:, 0]
    assert x[4] > x[1] and x[11] > x[14]


def test_cameras_stand_above_the_ground_with_the_person_before_them():
    rng = np.random.default_rng(0)
    up = []
    for _ in range(200):
        camera = sample_camera(rng, STANDING_MM, any_roll=True)
        assert camera_position(camera)[1] >= 100
        assert camera.to_camera(STANDING_MM)[:, 2].min() > 200
        assert np.allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(camera.rotation) > 0
        up.append(camera.rotation[:2, 1])
    assert np.abs(np.mean(up, axis=0)).max() < 0.2  # rolled to all sides
    upright = [sample_camera(rng, STANDING_MM, any_roll=False).rotation[1, 1] for _ in range(50)]
    assert max(upright) < -0.4  # world's up is the image's up


def test_a_truncated_crop_keeps_about_six_joints():
    rng = np.random.default_rng(0)
    counts = {True: [], False: []}
    for truncated in counts:
        for _ in range(100):
            camera = crop_camera(rng, front_camera(), STANDING_MM, (96, 64), truncated)
            keypoints = camera.project(camera.to_camera(STANDING_MM))
            counts[truncated].append(geometry.inside_image(keypoints, (96, 64)).sum())
    assert np.mean(counts[False]) > 16.5 > 14 > np.mean(counts[True]) and min(counts[True]) >= 3


def test_without_difficulty_an_image_keeps_its_content():
    linear = np.random.default_rng(0).uniform(0.2, 0.6, (4, 3, 3)).astype(np.float32)
    linear = np.kron(linear, np.ones((16, 16, 1), np.float32))
    clean = degrade(np.random.default_rng(1), linear, 0.0).astype(float)
    full = [degrade(np.random.default_rng(seed), linear, 1.0).astype(float) for seed in range(20)]
    assert clean.shape == linear.shape
    order = linear[..., 0].ravel()
    assert np.corrcoef(order, clean[..., 0].ravel())[0, 1] > 0.95
    assert np.mean([np.abs(image - clean).mean() for image in full]) > 10


def test_surfaces_and_their_smaller_levels():
    count = 2 * len(SURFACES)
    surfaces = draw_surfaces(3, count)
    assert surfaces.images.shape == (count, SIZE, SIZE, 3) and surfaces.images.dtype == np.uint8
    assert len({image.tobytes() for image in surfaces.images}) == count
    assert np.array_equal(surfaces.texels[: surfaces.images.size], surfaces.images.reshape(-1))
    smallest = surfaces.texels[surfaces.level_start[-1] :].reshape(count, 3)  # one pixel each
    assert np.allclose(smallest, surfaces.images.mean((1, 2)), atol=2)


def test_who_sits_gets_a_seat_and_who_stands_does_not():
    rng, images = np.random.default_rng(0), draw_surfaces(0, 11).images
    sitting = STANDING_MM - [0, 430, 0]
    sitting[[3, 6]] = [[-120, 80, 450], [120, 80, 450]]
    (chair,) = props.seat(rng, images, sitting)
    assert chair.vertices_mm[:, 1].min() == pytest.approx(0, abs=1)
    assert sitting[0, 1] - 150 < chair.vertices_mm[:, 1].max() < sitting[0, 1] - 50
    assert props.seat(rng, images, STANDING_MM) == []
    squatting = sitting * [1, 1, 0.2]
    assert props.seat(rng, images, squatting) == []


@pytest.mark.parametrize("kind", ["box", "rod", "ball"])
def test_props_are_seen_from_outside(kind):
    vertices, faces, _ = props._box() if kind == "box" else props._turned(kind)
    corners = vertices[faces].astype(float)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("fc,fc->f", normals, corners.mean(1)) > -1e-9).all()
