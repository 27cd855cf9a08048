"""Human3.6M's poses in VideoPose3D's form, without images: they train only the lifter.

The input is a checkout of VideoPose3D with `data/data_3d_h36m.npz` (pickled: world frame, meters, 32 joints). The
cameras are read from literals in its `common/h36m_dataset.py`, without running its code. Every pose is projected into
its subject's four cameras, with lens distortion.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data.example import PoseExample
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.data.sources import base, human36m_common
from keras_pose.data.sources.base import Item, Options, Source
from keras_pose.data.sources.crop import crop_person
from keras_pose.data.sources.human36m import person_of


def read_cameras(path: Path) -> dict[tuple[str, str], geometry.Camera]:
    """The cameras in VideoPose3D's h36m_dataset.py by (subject, camera id).

    The file's tangential coefficients are (p2, p1) in Human3.6M's formula. Its orientation is a camera-to-world
    quaternion (w, x, y, z).
    """
    base.require(path, "VideoPose3D's cameras")
    tables = {}
    with base.reading(path):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                if node.targets[0].id in ("h36m_cameras_intrinsic_params", "h36m_cameras_extrinsic_params"):
                    tables[node.targets[0].id] = ast.literal_eval(node.value)
        cameras = {}
        for subject, outers in tables["h36m_cameras_extrinsic_params"].items():
            for inner, outer in zip(tables["h36m_cameras_intrinsic_params"], outers, strict=True):
                if outer:  # empty for unlabeled subjects
                    cameras[subject, inner["id"]] = _camera(inner, outer)
    return cameras


def _camera(inner: dict, outer: dict) -> geometry.Camera:
    return human36m_common.make_camera(
        _rotation(outer["orientation"]).T,
        outer["translation"],
        inner["focal_length"],
        inner["center"],
        inner["radial_distortion"],
        inner["tangential_distortion"][::-1],
    )


def _rotation(quaternion: list[float]) -> np.ndarray:
    """The (3, 3) rotation of a quaternion (w, x, y, z)."""
    w, x, y, z = np.array(quaternion, np.float64) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def load_poses(path: str, allow_pickle: bool) -> dict[str, dict[str, np.ndarray]]:
    """{subject: {sequence: (T, 17, 3) mm, world frame}} of data_3d_h36m.npz.

    Raises UserError if the file is missing or broken, or without `allow_pickle`.
    """
    base.require(Path(path), "VideoPose3D's poses, made by its prepare_data_h36m.py")
    table = base.load_npz(Path(path), {"positions_3d": ()}, allow_pickle)["positions_3d"]
    poses: dict[str, dict[str, np.ndarray]] = {}
    with base.reading(path):
        for subject, sequences in table.item().items():
            poses[subject] = {}
            for sequence, metres in sequences.items():
                where = f"{path}: {subject!r} {sequence!r}"
                base.check_shape(np.asarray(metres), (None, 32, 3), where)
                joints = np.asarray(metres, np.float64)[:, human36m_common.JOINTS_17_OF_32] * 1000
                base.check_millimetres(joints, 0, f"{where}, from meters")
                poses[subject][sequence] = joints
    return poses


def list_items(input_dir: Path, options: Options) -> list[Item]:
    cameras = read_cameras(input_dir / "common" / "h36m_dataset.py")
    path = input_dir / "data" / "data_3d_h36m.npz"
    items = []
    for subject, sequences in load_poses(str(path), options.allow_pickle).items():
        for sequence, poses in sequences.items():
            if options.drop_bad_sequences and human36m_common.is_bad(subject, sequence):
                continue
            split = human36m_common.split_of(subject, sequence)
            action = human36m_common.action_name(sequence)
            for name in human36m_common.CAMERA_IDS:
                if (subject, name) not in cameras:
                    raise UserError(
                        f"{input_dir}/common/h36m_dataset.py has no camera {name} of {subject}; get it again"
                    )
                data = {"poses": poses[:: options.frame_step], "camera": cameras[subject, name]}
                items.append(Item(split, subject, action, len(data["poses"]), str(path), data))
    return items


def read_item(item: Item, options: Options) -> Iterator[PoseExample | BadFrame]:
    target, camera = SOURCE.target_skeleton(options), item.data["camera"]
    for index, world_mm in enumerate(item.data["poses"]):
        frame = index * options.frame_step
        tags = {"source": SOURCE.name, "subject": item.subject, "action": item.action, "frame": frame}
        person = person_of(camera.to_camera(world_mm), camera, tags)
        yield crop_person(None, person, HUMAN36M_17, target, options)


SOURCE = Source(
    name="human36m_videopose3d",
    summary="poses for the lifter: a VideoPose3D checkout with data/data_3d_h36m.npz; needs --allow_pickle.",
    terms=human36m_common.TERMS,
    skeleton=HUMAN36M_17,
    list_items=list_items,
    read_item=read_item,
    has_images=False,
)
