"""Turns a labeled person in an image into an example."""

from dataclasses import dataclass, field

import numpy as np

from keras_pose.core import geometry
from keras_pose.core.skeleton import Skeleton, map_joints
from keras_pose.data.example import PoseExample, encode_jpeg
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.data.sources.base import Options

# No coordinate of a person in front of a camera is larger, in pixels or millimeters.
LARGEST_LABEL = 1e5
SMALLEST_PERSON_PX = 4.0  # a smaller extent of the joints is within the inaccuracy of labels


@dataclass
class Person:
    """A labeled person in an image, in the source's own skeleton.

    `keypoints_px` (J, 2) in the image, as seen by the camera (distortion included); `valid` and `hidden` (J,) bool;
    `box_px` (x0, y0, x1, y1), None for the box around the valid joints; `camera_mm` (J, 3) joints in the camera frame
    and `intrinsics` (3, 3) of the image, both or neither; `camera_valid` (J,) bool, which joints have 3D labels, None
    for all; `tags`: source, subject, action and frame of the example.
    """

    keypoints_px: np.ndarray
    valid: np.ndarray
    hidden: np.ndarray | None = None
    box_px: np.ndarray | None = None
    camera_mm: np.ndarray | None = None
    camera_valid: np.ndarray | None = None
    intrinsics: np.ndarray | None = None
    tags: dict = field(default_factory=dict)


def crop_person(
    picture: np.ndarray | None, person: Person, skeleton: Skeleton, target: Skeleton, options: Options
) -> PoseExample | BadFrame:
    """Crops a person from an (H, W, 3) RGB image and maps the joints from `skeleton` to `target`.

    `picture` is None for poses without an image. Joints of `target` that the source does not label have no label; if
    the root has no 3D label, no joint has one. Returns a BadFrame if a label is not finite or absurdly large, no joint
    is labeled, all lie on one spot and there is no box, or a joint is behind the camera or out of its view.
    """
    where = "{subject}/{action}/{frame}".format(**person.tags)
    valid = np.asarray(person.valid, bool)
    labels = [np.asarray(person.keypoints_px)[valid]]
    camera_mm, camera_valid = _labels_3d(person)
    labels += [camera_mm[camera_valid]] + ([] if person.box_px is None else [person.box_px])
    if why := _what_is_bad(labels, valid, person):
        return BadFrame(where, why)
    box = person.box_px if person.box_px is not None else geometry.keypoints_box(person.keypoints_px, valid)
    affine = geometry.crop_affine(*geometry.box_crop(box, options.image_size, options.margin), options.image_size)
    keypoints, keypoint_valid = map_joints(np.where(valid[:, None], person.keypoints_px, 0), valid, skeleton, target)
    hidden = np.zeros(len(valid), bool) if person.hidden is None else np.asarray(person.hidden, bool)
    pose, pose_valid, root = map_pose(camera_mm, camera_valid, skeleton, target)
    return PoseExample(
        image_jpeg=b"" if picture is None else _cut_out(picture, affine, options),
        image_size=options.image_size,
        keypoints_2d_px=geometry.apply_affine(affine, keypoints) * keypoint_valid[:, None],
        keypoint_valid=keypoint_valid,
        keypoint_hidden=map_joints(hidden[:, None].astype(float), valid, skeleton, target)[0][:, 0] > 0,
        pose_3d_mm=pose,
        pose_3d_valid=pose_valid,
        root_position_mm=root,
        intrinsics=geometry.crop_intrinsics(person.intrinsics, affine) if pose_valid.any() else np.eye(3),
        skeleton=target.name,
        **person.tags,
    )


def _cut_out(picture: np.ndarray, affine: np.ndarray, options: Options) -> bytes:
    return encode_jpeg(geometry.warp_image(picture, affine, options.image_size, options.smooth))


def _what_is_bad(labels: list[np.ndarray], valid: np.ndarray, person: Person) -> str:
    """Why a person cannot become an example; empty if it can."""
    mend = "fix the label or leave the frame out"
    if not all(np.isfinite(a).all() for a in labels):
        return f"a label is NaN or inf; {mend}"
    if any(np.abs(a).max(initial=0) > LARGEST_LABEL for a in labels):
        return f"a label is over {LARGEST_LABEL:g}; {mend}"
    if not valid.any():
        return f"no joint is labeled; {mend}"
    if person.box_px is None and np.ptp(np.asarray(person.keypoints_px)[valid], 0).max() < SMALLEST_PERSON_PX:
        return "its labeled joints lie on one spot and no box gives the size of the person; add a box or joints"
    if person.camera_mm is None:
        return ""
    camera_mm, camera_valid = _labels_3d(person)
    if (camera_mm[camera_valid, 2] <= 0).any() or not np.isfinite(person.intrinsics).all():
        return "a joint lies behind the camera or out of its view; check the pose's frame and the camera"
    return ""


def _labels_3d(person: Person) -> tuple[np.ndarray, np.ndarray]:
    """(J, 3) mm in the camera frame, and (J,) bool, which joints have a 3D label."""
    if person.camera_mm is None:
        return np.zeros((len(person.keypoints_px), 3)), np.zeros(len(person.keypoints_px), bool)
    valid = np.ones(len(person.camera_mm), bool) if person.camera_valid is None else person.camera_valid
    return np.asarray(person.camera_mm, np.float64), np.asarray(valid, bool)


def map_pose(
    joints_mm: np.ndarray, labelled: np.ndarray, skeleton: Skeleton, target: Skeleton
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maps joints of one skeleton, (J, 3) with (J,) bool which are labeled, to a pose of another.

    If the target's root or all its other joints are unlabeled, no joint is labeled.

    Returns:
        (J, 3) relative to the root, zeros for unlabeled joints; (J,) bool, which are labeled; (3,) the root.
    """
    pose, valid = map_joints(np.where(labelled[:, None], joints_mm, 0), labelled, skeleton, target)
    if target.root is None or not valid[target.root] or valid.sum() < 2:
        return np.zeros_like(pose), np.zeros_like(valid), np.zeros(3)
    root = pose[target.root]
    return (pose - root) * valid[:, None], valid, root


def mostly_in_picture(keypoints_px: np.ndarray, picture: np.ndarray) -> bool:
    """Whether at least half of (J, 2) joints lie inside an image; fewer are not enough to learn from.

    NaN counts as inside, so that `crop_person` reports it.
    """
    outside = np.isfinite(keypoints_px).all(-1) & ~geometry.inside_image(keypoints_px, picture.shape[:2])
    return bool(outside.mean() <= 0.5)
