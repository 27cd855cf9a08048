"""Shared by the sources in MMPose's form: npz annotations in meters, pickled cameras, images.

`S` (N, 17, 4) contains joints in the camera frame, in meters, and their visibility; `part` (N, 17, 3) the same in
pixels. MMPose's camera rotations, which are transposed, are not needed.
"""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.data.example import PoseExample
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.data.sources import base, human36m_common
from keras_pose.data.sources.base import Item, Options, Source
from keras_pose.data.sources.crop import Person, crop_person, mostly_in_picture

ARRAYS = {"imgname": (None,), "part": (None, 17, 3), "S": (None, 17, 4)}


def load(path: str, root: int) -> dict[str, np.ndarray]:
    """`ARRAYS` of one npz file, with `S` in millimeters; raises UserError if the file is missing or damaged."""
    base.require(Path(path), "MMPose's annotations")
    arrays = base.load_npz(Path(path), ARRAYS)
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) != 1:
        raise UserError(f"{path}: its arrays have {sorted(lengths)} entries; it is damaged, so make it again")
    with base.reading(path):
        arrays["part"] = arrays["part"].astype(np.float64)
        arrays["S"] = arrays["S"].astype(np.float64) * [1000, 1000, 1000, 1]
    base.check_millimetres(arrays["S"][:, :, :3], root, f"{path}, from meters")
    return arrays


def read_cameras(path: Path, allow_pickle: bool) -> dict:
    """Key -> (Camera at the origin, (height, width) of its images) from a pickled file of cameras.

    Raises UserError if the file is missing or broken, or without `allow_pickle`.
    """
    base.require(path, "MMPose's cameras")
    if not allow_pickle:
        raise UserError(f"{path} is pickled, which can run code; if you trust it, add --allow_pickle")
    with base.reading(path), open(path, "rb") as file:
        return {key: _camera(values) for key, values in pickle.load(file).items()}


def _camera(values: dict) -> tuple[geometry.Camera, tuple[int, int]]:
    f, c, k, p = (np.ravel(values.get(name, ())).astype(np.float64) for name in ("f", "c", "k", "p"))
    return human36m_common.make_camera(np.eye(3), np.zeros(3), f, c, k, p), (int(values["h"]), int(values["w"]))


def item_data(arrays: dict[str, np.ndarray], chosen: list[int], camera: tuple, images: Path) -> dict:
    """The data of an `Item`: the entries `chosen` of `load`'s arrays, all from one `camera` of `read_cameras`."""
    return {
        "names": [str(name) for name in arrays["imgname"][chosen]],
        "pixels": arrays["part"][chosen, :, :2],
        "camera_mm": arrays["S"][chosen, :, :3],
        "camera": camera[0],
        "size": camera[1],
        "images": str(images),
    }


def read_item(
    item: Item, options: Options, source: Source, frame_of: Callable[[str], int]
) -> Iterator[PoseExample | BadFrame]:
    """The examples of an item made with `item_data`, without people who are mostly outside the image.

    `frame_of` maps an image's name to its frame number.
    """
    data, target = item.data, source.target_skeleton(options)
    for name, pixels, camera_mm in zip(data["names"], data["pixels"], data["camera_mm"], strict=True):
        path = Path(data["images"]) / name
        picture = base.read_picture(path)
        if picture is None:
            yield BadFrame(str(path), base.NO_PICTURE)
            continue
        base.check_picture_size(picture, data["size"], path)
        if not mostly_in_picture(pixels, picture):
            continue
        person = Person(
            keypoints_px=pixels,
            valid=np.ones(len(camera_mm), bool),
            camera_mm=camera_mm,
            intrinsics=human36m_common.local_intrinsics(data["camera"], camera_mm),
            tags={"source": source.name, "subject": item.subject, "action": item.action, "frame": frame_of(name)},
        )
        yield crop_person(picture, person, source.skeleton, target, options)
