"""Leeds Sports Pose and its extended set: photos with 14 joints, in one MATLAB file.

    joints.mat, images/im0001.jpg ...       (lsp: `joints` (3, 14, 2000))
    joints.mat, images/im00001.jpg ...      (lsp_extended: `joints` (14, 3, 10000))

Coordinates start at 1, the center of the first pixel, as in MATLAB. The third number has different meanings: in lsp,
where all joints are labeled, it marks a hidden joint; in lsp_extended, a labeled one. The number in an image's name is
the index of its joints, from 1.
"""

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import LSP_14
from keras_pose.data.example import PoseExample
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.data.sources import base, photo_labels
from keras_pose.data.sources.base import Item, Options, Source
from keras_pose.data.sources.mat_file import read_mat
from keras_pose.data.sources.photo_labels import Label

LSP_TRAINING_PICTURES = 1000  # the authors' split: the first half is for training
TERMS = "no licence is stated; for research (Johnson and Everingham, BMVC 2010 and CVPR 2011)."


def read_joints(path: Path, extended: bool) -> np.ndarray:
    """(N, 14, 3) from joints.mat; raises UserError if the file is missing, broken or from the other set."""
    base.require(path, "the joints' labels")
    joints = read_mat(path, ("joints",)).get("joints")
    if joints is None or joints.dtype.kind not in "iuf":
        raise UserError(f"{path} has no numbers named joints; this source does not read such files")
    base.check_shape(joints, (14, 3, None) if extended else (3, 14, None), f"{path}: joints")
    return joints.astype(np.float64).transpose((2, 0, 1) if extended else (2, 1, 0))


def list_items(input_dir: Path, options: Options, extended: bool = False) -> list[Item | BadFrame]:
    joints = read_joints(input_dir / "joints.mat", extended)
    pictures, bad = {}, []
    for path in photo_labels.find_pictures(input_dir / "images", "the photos", "im*.jpg"):
        match = re.fullmatch(r"im(\d+)", path.stem)
        number = int(match[1]) if match else 0
        if not 1 <= number <= len(joints):
            why = f"it has no joints: joints.mat has images 1 to {len(joints)}; use the original names"
            bad.append(BadFrame(str(path), why))
            continue
        pictures[path] = [_label(joints[number - 1], number, extended)]

    def split_of(path: Path) -> str:
        return "test" if extended or pictures[path][0].frame > LSP_TRAINING_PICTURES else "train"

    return photo_labels.photo_items(pictures, split_of, options) + bad


def _label(joints: np.ndarray, number: int, extended: bool) -> Label:
    flag = joints[:, 2] > 0
    valid = flag if extended else np.ones(14, bool)
    return Label(joints[:, :2] - 0.5, valid, number, None if extended else flag)


def read_item(item: Item, options: Options, name: str = "lsp") -> Iterator[PoseExample | BadFrame]:
    yield from photo_labels.read_photo(item, SOURCES[name], options)


SOURCES = {
    "lsp": Source(
        name="lsp",
        summary="Leeds Sports Pose (2D): joints.mat and images; images 1 to 1000 train, the others test.",
        terms=TERMS,
        skeleton=LSP_14,
        list_items=list_items,
        read_item=read_item,
    ),
    "lsp_extended": Source(
        name="lsp_extended",
        summary="Leeds Sports Pose Extended (2D): joints.mat and images; all of it tests, unless --split=train.",
        terms=TERMS,
        skeleton=LSP_14,
        list_items=functools.partial(list_items, extended=True),
        read_item=functools.partial(read_item, name="lsp_extended"),
    ),
}
