"""Motion capture in BVH files: poses for the lifter, seen by random cameras similar to Human3.6M's.

    *.bvh in a folder, or a zip file of them

Joint names of any common rig are accepted, and any axis may be up; see `keras_pose.io.bvh_rigs`. Each camera sees a
sequence with a body of its own: the stature is random, so the file's unit does not matter, and so are the bone lengths,
because all sequences of a collection often share one skeleton.
"""

import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data.example import PoseExample
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.data.sources import base
from keras_pose.data.sources.base import Item, Options, Source
from keras_pose.data.sources.crop import Person, crop_person
from keras_pose.io import bvh_rigs
from keras_pose.io.bvh import Bvh, is_motion_file, parse_bvh, parse_skeleton

CAMERAS = 4  # views per sequence, as in Human3.6M
# Whole subjects are held out for test, then for validation, until each split has this share of the frames. A subject
# with over twice that share is for training.
HELD_OUT_SHARE = 0.1
LARGEST_FILE = 1 << 28

# Joints of HUMAN36M_17 that rigs have, and their names in `bvh_rigs`.
_JOINTS = {"neck_nose": "Head"}
for _side in bvh_rigs.SIDES:
    _names = {"hip": "UpLeg", "knee": "Leg", "ankle": "Foot", "shoulder": "Arm", "elbow": "ForeArm", "wrist": "Hand"}
    _JOINTS |= {f"{_side.lower()}_{joint}": _side + part for joint, part in _names.items()}

STATURE_MM = (1550.0, 1950.0)
LEG_OF_STATURE = 0.51  # from hip to ankle; of Human3.6M's subjects
BONE_VARIATION = 0.05  # standard deviation of the logarithm of a bone's length
# Ranges around Human3.6M's cameras: 1000 x 1000 pixels, 4 to 6 m away, slightly above the person, almost level.
FOCAL_PX, CENTER_PX = (1140.0, 1150.0), (505.0, 520.0)
DISTANCE_MM, SIDEWAYS_MM = (3500.0, 6500.0), 800.0
PITCH_DEG, ROLL_DEG = (0.0, 15.0), 2.0


def list_items(input_path: Path, options: Options) -> list[Item | BadFrame]:
    bad: list[BadFrame] = []
    frames, units = {}, Counter()
    for name in _list_files(input_path):
        found = base.usable(lambda name=name: _describe(input_path, name), name, bad)
        if found:
            frames[name] = found[0]
            units[found[1]] += 1
    print(", ".join(f"{count} files in {unit}" for unit, count in sorted(units.items())))
    splits = choose_splits(frames)
    items = []
    for name, count in frames.items():
        for camera in range(CAMERAS):
            data = {"input": str(input_path), "file": name, "camera": camera}
            taken = len(range(0, count, options.frame_step))
            subject = _subject(name)
            items.append(Item(splits[subject], subject, Path(name).stem, taken, name, data))
    return items + bad


def _describe(input_path: Path, name: str) -> tuple[int, str]:
    """Number of frames and unit of a file; raises UserError if it is not BVH, or its rig is unknown."""
    text = _read_text(input_path, name)
    count = _count_frames(text, name)
    skeleton = parse_skeleton(text, name)
    return count, bvh_rigs.unit_of(skeleton, bvh_rigs.find_joints(skeleton))


def _subject(name: str) -> str:
    """`cmu_01` from `cmu_01_08.bvh`: everything but the last number."""
    stem = Path(name).stem
    return stem.rpartition("_")[0] or stem


def _count_frames(text: str, name: str) -> int:
    count = re.search(r"^\s*Frames:\s*(\d{1,9})\s*$", text, re.MULTILINE)
    if not count:
        raise UserError(f"{name} is not a BVH file: it has no number of frames; leave it out or export it again")
    return int(count[1])


