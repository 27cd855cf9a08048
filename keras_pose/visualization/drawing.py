"""Draws poses: on the image, as a 3D stick figure from any side, or many images on one sheet.

NumPy and OpenCV only, which keeps the start of worker processes fast. Images are (H, W, 3) uint8 RGB, points are (x, y)
with pixel centers at i + 0.5 (see `keras_pose.core.geometry`), 3D poses are millimeters in the camera frame. Left is
blue, right is orange, the middle of the body is green: the person's left and right, not the image's.
"""

import os

import cv2
import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton
from keras_pose.io.atomic import write_atomically

# Blue and orange are distinct for color-blind people, on skin, grass and white paper.
LIMBS = {"left": (30, 130, 255), "right": (255, 110, 20), "middle": (40, 190, 90)}
GHOST = {side: (175, 175, 175) for side in LIMBS}  # the ground truth, behind a prediction

LOW_SCORE = 0.2  # a joint below this score is drawn hollow
_SUBPIXEL_BITS = 4
_PAPER = (250, 250, 248)
_INK = (60, 60, 60)
_GRID = (205, 205, 205)
_GRID_CELL_MM = 500.0
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def side_of(joint_name: str) -> str:
    """The side of the body that a joint is on: `left`, `right` or `middle`."""
    side = joint_name.split("_")[0]
    return side if side in ("left", "right") else "middle"


def draw_keypoints(
    image: np.ndarray,
    keypoints_px: np.ndarray,
    skeleton: Skeleton,
    valid: np.ndarray | None = None,
    scores: np.ndarray | None = None,
    colors: dict[str, tuple[int, int, int]] = LIMBS,
    min_height: int = 0,
) -> np.ndarray:
    """A copy of the image with limbs and joints drawn on it.

    Args:
        keypoints_px: (J, 2) pixels of the image; points may lie outside.
        valid: (J,) bool; invalid joints and their bones are omitted, and so are joints that are not finite.
        scores: (J,) in [0, 1]; joints below `LOW_SCORE` are hollow and their bones thinner.
        colors: of each side, as in `LIMBS`.
        min_height: smaller images are enlarged to it first, which keeps lines thin relative to the person.

    Raises:
        UserError: the keypoints are not those of the skeleton.
    """
    keypoints_px = _checked_joints(keypoints_px, skeleton, 2)
    scale = max(1.0, min_height / image.shape[0])
    canvas = _resized(image, scale) if scale > 1 else np.ascontiguousarray(image).copy()
    drawn = np.isfinite(keypoints_px).all(-1)
    if valid is not None:
        drawn &= np.asarray(valid, bool)
    sure = np.ones(len(drawn), bool) if scores is None else np.asarray(scores) >= LOW_SCORE
    _draw_figure(canvas, keypoints_px * scale, skeleton, drawn, sure, colors, order=skeleton.bones)
    return canvas


