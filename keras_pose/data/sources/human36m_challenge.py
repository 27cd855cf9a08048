"""Human3.6M from the ECCV 2018 challenge: images cropped to the person, and root-relative poses.

    {Train,Val}/IMG/00001.jpg
    {Train,Val}/POSE/00001.csv   17 rows x, y, z: mm, camera frame, relative to the pelvis

There are no cameras and no 2D labels: keypoints are invalid, the root position is zero and the intrinsics are the
identity. `Val` becomes the validation split. `Test` has no labels and is not read.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data.example import PoseExample, encode_jpeg
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.data.sources import base, human36m_common
from keras_pose.data.sources.base import Item, Options, Source
from keras_pose.data.sources.crop import map_pose

# Images per item.
CHUNK = 250


def list_items(input_dir: Path, options: Options) -> list[Item]:
    items = []
    for folder, split in (("Train", "train"), ("Val", "validation")):
        poses = sorted(base.require(input_dir / folder / "POSE", "the poses of the challenge").glob("*.csv"))
        if not poses:
            raise UserError(f"{input_dir / folder / 'POSE'} holds no .csv file; extract the poses there")
        base.require(input_dir / folder / "IMG", "the images of the challenge")
        chosen = [str(path) for path in poses[:: options.frame_step]]
        for start in range(0, len(chosen), CHUNK):
            chunk = chosen[start : start + CHUNK]
            items.append(Item(split, "", "", len(chunk), chunk[0], chunk))
    return items


def read_pose(path: Path) -> np.ndarray:
    """The (17, 3) pose in a CSV file, in mm; raises UserError if the file is broken or in another unit."""
    with base.reading(path):
        pose = np.array([row.split(",") for row in path.read_text().split()], np.float64)
    base.check_shape(pose, (17, 3), str(path))
    if np.isfinite(pose).all():
        base.check_millimetres(pose[None], 0, str(path))
    return pose


def read_item(item: Item, options: Options) -> Iterator[PoseExample | BadFrame]:
    target = SOURCE.target_skeleton(options)
    for csv in map(Path, item.data):
        bad: list[BadFrame] = []
        pose = base.usable(lambda csv=csv: read_pose(csv), str(csv), bad)
        if pose is None:
            yield bad[0]
            continue
        path = csv.parent.parent / "IMG" / f"{csv.stem}.jpg"
        picture = base.read_picture(path)
        if picture is None:
            yield BadFrame(str(path), base.NO_PICTURE)
        elif not np.isfinite(pose).all():
            yield BadFrame(str(csv), "a label is NaN or inf; fix the label or leave the frame out")
        else:
            yield _example(picture, pose, int(csv.stem) if csv.stem.isdecimal() else 0, target, options)


def _example(picture: np.ndarray, pose: np.ndarray, frame: int, target, options: Options) -> PoseExample:
    height, width = picture.shape[:2]
    crop = geometry.box_crop(np.array([0, 0, width, height]), options.image_size, margin=1.0)
    affine = geometry.crop_affine(*crop, options.image_size)
    pose, pose_valid, _ = map_pose(pose, np.ones(17, bool), HUMAN36M_17, target)
    count = target.num_joints
    return PoseExample(
        image_jpeg=encode_jpeg(geometry.warp_image(picture, affine, options.image_size, options.smooth)),
        image_size=options.image_size,
        keypoints_2d_px=np.zeros((count, 2)),
        keypoint_valid=np.zeros(count, bool),
        keypoint_hidden=np.zeros(count, bool),
        pose_3d_mm=pose,
        pose_3d_valid=pose_valid,
        skeleton=target.name,
        frame=frame,
        source=SOURCE.name,
    )


SOURCE = Source(
    name="human36m_challenge",
    summary="the ECCV 2018 challenge's subset: {Train,Val}/IMG and POSE; 3D poses without 2D labels and cameras.",
    terms=human36m_common.TERMS,
    skeleton=HUMAN36M_17,
    list_items=list_items,
    read_item=read_item,
)