def choose_splits(frames: dict[str, int]) -> dict[str, str]:
    """The split of each subject, from the number of frames per file; depends only on these and the names."""
    sizes: dict[str, int] = {}
    for name, count in frames.items():
        sizes[_subject(name)] = sizes.get(_subject(name), 0) + count
    share = HELD_OUT_SHARE * sum(sizes.values())
    splits, filled = {}, {"test": 0, "validation": 0}
    for subject in sorted(sizes, key=lambda s: zlib.crc32(s.encode())):
        split = next((s for s in filled if filled[s] < share and sizes[subject] <= 2 * share), "train")
        splits[subject] = split
        if split != "train":
            filled[split] += sizes[subject]
    return splits


def _list_files(input_path: Path) -> list[str]:
    """The paths of the BVH files in a folder, or their names in a zip file."""
    if input_path.is_file():
        with base.reading(input_path), zipfile.ZipFile(input_path) as archive:
            names = archive.namelist()
    else:
        names = [str(path) for path in input_path.rglob("*")]
    names = sorted(name for name in names if is_motion_file(name))
    if not names:
        raise UserError(f"{input_path} holds no .bvh file; name a folder or a zip file of them")
    return names


def _read_text(input_path: Path, name: str) -> str:
    if not input_path.is_file():
        with base.reading(name):
            return Path(name).read_text(encoding="latin-1")
    with base.reading(f"{input_path}: {name}"), zipfile.ZipFile(input_path) as archive:
        if archive.getinfo(name).file_size > LARGEST_FILE:
            raise UserError(f"{input_path}: {name} unpacks to over {LARGEST_FILE >> 20} MiB; leave it out")
        return archive.read(name).decode("latin-1")


def _name_inside(item: Item) -> str:
    """A file's name within its folder or zip file; the same wherever that is."""
    name, folder = item.data["file"], Path(item.data["input"])
    return Path(name).relative_to(folder).as_posix() if folder.is_dir() else name


def read_item(item: Item, options: Options) -> Iterator[PoseExample | BadFrame]:
    target = SOURCE.target_skeleton(options)
    motion = parse_bvh(_read_text(Path(item.data["input"]), item.data["file"]), item.data["file"])
    rng = np.random.default_rng(zlib.crc32(f"{_name_inside(item)} {item.data['camera']}".encode()))
    poses = vary_body(to_human36m(motion), rng)
    camera = random_camera(rng)
    for frame in range(0, len(poses), options.frame_step):
        camera_mm = camera.to_camera(poses[frame])
        tags = {"source": SOURCE.name, "subject": item.subject, "action": item.action, "frame": frame}
        keypoints = geometry.project_points(camera_mm, camera.intrinsics)
        person = Person(keypoints, np.ones(17, bool), camera_mm=camera_mm, intrinsics=camera.intrinsics, tags=tags)
        yield crop_person(None, person, HUMAN36M_17, target, options)


# --- poses -----------------------------------------------------------------------------------------------------


def to_human36m(motion: Bvh) -> np.ndarray:
    """The poses (F, 17, 3), relative to the pelvis, in the file's unit, y up.

    As in Human3.6M, the thorax is the midpoint of the shoulders, and the spine joint that of two spine joints. BVH
    files lack the top of the head: it is put as far above the head joint, along the head, as that is from the thorax.

    Raises:
        UserError: the rig lacks a joint, or its legs have no length.
    """
    index = bvh_rigs.find_joints(motion)
    motion = bvh_rigs.turned_upright(motion, index)
    positions, turns = motion.forward_kinematics()
    joints = {name: positions[index[part]] for name, part in _JOINTS.items()}
    if np.linalg.norm(joints["left_hip"] - joints["left_ankle"], axis=-1).max() < 1e-6:
        raise UserError(f"{motion.name}: its legs have no length; export it again")
    joints["pelvis"] = (joints["left_hip"] + joints["right_hip"]) / 2
    joints["thorax"] = (joints["left_shoulder"] + joints["right_shoulder"]) / 2
    lower, upper = _spine(motion, index)
    joints["spine"] = (positions[lower] + positions[upper]) / 2
    neck = joints["neck_nose"] - joints["thorax"]  # (F, 3)
    turn = turns[index["Head"]]  # (F, 3, 3)
    along = np.array([0.0, 1.0, 0.0])
    if not bvh_rigs.stands_at_rest(motion, index):  # the head's own axes are arbitrary, mostly along the neck
        along = np.einsum("fji,fj->fi", turn, neck).mean(0)
        along /= max(np.linalg.norm(along), 1e-9)
    joints["head_top"] = joints["neck_nose"] + np.linalg.norm(neck, axis=-1).mean() * turn @ along
    poses = np.stack([joints[name] for name in HUMAN36M_17.joint_names], axis=1)
    return poses - poses[:, :1]