def draw_pose_3d(
    pose_3d_mm: np.ndarray,
    skeleton: Skeleton,
    size: tuple[int, int] = (256, 256),
    yaw_deg: float = 0.0,
    pitch_deg: float = 10.0,
    label: str = "",
    reference_mm: np.ndarray | None = None,
    radius_mm: float = 1200.0,
) -> np.ndarray:
    """An image of (height, width) `size` with the stick figure, without perspective, above a floor of 500 mm cells.

    Args:
        pose_3d_mm: (J, 3) camera frame, relative to the root; joints that are not finite are omitted.
        yaw_deg: turns the figure about the vertical: 0 shows it from the camera, 90 from the camera's right.
        pitch_deg: the viewer's downward angle; 0 shows the floor as a line.
        label: text in the upper left corner.
        reference_mm: (J, 3) a second pose, such as the ground truth, drawn in gray behind the first.
        radius_mm: half the length that the shorter side of the image covers.

    Raises:
        UserError: a pose does not have the joints of the skeleton.
    """
    pose_3d_mm = _checked_joints(pose_3d_mm, skeleton, 3)
    canvas = np.full((*size, 3), _PAPER, np.uint8)
    poses = [pose_3d_mm] if reference_mm is None else [pose_3d_mm, _checked_joints(reference_mm, skeleton, 3)]
    view = _rotation(yaw_deg, pitch_deg)
    points = np.concatenate(poses)
    points = points[np.isfinite(points).all(-1)]
    points = points if len(points) else np.zeros((1, 3))  # an empty floor
    middle = (points.min(0) + points.max(0)) / 2
    scale = min(size) / (2 * radius_mm)

    def project(points_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        turned = (points_mm - middle) @ view.T
        return turned[:, :2] * scale + np.array([size[1], size[0]]) / 2, turned[:, 2]

    _draw_floor(canvas, points, project)
    for pose, colors in list(zip(poses, (LIMBS, GHOST), strict=False))[::-1]:
        points_px, depth = project(pose)
        order = sorted(skeleton.bones, key=lambda bone: -np.nan_to_num(depth[bone[0]] + depth[bone[1]]))
        drawn = np.isfinite(points_px).all(-1)
        _draw_figure(canvas, points_px, skeleton, drawn, drawn, colors, order)
    _draw_axes(canvas, view)
    _write_text(canvas, label, (6, 6))
    return canvas


def draw_pose_views(
    pose_3d_mm: np.ndarray, skeleton: Skeleton, height: int = 256, reference_mm: np.ndarray | None = None
) -> np.ndarray:
    """The 3D pose from the camera and from the side, as two squares of `height` side by side."""
    views = (("from the camera", 0.0), ("from the side", 90.0))
    return np.concatenate(
        [
            draw_pose_3d(pose_3d_mm, skeleton, (height, height), yaw, label=label, reference_mm=reference_mm)
            for label, yaw in views
        ],
        axis=1,
    )


def draw_result(
    image: np.ndarray,
    keypoints_px: np.ndarray,
    pose_3d_mm: np.ndarray | None,
    skeleton: Skeleton,
    height: int = 256,
    true_keypoints_px: np.ndarray | None = None,
    true_valid: np.ndarray | None = None,
    true_pose_3d_mm: np.ndarray | None = None,
    true_pose_valid: np.ndarray | None = None,
    scores: np.ndarray | None = None,
) -> np.ndarray:
    """The image with the skeleton on it and, if there is a 3D pose, its two views, all `height` tall.

    The ground truth, if given, is drawn in gray beneath, without invalid joints.
    """
    scale = height / image.shape[0]
    picture = fit_height(image, height)
    if true_keypoints_px is not None:
        picture = draw_keypoints(picture, true_keypoints_px * scale, skeleton, true_valid, colors=GHOST)
    picture = draw_keypoints(picture, keypoints_px * scale, skeleton, scores=scores)
    if pose_3d_mm is None:
        return picture
    if true_pose_3d_mm is not None and true_pose_valid is not None:
        true_pose_3d_mm = np.where(true_pose_valid[:, None], true_pose_3d_mm, np.nan)
    return np.concatenate([picture, draw_pose_views(pose_3d_mm, skeleton, height, true_pose_3d_mm)], axis=1)


def contact_sheet(images: list[np.ndarray], columns: int, titles: list[str] | None = None) -> np.ndarray:
    """Images in rows of `columns`, each centered in a cell of the largest size, with its title above if given.

    Raises UserError without images.
    """
    if not images:
        raise UserError("a contact sheet needs at least one image")
    cell_height = max(image.shape[0] for image in images)
    cell_width = max(image.shape[1] for image in images)
    strip, gap = (20 if titles else 0), 4
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    sheet_size = (rows * (cell_height + strip + gap) + gap, columns * (cell_width + gap) + gap)
    sheet = np.full((*sheet_size, 3), _PAPER, np.uint8)
    for i, image in enumerate(images):
        top = gap + (i // columns) * (cell_height + strip + gap)
        left = gap + (i % columns) * (cell_width + gap)
        if titles:
            _write_text(sheet[top : top + strip, left : left + cell_width], titles[i], (2, 4))
        y = top + strip + (cell_height - image.shape[0]) // 2
        x = left + (cell_width - image.shape[1]) // 2
        sheet[y : y + image.shape[0], x : x + image.shape[1]] = image
    return sheet


def fit_height(image: np.ndarray, height: int) -> np.ndarray:
    """The image resized to a height, keeping its aspect ratio."""
    return _resized(image, height / image.shape[0])


def save_png(path: str | os.PathLike, image: np.ndarray) -> None:
    """Writes (H, W, 3) uint8 RGB as PNG, completely or not at all; raises UserError if the folder is not writable."""
    ok, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not ok:
        raise UserError(f"{path}: an image of shape {image.shape} cannot be written as PNG")
    write_atomically(path, encoded.tobytes())


# --- parts -----------------------------------------------------------------------------------------------------


def _checked_joints(joints: np.ndarray, skeleton: Skeleton, dimensions: int) -> np.ndarray:
    joints = np.asarray(joints, np.float64)
    if joints.shape != (skeleton.num_joints, dimensions):
        raise UserError(
            f"cannot draw joints of shape {joints.shape}; {skeleton.name} needs {(skeleton.num_joints, dimensions)}"
        )
    return joints


def _resized(image: np.ndarray, scale: float) -> np.ndarray:
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)


def _draw_figure(canvas, points_px, skeleton, drawn, sure, colors, order) -> None:
    """Bones in the given order, then joints; if the person is large enough, with dark and white rims."""
    extent = np.ptp(points_px[drawn], axis=0).max() if drawn.any() else 0.0
    thickness = int(np.clip(round(min(extent, *canvas.shape[:2]) / 130), 1, 12))
    rim = thickness > 1 and colors is not GHOST
    bones = [(a, b) for a, b in order if drawn[a] and drawn[b]]
    for a, b in bones:
        color = colors[side_of(skeleton.joint_names[b])]
        width = thickness if sure[a] and sure[b] else max(1, thickness // 2)
        if rim:
            cv2.line(canvas, _fixed(points_px[a]), _fixed(points_px[b]), (20, 20, 20), width + 2, cv2.LINE_AA, 4)
        cv2.line(canvas, _fixed(points_px[a]), _fixed(points_px[b]), color, width, cv2.LINE_AA, _SUBPIXEL_BITS)
    radius = int((0.9 * thickness + 0.6) * 2**_SUBPIXEL_BITS)
    for j in np.flatnonzero(drawn):
        color = colors[side_of(skeleton.joint_names[j])]
        centre = _fixed(points_px[j])
        if not sure[j]:
            cv2.circle(canvas, centre, radius, color, max(1, thickness // 2), cv2.LINE_AA, _SUBPIXEL_BITS)
            continue
        cv2.circle(canvas, centre, radius, color, -1, cv2.LINE_AA, _SUBPIXEL_BITS)
        if rim:
            cv2.circle(canvas, centre, radius, (255, 255, 255), 1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _fixed(point_px: np.ndarray) -> tuple[int, int]:
    """A point in OpenCV's fixed-point convention, in which pixel centers are integers."""
    far = 2.0**14  # beyond this, OpenCV's fixed-point lines overflow
    x, y = np.round((np.clip(point_px, -far, far) - 0.5) * 2**_SUBPIXEL_BITS).astype(int)
    return int(x), int(y)


def _rotation(yaw_deg: float, pitch_deg: float) -> np.ndarray:
    """(3, 3): first a yaw about the vertical, then the viewer's pitch downward."""
    yaw, pitch = np.deg2rad(yaw_deg), np.deg2rad(pitch_deg)
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    return about_x @ about_y


def _draw_floor(canvas: np.ndarray, points_mm: np.ndarray, project) -> None:
    """A grid of 500 mm cells about the root, at the height of the lowest joint."""
    floor_y = points_mm[:, 1].max()
    lines = np.arange(-2, 3) * _GRID_CELL_MM
    ends = np.array([lines[0], lines[-1]])
    for value in lines:
        for line in ([[x, floor_y, value] for x in ends], [[value, floor_y, z] for z in ends]):
            a, b = project(np.array(line))[0]
            cv2.line(canvas, _fixed(a), _fixed(b), _GRID, 1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _draw_axes(canvas: np.ndarray, view: np.ndarray) -> None:
    """The camera's axes in the lower left corner: x right, y down, z away."""
    length = max(14.0, 0.07 * min(canvas.shape[:2]))
    origin = np.array([1.6 * length, canvas.shape[0] - 2.4 * length])
    for name, axis in zip("xyz", view.T, strict=True):
        if np.hypot(axis[0], axis[1]) < 0.3:
            continue  # points at the viewer
        tip = origin + axis[:2] * length
        cv2.line(canvas, _fixed(origin), _fixed(tip), _INK, 1, cv2.LINE_AA, _SUBPIXEL_BITS)
        letter = origin + axis[:2] * length * 1.45
        cv2.putText(canvas, name, (int(letter[0]) - 4, int(letter[1]) + 4), _FONT, 0.35, _INK, 1, cv2.LINE_AA)


def _write_text(canvas: np.ndarray, text: str, corner: tuple[int, int]) -> None:
    """Text with its upper left corner at (x, y), shrunk if it is too wide."""
    if not text:
        return
    scale = 0.4 * max(1.0, min(canvas.shape[:2]) / 400)
    (width, height), _ = cv2.getTextSize(text, _FONT, scale, 1)
    room = canvas.shape[1] - 2 * corner[0]
    if width > room:
        scale, height = scale * room / width, round(height * room / width)
    cv2.putText(canvas, text, (corner[0], corner[1] + height), _FONT, scale, _INK, 1, cv2.LINE_AA)
