"""The user's own footage and a teacher: a small TFLite model with BlazePose's shapes that sees colored discs."""

import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import TEACHER_22
from keras_pose.data.sources import teacher_labels
from keras_pose.data.sources.base import Options
from keras_pose.data.teachers import blazepose
from keras_pose.data.teachers.crop import whole_image
from keras_pose.data.teachers.labeller import Labels, add_mixtures, open_teachers
from tests.data.sources import toy

SIZE = (240, 180)
# Where BlazePose's landmarks are in the frame of the person: along the body from the hips to the point above, across.
PLACES = np.random.default_rng(0).uniform([-0.8, -0.5], [0.8, 0.5], (39, 2))
PLACES[33], PLACES[34] = (0, 0), (1, 0)
PLACES[[23, 24]] = (0, 0.12), (0, -0.12)


def landmarks(hips: np.ndarray, above: np.ndarray) -> np.ndarray:
    """(39, 2) for a person whose hips and point above are known; the same formula as the teacher's."""
    along = above - hips
    across = np.array([along[1], -along[0]])
    return hips + PLACES[:, :1] * along + PLACES[:, 1:] * across


def joints(hips, above) -> np.ndarray:
    """(22, 2) of TEACHER_22."""
    marked = blazepose._joints(landmarks(np.asarray(hips, float), np.asarray(above, float)))
    return add_mixtures(marked, np.ones(18, bool))[0]


def make_teacher(path, outputs: int = 3) -> str:
    """Hips are the middle of what is red, the point above of what is green; the score tells whether there is both."""
    x, y = np.meshgrid(np.arange(256) + 0.5, np.arange(256) + 0.5)
    grid = tf.constant(np.stack([x, y], -1).reshape(1, -1, 2), tf.float32)

    def middle(color):
        weight = tf.reshape(tf.nn.relu(color - 0.5), (1, -1, 1))
        total = tf.reduce_sum(weight)
        return tf.reduce_sum(weight * grid, 1) / (total + 1e-3), total

    @tf.function(input_signature=[tf.TensorSpec((1, 256, 256, 3), tf.float32)])
    def see(image):
        (hips, red), (above, green) = (middle(image[..., c] - image[..., 2 - 2 * c if c else 1]) for c in (0, 1))
        along = above - hips
        across = tf.stack([along[:, 1], -along[:, 0]], 1)
        places = tf.constant(PLACES, tf.float32)
        points = hips + places[:, :1] * along + places[:, 1:] * across  # (39, 2)
        rest = tf.constant([[0.0, 4.0, 4.0]] * 39)
        world = tf.concat([(points - hips) * 0.9 / tf.norm(along + 1e-6), 0.1 * places[:, 1:]], 1)
        score = tf.reshape(tf.sigmoid(tf.minimum(red, green) - 10.0), (1, 1))
        found = [tf.reshape(tf.concat([points, rest], 1), (1, 195)), score, tf.reshape(world, (1, 117))]
        return found[:outputs]

    converter = tf.lite.TFLiteConverter.from_concrete_functions([see.get_concrete_function()])
    path.write_bytes(converter.convert())
    return str(path)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return (make_teacher(tmp_path_factory.mktemp("teacher") / "toy.tflite"),)


