"""Shared by the tests of sources: known people before known cameras, and images that show where a joint is."""

import cv2
import numpy as np

from keras_pose.core import geometry
from keras_pose.data import prepare
from keras_pose.data.dataset import open_dataset
from keras_pose.data.pipeline import read_examples
from keras_pose.data.sources import get_source
from keras_pose.data.sources.base import Options
from keras_pose.data.sources.human36m_common import JOINTS_17_OF_32, make_camera

# A lens as strong as Human3.6M's.
RADIAL, TANGENTIAL = (-0.207, 0.2478, -0.0031), (-0.0014, -0.001)
SMALL = Options(image_size=(96, 64))
# The joint that images show as a white disc: its index, last in every skeleton used here.
SHOWN = 16


def look_at(position_mm, focal=(1145.0, 1144.0), center=(512.5, 515.5), radial=RADIAL, tangential=TANGENTIAL):
    """A camera at a place in a world whose z points up, that looks at a point 1 m above the origin."""
    forward = np.array([0, 0, 1000.0]) - position_mm
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return make_camera(rotation, position_mm, focal, center, radial, tangential)


def person(rng: np.random.Generator, joints: int) -> np.ndarray:
    """(joints, 3) mm in the world: a person-sized cloud 1 m above the ground near the middle."""
    cloud = rng.uniform([-300, -300, -800], [300, 300, 800], (joints, 3))
    cloud[0] = 0
    return cloud + [*rng.uniform(-500, 500, 2), 1000]


def people(frames: int, joints: int, seed: int = 0) -> np.ndarray:
    """(frames, joints, 3) mm in the world."""
    rng = np.random.default_rng(seed)
    return np.stack([person(rng, joints) for _ in range(frames)])


def picture(size: tuple[int, int], point_px: np.ndarray) -> np.ndarray:
    """A dark (H, W, 3) image with a white disc at a point (x, y)."""
    image = np.full((*size, 3), 40, np.uint8)
    x, y = np.round((np.asarray(point_px) - 0.5) * 16).astype(int)  # OpenCV's pixel centers are whole numbers
    return cv2.circle(image, (int(x), int(y)), 9 * 16, (255, 255, 255), -1, cv2.LINE_AA, shift=4)


def write_video(path, pictures, codec: str = "mp4v", rate: float = 50.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), rate, (width, height))
    assert writer.isOpened()
    for image in pictures:
        writer.write(image)
    writer.release()


def write_picture(path, image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def convert(source: str, input_dir, output_dir, options: Options = SMALL, **more) -> dict[str, list]:
    """Runs prepare; returns the examples of each split."""
    manifest = prepare.prepare(get_source(source), input_dir, output_dir, options, **more)
    info = open_dataset(str(output_dir))
    return {split: list(read_examples(info, split)) for split in manifest.splits}


def assert_projects(example, camera_mm: np.ndarray, pixels: np.ndarray, root: int = 0, lens: bool = False) -> None:
    """The laws of an example made of a person of known joints (camera frame, mm) and image points.

    The 2D labels are the known points through one translation and scaling, and the 3D joints the known ones. The crop's
    camera projects the 3D joints onto the 2D labels; with a lens that distorts no pinhole does so exactly, and it may
    miss by a pixel of the image (which has 1000).
    """
    scale, offset = crop_of(example, pixels)
    np.testing.assert_allclose(example.keypoints_2d_px, pixels * scale + offset, atol=0.01)
    np.testing.assert_allclose(example.pose_3d_mm + example.root_position_mm, camera_mm, atol=0.01)
    projected = geometry.project_points(example.pose_3d_mm + example.root_position_mm, example.intrinsics)
    assert np.abs(projected - example.keypoints_2d_px).max() / scale < (1.0 if lens else 0.05)
    assert np.abs(example.pose_3d_mm[root]).max() == 0


def crop_of(example, pixels: np.ndarray) -> tuple[float, np.ndarray]:
    """Scale and offset from image to crop, from two far points."""
    low, high = pixels[:, 1].argmin(), pixels[:, 1].argmax()
    lengths = [np.linalg.norm(points[high] - points[low]) for points in (example.keypoints_2d_px, pixels)]
    scale = lengths[0] / lengths[1]
    return scale, example.keypoints_2d_px[low] - pixels[low] * scale


def assert_shows(example, joint: int = SHOWN) -> None:
    """The white disc of the image lies at the joint, to half a pixel of the crop."""
    bright = example.decode_image().astype(float).mean(-1)
    weight = np.clip(bright - 90, 0, None)
    y, x = np.mgrid[: bright.shape[0], : bright.shape[1]] + 0.5
    centre = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
    assert np.abs(centre - example.keypoints_2d_px[joint]).max() < 0.5


def to_17(poses: np.ndarray) -> np.ndarray:
    return poses[..., JOINTS_17_OF_32, :]
