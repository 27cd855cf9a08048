"""PoseExample: the record that every data source yields and every shard stores."""

from dataclasses import dataclass, field

import cv2
import numpy as np

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import get_skeleton
from keras_pose.io import images

# No human joint is farther from the pelvis, and no whole person is smaller; other numbers mean a wrong unit.
LARGEST_RADIUS_MM = 2500.0
SMALLEST_RADIUS_MM = 100.0
# The smallest radius if only some joints, such as the hips, have 3D; it still tells meters from millimeters.
SMALLEST_PARTIAL_RADIUS_MM = 10.0
# No joint in or around a crop has a larger coordinate.
LARGEST_PIXEL = 1e6


@dataclass
class PoseExample:
    """One person: a crop, its joints in 2D and, if known, in 3D.

    Attributes:
        image_jpeg: the RGB crop as JPEG; empty for poses without an image, which train only the lifter.
        image_size: (height, width) of the crop.
        keypoints_2d_px: (J, 2) pixels of the crop; may lie outside it.
        keypoint_valid: (J,) bool, whether the position is labeled (also outside the crop or hidden).
        keypoint_hidden: (J,) bool, whether the joint is occluded.
        pose_3d_mm: (J, 3) camera frame, relative to the root joint; zeros for joints without a 3D label.
        pose_3d_valid: (J,) bool, whether the joint has a 3D label; if any joint has one, so has the root.
        root_position_mm: (3,) the root joint in the camera frame; zeros if unknown or without 3D.
        intrinsics: (3, 3) of the crop, possibly with skew; the identity if unknown or without 3D.
        skeleton: a name that `keras_pose.core.skeleton.get_skeleton` knows.
        subject, action, frame, source: where the example comes from; frames count from 0.
        difficulty: of synthetic scenes, from 0 (clean) to 1 (full); 0 elsewhere.
    """

    image_jpeg: bytes
    image_size: tuple[int, int]
    keypoints_2d_px: np.ndarray
    keypoint_valid: np.ndarray
    keypoint_hidden: np.ndarray
    pose_3d_mm: np.ndarray
    pose_3d_valid: np.ndarray
    root_position_mm: np.ndarray = field(default_factory=lambda: np.zeros(3, np.float32))
    intrinsics: np.ndarray = field(default_factory=lambda: np.eye(3, dtype=np.float32))
    skeleton: str = "human36m_17"
    subject: str = ""
    action: str = ""
    frame: int = 0
    source: str = ""
    difficulty: float = 0.0

    def __post_init__(self):
        self.image_size = (int(self.image_size[0]), int(self.image_size[1]))
        self.keypoints_2d_px = np.asarray(self.keypoints_2d_px, np.float32)
        self.keypoint_valid = np.asarray(self.keypoint_valid, bool)
        self.keypoint_hidden = np.asarray(self.keypoint_hidden, bool)
        self.pose_3d_mm = np.asarray(self.pose_3d_mm, np.float32)
        self.pose_3d_valid = np.asarray(self.pose_3d_valid, bool)
        self.root_position_mm = np.asarray(self.root_position_mm, np.float32)
        self.intrinsics = np.asarray(self.intrinsics, np.float32)

    @property
    def has_pose_3d(self) -> bool:
        """Whether any joint has a 3D label."""
        return bool(self.pose_3d_valid.any())

    @property
    def keypoint_in_crop(self) -> np.ndarray:
        """(J,) bool, whether each joint lies inside the crop."""
        return geometry.inside_image(self.keypoints_2d_px, self.image_size)

    def decode_image(self) -> np.ndarray:
        """The crop as (H, W, 3) uint8 RGB; raises UserError if it does not decode to `image_size`."""
        told = images.jpeg_size(self.image_jpeg)  # checked first, because a large image would take memory
        content = np.frombuffer(self.image_jpeg, np.uint8)
        image = cv2.imdecode(content, cv2.IMREAD_COLOR) if told == self.image_size else None
        if image is None or image.shape[:2] != self.image_size:
            raise UserError(f"{self.where()}: the image does not decode to {self.image_size}; prepare the data again")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def where(self) -> str:
        """The example's name in messages."""
        return f"{self.source or 'example'} {self.subject}/{self.action}/{self.frame}"

    def validate(self) -> "PoseExample":
        """Checks shapes, units, finiteness and the image's size; returns itself, or raises UserError with its name."""
        skeleton = get_skeleton(self.skeleton)
        joints = skeleton.num_joints
        shapes = {
            "keypoints_2d_px": (joints, 2),
            "keypoint_valid": (joints,),
            "keypoint_hidden": (joints,),
            "pose_3d_mm": (joints, 3),
            "pose_3d_valid": (joints,),
            "root_position_mm": (3,),
            "intrinsics": (3, 3),
        }
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value.shape != shape:
                raise UserError(f"{self.where()}: {name} is {value.shape}, {self.skeleton} needs {shape}")
            if not np.isfinite(value).all():
                raise UserError(f"{self.where()}: {name} holds NaN or inf; mark such joints invalid and set them to 0")
        if not np.isfinite(self.difficulty):
            raise UserError(f"{self.where()}: difficulty is {self.difficulty}; give 0 to 1")
        if np.abs(self.keypoints_2d_px).max(initial=0) > LARGEST_PIXEL:
            raise UserError(f"{self.where()}: keypoints_2d_px are over {LARGEST_PIXEL:g}; mark such joints invalid")
        if self.image_jpeg and images.jpeg_size(self.image_jpeg) != self.image_size:
            raise UserError(f"{self.where()}: the image is not a JPEG of {self.image_size}; encode it with encode_jpeg")
        if not 0 <= self.frame < 2**63:
            raise UserError(f"{self.where()}: the frame number is negative or huge; count frames from 0")
        if self.has_pose_3d:
            self._validate_pose_3d(skeleton.root)
        return self

    def _validate_pose_3d(self, root: int | None) -> None:
        if root is None:
            raise UserError(f"{self.where()}: {self.skeleton} has no root joint, so it cannot carry a 3D pose")
        if not self.pose_3d_valid[root]:
            raise UserError(f"{self.where()}: joints have 3D labels but the root, joint {root}, has none; label it too")
        if np.abs(self.pose_3d_mm[root]).max() > 1e-3:
            raise UserError(f"{self.where()}: pose_3d_mm is not relative to its root; subtract joint {root}")
        radius = np.linalg.norm(self.pose_3d_mm[self.pose_3d_valid], axis=-1).max()
        smallest = SMALLEST_RADIUS_MM if self.pose_3d_valid.all() else SMALLEST_PARTIAL_RADIUS_MM
        if not smallest < radius < LARGEST_RADIUS_MM:
            raise UserError(
                f"{self.where()}: the joint farthest from the root is at {radius:.4g} mm, which no person can be; "
                "convert the pose to millimeters"
            )


def encode_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """(H, W, 3) uint8 RGB to JPEG bytes; raises UserError for another shape or type."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise UserError(f"an image is (height, width, 3) uint8 RGB, got {image.dtype} {image.shape}")
    ok, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise UserError(f"an image of shape {image.shape} cannot be written as JPEG")
    return encoded.tobytes()