def _spine(motion: Bvh, index: dict[str, int]) -> tuple[int, int]:
    """The indices of the two joints around Human3.6M's spine joint: CMU's Spine and Spine1, or their equivalents."""
    chain = bvh_rigs.spine_joints(motion, index)
    names = [motion.joints[j].name.lower() for j in chain]
    for lower, upper in (("spine", "spine1"), ("abdomen", "chest")):
        found = [
            [j for j, name in zip(chain, names, strict=True) if re.search(rf"(^|[^a-z]|mixamorig\d*){end}$", name)]
            for end in (lower, upper)
        ]
        if all(found):
            return found[0][0], found[1][0]
    return chain[max(0, (len(chain) - 1) // 2)], chain[len(chain) // 2]


def vary_body(poses: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(F, 17, 3) poses in any unit to millimeters, with random stature and bone lengths.

    Bones on the left and right change by the same factor.
    """
    names, result = HUMAN36M_17.joint_names, np.zeros_like(poses)
    leg = sum(np.linalg.norm(poses[:, j] - poses[:, j - 1], axis=-1).mean() for j in (2, 3, 5, 6)) / 2
    scale = rng.uniform(*STATURE_MM) * LEG_OF_STATURE / leg
    factors: dict[str, float] = {}
    for j, parent in enumerate(HUMAN36M_17.parents):  # parents come before children
        if parent >= 0:
            part = names[j].removeprefix("left_").removeprefix("right_")
            factor = factors.setdefault(part, float(np.exp(rng.normal(0, BONE_VARIATION))))
            result[:, j] = result[:, parent] + (poses[:, j] - poses[:, parent]) * (scale * factor)
    return result


def random_camera(rng: np.random.Generator) -> geometry.Camera:
    """A random camera like Human3.6M's, facing a person at the origin of a world with y up."""
    yaw = rng.uniform(-np.pi, np.pi)
    pitch, roll = np.deg2rad([rng.uniform(*PITCH_DEG), rng.normal(0, ROLL_DEG)])
    to_camera_axes = np.diag([1.0, -1.0, -1.0])
    rotation = _turn(2, roll) @ _turn(0, pitch) @ to_camera_axes @ _turn(1, yaw)
    translation = np.array([*rng.uniform(-SIDEWAYS_MM, SIDEWAYS_MM, 2) * [1, 0.3], rng.uniform(*DISTANCE_MM)])
    focal, (x, y) = rng.uniform(*FOCAL_PX), rng.uniform(*CENTER_PX, 2)
    return geometry.Camera(np.array([[focal, 0, x], [0, focal, y], [0, 0, 1]]), rotation, translation)


def _turn(axis: int, angle: float) -> np.ndarray:
    """(3, 3) rotation about a coordinate axis by radians."""
    j, k = (axis + 1) % 3, (axis + 2) % 3
    result = np.eye(3)
    result[j, j] = result[k, k] = np.cos(angle)
    result[k, j], result[j, k] = np.sin(angle), -np.sin(angle)
    return result


SOURCE = Source(
    name="mocap",
    summary="motion capture for the lifter: a folder or zip file of .bvh files, such as CMU's; random cameras.",
    terms="those of the collection; CMU's is free for all uses, with thanks to mocap.cs.cmu.edu.",
    skeleton=HUMAN36M_17,
    list_items=list_items,
    read_item=read_item,
    has_images=False,
    takes_file=True,
)
