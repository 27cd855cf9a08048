"""Which joints count where teachers agree, what they add to human labels, and how a person is looked for."""

import numpy as np
import pytest

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import BLAZEPOSE_18, COCO_17, HUMAN36M_17, TEACHER_22
from keras_pose.data.teachers import labeller
from keras_pose.data.teachers.blazepose import Landmarks
from keras_pose.data.teachers.crop import Crop, whole_image
from keras_pose.data.teachers.labeller import Labeller, add_mixtures, crop_of_box
from keras_pose.data.teachers.merging import merge_labels
from keras_pose.data.teachers.movenet import Keypoints, MoveNet

IMAGE = np.zeros((120, 90, 3), np.uint8)
RNG = np.random.default_rng(5)
# A person of BLAZEPOSE_18: the trunk a rectangle of 30 x 50 pixels, other joints anywhere near it.
STANDING = RNG.uniform([20, 20], [70, 110], (18, 2))
for _name, _place in {"left_shoulder": (60, 30), "right_shoulder": (30, 30), "left_hip": (60, 80)}.items():
    STANDING[BLAZEPOSE_18.index(_name)] = _place
STANDING[BLAZEPOSE_18.index("right_hip")], STANDING[BLAZEPOSE_18.root] = (30, 80), (45, 80)
TORSO = float(np.hypot(30, 50))


def marked_by(points, presence=None, score=1.0) -> Landmarks:
    presence = np.ones(18) if presence is None else presence
    return Landmarks(points, RNG.normal(0, 300, (18, 3)), np.ones(18), presence, score, whole_image((120, 90)))


def seen_by(points, scores=None) -> Keypoints:
    indices = [BLAZEPOSE_18.index(name) for name in COCO_17.joint_names]
    return Keypoints(points[indices].copy(), np.full(17, 0.9) if scores is None else scores)


class Teachers(Labeller):
    """A labeller whose teachers say what they are told."""

    def __init__(self, movenet=None, blazepose=None):
        self._answers = None
        self._movenet = movenet and type("M", (), {"find": lambda self, image, crop: movenet})()
        self._blazepose = (
            blazepose
            and type(
                "B", (), {"find": lambda self, image: blazepose, "__call__": lambda self, image, crop: blazepose}
            )()
        )


def test_joints_count_where_two_teachers_agree():
    moved = STANDING.copy()
    wrist, knee = BLAZEPOSE_18.index("left_wrist"), BLAZEPOSE_18.index("right_knee")
    moved[wrist] += (0.19 * TORSO, 0)
    moved[knee] += (0, 0.21 * TORSO)
    labels = Teachers(seen_by(STANDING), marked_by(moved))(IMAGE)
    valid = dict(zip(TEACHER_22.joint_names, labels.valid, strict=True))
    assert not valid.pop("right_knee") and all(valid.values())
    np.testing.assert_allclose(
        labels.keypoints_px[TEACHER_22.index("left_wrist")], STANDING[wrist] + (0.095 * TORSO, 0)
    )
    np.testing.assert_array_equal(labels.pose_valid, labels.valid)
    assert labels.torso_px == pytest.approx(TORSO, rel=0.01)


def test_a_joint_that_one_of_them_hardly_sees_does_not_count():
    presence, scores = np.ones(18), np.full(17, 0.9)
    presence[BLAZEPOSE_18.index("left_ankle")], scores[COCO_17.index("right_ankle")] = 0.2, 0.1
    labels = Teachers(seen_by(STANDING, scores), marked_by(STANDING, presence))(IMAGE)
    assert {TEACHER_22.joint_names[j] for j in np.flatnonzero(~labels.valid)} == {"left_ankle", "right_ankle"}


def test_exchanged_sides_are_no_agreement():
    mirrored = STANDING.copy()
    mirrored[[6, 7]], mirrored[[12, 13]] = STANDING[[7, 6]], STANDING[[13, 12]]  # shoulders and hips
    labels = Teachers(seen_by(STANDING), marked_by(mirrored))(IMAGE)
    assert not labels.valid[TEACHER_22.index("left_hip")] and not labels.valid[TEACHER_22.index("right_shoulder")]
    assert not labels.pose_valid.any()  # without hips no 3D


def test_one_teacher_alone_counts_by_its_scores():
    scores = np.where(np.arange(17) < 11, 0.5, 0.3)
    labels = Teachers(movenet=seen_by(STANDING, scores))(IMAGE)
    assert labels.valid[TEACHER_22.index("left_wrist")] and not labels.valid[TEACHER_22.index("left_hip")]
    assert not labels.pose_valid.any() and not labels.hidden.any()
    assert Teachers(blazepose=marked_by(STANDING))(IMAGE).pose_valid.all()
    assert Teachers(blazepose=marked_by(STANDING, score=0.7))(IMAGE) is None
    assert Teachers(movenet=seen_by(STANDING, np.full(17, 0.1)))(IMAGE) is None
    assert Teachers(seen_by(STANDING), marked_by(STANDING + 40))(IMAGE) is None


