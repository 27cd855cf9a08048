"""Cameras: the viewpoint of an image and the crop around the person.

World frame: y up, ground at y = 0, millimeters. Camera frame: x right, y down, z away.
"""

import numpy as np

from keras_pose.core import geometry
from keras_pose.core.geometry import Camera

FRAME_LONG_PX = 1000.0
_FILM_WIDTH_MM = 36.0  # width of a full frame; focal lengths are 35 mm equivalents
_NEAREST_MM = 250.0  # smallest depth of a joint


def look_at(position_mm: np.ndarray, target_mm: np.ndarray, roll_rad: float = 0.0) -> np.ndarray:
    """(3, 3) rotation, world to camera, of a camera that looks at a target; `roll_rad` rotates it about its axis."""
    forward = _unit(target_mm - position_mm)
    helper = np.array([0.0, 1.0, 0.0]) if abs(forward[1]) < 0.999 else np.array([0.0, 0.0, 1.0])
    right = _unit(np.cross(forward, helper))
    rotation = np.stack([right, np.cross(forward, right), forward])
    cos, sin = np.cos(roll_rad), np.sin(roll_rad)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]) @ rotation


def sample_camera(rng: np.random.Generator, joints_mm: np.ndarray, any_roll: bool) -> Camera:
    """Draws a camera that sees a person with (J, 3) joints.

    Heights, pitches and distances are typical of phones, tripods and balconies. With `any_roll` the camera is rotated
    by any angle about its axis.
    """
    frame = _frame_size(rng)
    # 24 mm is a wide phone camera, 26 mm the usual one, 41 mm Human3.6M's, 120 mm sports from the stands
    focal = np.exp(rng.uniform(np.log(24.0), np.log(90.0))) if rng.random() < 0.9 else rng.uniform(90.0, 150.0)
    focal_px = focal / _FILM_WIDTH_MM * FRAME_LONG_PX
    middle = (joints_mm.min(0) + joints_mm.max(0)) / 2
    span = max(2 * np.linalg.norm(joints_mm - middle, axis=-1).max(), 700.0)
    filled = np.exp(rng.uniform(np.log(0.25), np.log(1.05)))  # size of the person, as a share of the frame's short side
    distance = max(focal_px * span / (filled * min(frame)), 1100.0)
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.deg2rad(_elevation_deg(rng))
    roll = rng.uniform(-np.pi, np.pi) if any_roll else np.deg2rad(rng.normal(0, 4.0))

    # the person's position in the frame: anywhere that leaves most of the body inside
    room = np.maximum(np.array([frame[1], frame[0]]) - filled * min(frame) * 0.8, 0.0) / 2
    aim_px = rng.uniform(-room, room)
    for _ in range(20):
        direction = np.array(
            [np.cos(elevation) * np.sin(azimuth), np.sin(elevation), np.cos(elevation) * np.cos(azimuth)]
        )
        position = middle + distance * direction
        position[1] = max(position[1], 120.0)
        rotation = _aside(aim_px / focal_px) @ look_at(position, middle, roll)
        if ((joints_mm - position) @ rotation[2]).min() > _NEAREST_MM:
            break
        distance *= 1.3
    intrinsics = np.array([[focal_px, 0.0, frame[1] / 2], [0.0, focal_px, frame[0] / 2], [0.0, 0.0, 1.0]])
    return Camera(intrinsics, rotation, -rotation @ position)


def crop_camera(
    rng: np.random.Generator, camera: Camera, joints_mm: np.ndarray, image_size: tuple[int, int], truncated: bool
) -> Camera:
    """The camera of a (height, width) crop around the person; `truncated` cuts off a part of the body."""
    joints_px = camera.project(camera.to_camera(joints_mm))
    kept = _kept_joints(rng, joints_px) if truncated else np.ones(len(joints_px), bool)
    margin = rng.uniform(0.95, 1.3) if truncated else np.exp(rng.normal(np.log(1.27), 0.1))
    center, size = geometry.box_crop(geometry.keypoints_box(joints_px, kept), image_size, margin)
    center = center + rng.normal(0, 0.05, 2) * min(size)
    affine = geometry.crop_affine(center, size, image_size)
    return Camera(geometry.crop_intrinsics(camera.intrinsics, affine), camera.rotation, camera.translation_mm)


def camera_position(camera: Camera) -> np.ndarray:
    """(3,) world position, mm."""
    return -camera.rotation.T @ camera.translation_mm


def _frame_size(rng: np.random.Generator) -> tuple[float, float]:
    """(height, width) of a landscape, portrait or square frame."""
    short = FRAME_LONG_PX * rng.choice([9 / 16, 2 / 3, 3 / 4, 1.0])
    return (short, FRAME_LONG_PX) if rng.random() < 0.6 else (FRAME_LONG_PX, short)


def _elevation_deg(rng: np.random.Generator) -> float:
    """Elevation of the camera seen from the person's middle: mostly eye level, sometimes a balcony or the floor."""
    kind = rng.random()
    if kind < 0.7:
        return rng.normal(5.0, 8.0)
    return rng.uniform(10.0, 55.0) if kind < 0.88 else rng.uniform(-30.0, 0.0)


def _kept_joints(rng: np.random.Generator, joints_px: np.ndarray) -> np.ndarray:
    """(J,) bool: the joints on one side of a line through the body; at least six, but not all."""
    direction = rng.normal(size=2)
    if rng.random() < 0.5:
        direction = joints_px[8] - joints_px[0] + 1e-3  # pelvis to thorax, because cameras most often cut off legs
    along = joints_px @ direction
    return along >= np.sort(along)[-int(rng.integers(6, len(along)))]


def _aside(plane: np.ndarray) -> np.ndarray:
    """(3, 3) rotation from the camera's axis to the direction (x, y, 1)."""
    target = _unit(np.array([plane[0], plane[1], 1.0]))
    axis = np.cross([0.0, 0.0, 1.0], target)
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + target[2])


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
