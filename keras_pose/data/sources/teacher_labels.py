"""Turns the labels of teachers into a person in an image."""

import numpy as np

from keras_pose.core.geometry import keypoints_box
from keras_pose.core.skeleton import TEACHER_22, Skeleton, map_joints
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.data.sources.base import Options
from keras_pose.data.sources.crop import Person
from keras_pose.data.teachers.labeller import Labels, crop_of_box, open_teachers
from keras_pose.data.teachers.merging import merge_labels

NOBODY = BadFrame("", "the teachers find no person in it, or disagree on where the joints are", skipped=True)
FEWEST_PLACED = 4  # fewer joints do not determine a person's distance reliably
# The focal length, as a share of the image's longer side: a phone's main camera sees about 65 degrees along it.
FOCAL_OF_LONGER_SIDE = 0.8


def to_person(labels: Labels, image_size: tuple[int, int], tags: dict) -> Person:
    """The labeled person of TEACHER_22, 2D and 3D, in an image of (height, width).

    The camera is assumed to be a phone's. There is no 3D if the joints are too few to locate the person, or would lie
    behind the camera.
    """
    person = Person(labels.keypoints_px, labels.valid, labels.hidden, tags=tags)
    valid = labels.pose_valid
    if valid.sum() < FEWEST_PLACED:
        return person
    height, width = image_size
    focal = FOCAL_OF_LONGER_SIDE * max(height, width)
    intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    camera_mm = labels.pose_mm + place(labels.pose_mm[valid], labels.keypoints_px[valid], intrinsics)
    if (camera_mm[valid, 2] > 0).all():
        person.camera_mm, person.camera_valid, person.intrinsics = camera_mm, valid, intrinsics
    return person


def place(pose_mm: np.ndarray, keypoints_px: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """(3,) mm: the position at which a (J, 3) pose projects onto (J, 2) keypoints, by linear least squares.

    Each joint (X, Y, Z), seen at (u, v) on the plane z = 1, gives t_x - u t_z = u Z - X and t_y - v t_z = v Z - Y.
    """
    plane = (keypoints_px - intrinsics[:2, 2]) / np.diag(intrinsics)[:2]
    ones, zeros = np.ones(len(pose_mm)), np.zeros(len(pose_mm))
    rows = [np.stack([ones, zeros, -plane[:, 0]], 1), np.stack([zeros, ones, -plane[:, 1]], 1)]
    values = (plane * pose_mm[:, 2:] - pose_mm[:, :2]).T.ravel()
    return np.linalg.lstsq(np.concatenate(rows), values, rcond=None)[0]


def complete(image: np.ndarray, person: Person, skeleton: Skeleton, target: Skeleton, options: Options) -> Person:
    """A person with human labels in `skeleton`, completed by the teachers, in `target`.

    If the teachers find nobody or another person, only the skeleton changes.
    """
    valid = np.asarray(person.valid, bool)
    points, valid = map_joints(np.where(valid[:, None], person.keypoints_px, 0), valid, skeleton, target)
    mapped = Person(points, valid, _mapped(person.hidden, skeleton, target), person.box_px, tags=person.tags)
    if not valid.any():
        return mapped
    box_px = keypoints_box(points, valid) if person.box_px is None else person.box_px
    labels = open_teachers(options.teacher, options.teacher_cache)(image, crop_of_box(box_px))
    merged = labels and merge_labels(
        points,
        valid,
        *map_joints(labels.keypoints_px, labels.valid, TEACHER_22, target),
        target,
        labels.torso_px,
    )
    if not merged:
        return mapped
    found = to_person(labels, image.shape[:2], person.tags)
    mapped.keypoints_px, mapped.valid, _ = merged
    if found.camera_mm is not None:
        camera, camera_valid = map_joints(found.camera_mm, found.camera_valid, TEACHER_22, target)
        mapped.camera_mm, mapped.camera_valid, mapped.intrinsics = camera, camera_valid, found.intrinsics
    return mapped


def _mapped(flags: np.ndarray | None, skeleton: Skeleton, target: Skeleton) -> np.ndarray | None:
    """(J,) flags of one skeleton to (J,) bool of another."""
    if flags is None:
        return None
    values = np.asarray(flags, float)[:, None]
    return map_joints(values, np.ones(len(values), bool), skeleton, target)[0][:, 0] > 0