def test_mixtures_are_their_joints_and_follow_any_turn_and_size():
    joints, valid = add_mixtures(STANDING, np.ones(18, bool))
    ears = STANDING[[BLAZEPOSE_18.index("left_ear"), BLAZEPOSE_18.index("right_ear")]].mean(0)
    shoulders = np.array([45, 30])
    np.testing.assert_allclose(joints[TEACHER_22.index("neck")], (2 * shoulders + ears) / 3)
    np.testing.assert_allclose(joints[TEACHER_22.index("head_top")], ears + (ears - shoulders) * 2 / 3)
    affine = geometry.crop_affine((10, 5), (40, 30), (120, 90), 35)
    turned = add_mixtures(geometry.apply_affine(affine, STANDING), np.ones(18, bool))[0]
    np.testing.assert_allclose(turned, geometry.apply_affine(affine, joints))
    without_ear = np.arange(18) != BLAZEPOSE_18.index("left_ear")
    _, valid = add_mixtures(STANDING, without_ear)
    lacking = {TEACHER_22.joint_names[j] for j in np.flatnonzero(~valid)}
    assert lacking == {"left_ear", "spine", "neck", "neck_nose", "head_top"}


# --- human labels ----------------------------------------------------------------------------------------------


def test_teachers_complete_what_people_labelled_and_overrule_where_they_agree_against_it():
    teacher, all_valid = RNG.uniform(0, 100, (17, 2)), np.ones(17, bool)
    human, human_valid = teacher + 1.0, np.ones(17, bool)
    ankle, hip, wrist = (HUMAN36M_17.index(name) for name in ("left_ankle", "right_hip", "left_wrist"))
    human_valid[ankle] = False
    human[hip] += (0, 20)
    teacher_valid = np.arange(17) != wrist
    merged, valid, overruled = merge_labels(human, human_valid, teacher, teacher_valid, HUMAN36M_17, 40.0)
    assert valid.all() and np.flatnonzero(overruled).tolist() == [hip]
    np.testing.assert_allclose(merged[ankle], teacher[ankle])
    np.testing.assert_allclose(merged[hip], teacher[hip])
    np.testing.assert_allclose(merged[wrist], human[wrist])
    np.testing.assert_allclose(merged[0], teacher[0] + 0.5)
    assert merge_labels(human + 40, human_valid, teacher, all_valid, HUMAN36M_17, 40.0) is None  # somebody else


def test_exchanged_sides_of_a_person_are_still_that_person():
    teacher = np.stack([np.arange(17) * 20.0, np.zeros(17)], 1)
    human = teacher[list(HUMAN36M_17.flip_permutation)]
    merged, _, overruled = merge_labels(human, np.ones(17, bool), teacher, np.ones(17, bool), HUMAN36M_17, 40.0)
    np.testing.assert_allclose(merged, teacher)
    assert overruled.sum() == 12


# --- looking for the person ------------------------------------------------------------------------------------


class Recorder(MoveNet):
    """Sees the same person whatever the crop, as sure as `score` says, and keeps the crops."""

    def __init__(self, points, score):
        self.points, self.score, self.crops = points, score, []

    def __call__(self, image, crop):
        self.crops.append(crop)
        return Keypoints(self.points, np.full(17, self.score(crop)))


def test_the_crop_closes_in_on_a_small_person_and_stays_there():
    points = seen_by(STANDING / 4).keypoints_px
    movenet = Recorder(points, lambda crop: 0.9)
    movenet.find(np.zeros((400, 300, 3), np.uint8))
    first, second = movenet.crops
    assert first.side_px == 400
    box = np.concatenate([points.min(0), points.max(0)])
    np.testing.assert_allclose(second.center_px, (box[:2] + box[2:]) / 2)
    assert second.side_px == pytest.approx(1.35 * max(box[2:] - box[:2]))


def test_crops_are_turned_for_a_person_of_whom_it_is_not_sure():
    movenet = Recorder(seen_by(STANDING).keypoints_px, lambda crop: 0.8 if crop.rotation_deg == 180 else 0.3)
    assert movenet.find(IMAGE).score == pytest.approx(0.8)
    assert {crop.rotation_deg for crop in movenet.crops} == {0.0, 90.0, 180.0, 270.0}


def test_a_person_who_lies_is_turned_upright():
    lying = geometry.apply_affine(geometry.crop_affine((45, 60), (120, 120), (120, 120), 90), STANDING)
    movenet = Recorder(seen_by(lying).keypoints_px, lambda crop: 0.8)
    movenet.find(IMAGE)
    assert movenet.crops[-1].rotation_deg == pytest.approx(-90)


def test_a_crop_of_a_box_holds_it():
    crop = crop_of_box([10, 20, 50, 100])
    np.testing.assert_allclose(geometry.apply_affine(crop.affine(64), np.array([[30.0, 60.0]])), [[32, 32]])
    assert crop.side_px == pytest.approx(1.35 * 80) and Crop(np.zeros(2), 10.0).change(Crop(np.ones(2), 10.0)) == 0.1


def test_files_that_are_no_teachers_are_named(monkeypatch):
    monkeypatch.setattr(labeller, "MoveNet", lambda path: path)
    with pytest.raises(UserError, match="--teacher is missing"):
        Labeller(())
    for paths in (("a.json", "b.json"), ("model.onnx",)):
        with pytest.raises(UserError, match="or one of each"):
            Labeller(paths)