def person_at(frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Hips and point above in a frame: someone who walks and leans."""
    hips = np.array([70.0 + 2 * frame, 140.0])
    angle = np.deg2rad(-20 + 4 * frame)
    return hips, hips + 60 * np.array([np.sin(angle), -np.cos(angle)])


def picture(frame: int) -> np.ndarray:
    image = np.full((*SIZE, 3), 40, np.uint8)
    for point, color in zip(person_at(frame), ((40, 40, 255), (40, 255, 40)), strict=True):  # blue, green, red
        x, y = np.round((point - 0.5) * 16).astype(int)
        cv2.circle(image, (int(x), int(y)), 8 * 16, color, -1, cv2.LINE_AA, shift=4)
    return image


def write(path, frames, empty=()):
    pictures = [np.full((*SIZE, 3), 40, np.uint8) if frame in empty else picture(frame) for frame in frames]
    toy.write_video(path, pictures, rate=25.0)
    return path


def test_the_crop_follows_and_turns_with_the_person(teacher, tmp_path):
    write(tmp_path / "in" / "walk.mp4", range(12))
    options = Options((128, 96), teacher=teacher, margin=1.5)
    (examples,) = toy.convert("video", tmp_path / "in", tmp_path / "out", options).values()
    assert [e.frame for e in examples] == list(range(12)) and {e.subject for e in examples} == {"walk"}
    for example in examples:
        hips, above = person_at(example.frame)
        scale, offset = toy.crop_of(example, joints(hips, above))
        expected = joints(hips, above) * scale + offset
        assert np.abs(example.keypoints_2d_px - expected).max() < 2 * scale  # two pixels of a compressed image
        pose = (joints(hips, above) - hips) * 900 / 60
        assert example.pose_3d_valid.all() and np.abs(example.pose_3d_mm[:, :2] - pose).max() < 40
        projected = geometry.project_points(example.pose_3d_mm + example.root_position_mm, example.intrinsics)
        assert np.abs(projected - example.keypoints_2d_px).max() < 6


def test_frames_without_a_person_are_left_out_and_the_person_is_found_again(teacher, tmp_path):
    path = write(tmp_path / "walk.mp4", range(12), empty=range(4, 8))
    (examples,) = toy.convert("video", path, tmp_path / "out", Options((64, 64), teacher=teacher)).values()
    assert [e.frame for e in examples] == [0, 1, 2, 3, 8, 9, 10, 11]


def test_folders_name_splits_and_frames_are_thinned(teacher, tmp_path):
    write(tmp_path / "in" / "a.mp4", range(6))
    write(tmp_path / "in" / "test" / "b.MP4", range(4))
    options = Options((64, 64), teacher=teacher, frame_step=2, skeleton="human36m_17")
    examples = toy.convert("video", tmp_path / "in", tmp_path / "out", options)
    assert {split: [e.frame for e in part] for split, part in examples.items()} == {"train": [0, 2, 4], "test": [0, 2]}
    for example in sum(examples.values(), []):
        assert example.pose_3d_valid.all()
        projected = geometry.project_points(example.pose_3d_mm + example.root_position_mm, example.intrinsics)
        assert np.abs(projected - example.keypoints_2d_px)[example.pose_3d_valid].max() < 6


def found_in(valid, pose_mm, intrinsics, where):
    """Labels of a pose that stands at a place; invalid joints are anywhere."""
    points = geometry.project_points(pose_mm + where, intrinsics)
    points[~valid] += 500
    has_pose = valid & valid[TEACHER_22.root]
    return Labels(points, valid, np.zeros(22, bool), pose_mm, has_pose, 100.0, whole_image((480, 360)))


def test_joints_outside_the_image_leave_the_others_their_3d():
    rng, size = np.random.default_rng(4), (480, 360)
    focal = teacher_labels.FOCAL_OF_LONGER_SIDE * 480
    intrinsics = np.array([[focal, 0, 180], [0, focal, 240], [0, 0, 1]])
    pose, where = rng.normal(0, 300, (22, 3)), np.array([100.0, -50, 2800])
    pose[TEACHER_22.root] = 0
    legs = [name.endswith(("knee", "ankle")) for name in TEACHER_22.joint_names]
    person = teacher_labels.to_person(found_in(~np.array(legs), pose, intrinsics, where), size, {})
    np.testing.assert_array_equal(person.camera_valid, ~np.array(legs))
    np.testing.assert_allclose(person.camera_mm, pose + where, rtol=1e-6)  # placed by what is seen alone
    for present in (["left_hip", "right_hip", "pelvis"], [n for n in TEACHER_22.joint_names if n != "pelvis"]):
        valid = np.isin(TEACHER_22.joint_names, present)
        person = teacher_labels.to_person(found_in(valid, pose, intrinsics, where), size, {})
        assert person.camera_mm is None and person.valid.sum() == len(present)
    behind = teacher_labels.to_person(found_in(np.ones(22, bool), pose, intrinsics, -where), size, {})
    assert behind.camera_mm is None and behind.valid.all()


def test_a_pose_stands_where_it_projects_onto_its_keypoints():
    rng = np.random.default_rng(0)
    intrinsics = np.array([[500.0, 0, 160], [0, 480, 120], [0, 0, 1]])
    pose, where = rng.normal(0, 400, (22, 3)), np.array([300.0, -200, 3500])
    found = teacher_labels.place(pose, geometry.project_points(pose + where, intrinsics), intrinsics)
    np.testing.assert_allclose(found, where, rtol=1e-6)


def test_incomplete_input_is_named(teacher, tmp_path, monkeypatch):
    write(tmp_path / "in" / "a.mp4", range(3), empty=range(3))
    (tmp_path / "none").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "half.mp4").write_bytes((tmp_path / "in" / "a.mp4").read_bytes()[:200])
    (tmp_path / "text.tflite").write_text("no model")
    other = make_teacher(tmp_path / "other.tflite", outputs=2)

    def convert(folder, model):
        toy.convert("video", tmp_path / folder, tmp_path / "out", Options((64, 64), teacher=model))

    for folder, model, message in (
        ("in", (), "--teacher is missing"),
        ("in", (str(tmp_path / "gone.tflite"),), r"gone\.tflite is no file"),
        ("in", (str(tmp_path / "text.tflite"),), r"text\.tflite is no TFLite model"),
        ("in", (other,), "not BlazePose's landmark model"),
        ("none", teacher, "contains no video"),
        ("bad", teacher, r"half\.mp4: does not open"),
        ("in", teacher, "no person of .*in could be used"),
    ):
        with pytest.raises(UserError, match=message):
            convert(folder, model)
    open_teachers.cache_clear()
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(UserError, match=r"keras_pose\[teacher\]"):
        convert("in", teacher)
