"""Human3.6M as its authors distribute it: poses in CDF files, videos, and cameras in metadata.xml.

    S1/MyPoseFeatures/D3_Positions_mono/Directions 1.54138969.cdf   (camera frame), or
    S1/MyPoseFeatures/D3_Positions/Directions 1.cdf                 (world frame)
    S1/Videos/Directions 1.54138969.mp4
    metadata.xml

2D labels are the 3D joints projected through the camera, including its lens distortion.
"""

import math
import xml.etree.ElementTree as ET
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
from keras_pose.data.sources.crop import Person, crop_person
from keras_pose.data.sources.human36m_common import CAMERA_IDS, JOINTS_17_OF_32

MOST_COUNTED = 1 << 20  # values in a CDF file; the longest sequences of the data set have 600,000


def read_cameras(path: Path) -> dict[tuple[str, str], geometry.Camera]:
    """The cameras of metadata.xml by (subject, camera id).

    Its `w0` contains three angles and the position in mm for each of 4 cameras and 11 subjects; then per camera the
    focal lengths, the center, and three radial and two tangential coefficients.
    """
    base.require(path, "the file metadata.xml comes with the data set's code")
    with base.reading(path):
        numbers = np.array(ET.parse(path).getroot().find("w0").text.strip().strip("[]").split(), np.float64)
        if numbers.size != 300 or not np.isfinite(numbers).all():
            raise UserError(f"{path}: w0 has {numbers.size} numbers, not 300; get the original file")
    outer, inner = numbers[:264].reshape(4, 11, 6), numbers[264:].reshape(4, 9)
    return {
        (f"S{s + 1}", CAMERA_IDS[c]): human36m_common.make_camera(
            _rotation(outer[c, s, :3]), outer[c, s, 3:], inner[c, :2], inner[c, 2:4], inner[c, 4:7], inner[c, 7:]
        )
        for c in range(4)
        for s in range(11)
    }


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Rx Ry Rz of three angles in radians, as in the data set's own code."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def list_items(input_dir: Path, options: Options) -> list[Item | BadFrame]:
    cameras = read_cameras(input_dir / "metadata.xml")
    items = []
    for subject in human36m_common.find_subjects(input_dir):
        features = input_dir / subject / "MyPoseFeatures"
        world = not (features / "D3_Positions_mono").is_dir()
        folder = base.require(features / ("D3_Positions" if world else "D3_Positions_mono"), "the 3D poses")
        paths = [path for path in sorted(folder.glob("*.cdf")) if not path.name.startswith("_")]
        for path, camera in ((path, camera) for path in paths for camera in (CAMERA_IDS if world else [""])):
            sequence, _, suffix = path.stem.partition(".")
            items += _items(input_dir / subject, subject, sequence, camera or suffix, path, cameras, options)
        if not paths:
            raise UserError(f"{folder} holds no .cdf file; extract the archive of the 3D poses there")
    return items


def _items(
    folder: Path, subject: str, sequence: str, camera: str, path: Path, cameras: dict, options: Options
) -> list[Item | BadFrame]:
    """The item for one camera's video; BadFrames if the video is missing, nothing if the sequence is left out."""
    if (subject, camera) not in cameras:
        raise UserError(
            f"{path}: {camera!r} is not one of the cameras {', '.join(CAMERA_IDS)}; restore the file's name"
        )
    if options.drop_bad_sequences and human36m_common.is_bad(subject, sequence):
        return []
    video = folder / "Videos" / f"{sequence}.{camera}.mp4"
    if (subject, sequence) == ("S11", "Directions") and not video.exists():
        return []  # the data set itself lacks one of these videos
    frames = len(range(0, count_frames(path), options.frame_step))
    if not video.exists():
        return [BadFrame(str(video), "the video of these poses is missing; get it")] * frames
    split = human36m_common.split_of(subject, sequence)
    data = {"video": str(video), "camera": cameras[subject, camera], "size": human36m_common.PICTURE_SIZES[camera]}
    data["world"] = path.parent.name == "D3_Positions"
    return [Item(split, subject, human36m_common.action_name(sequence), frames, str(path), data)]


def open_cdf(path: Path):
    """Opens a file with cdflib; raises UserError if cdflib is not installed."""
    cdfread = base.optional_import("cdflib").cdfread
    cdfread.range = _short_range  # cdflib's own would count for hours in a damaged file
    return cdfread.CDF(path)


def _short_range(*arguments: int) -> range:
    numbers = range(*arguments)
    if len(numbers) > MOST_COUNTED:
        raise ValueError(f"it claims to hold {len(numbers)} values")
    return numbers


def count_frames(path: Path) -> int:
    """The number of poses in a CDF file, from its header; raises UserError if the file is broken or has other data."""
    with base.reading(path):
        pose = open_cdf(path).varinq("Pose")
        sizes = [int(n) for n in (pose.Last_Rec + 1, *pose.Dim_Sizes)]
        if sizes[-1] != 96:
            raise UserError(f"{path}: Pose is {sizes}, not frames x 96; name 3D positions of 32 joints")
        return math.prod(sizes[:-1])


def read_poses(path: Path) -> np.ndarray:
    """The (T, 17, 3) poses of a CDF file, in mm; raises UserError if the file is broken or in another unit."""
    with base.reading(path):
        poses = np.asarray(open_cdf(path).varget("Pose"), np.float64).reshape(-1, 32, 3)[:, JOINTS_17_OF_32]
    base.check_millimetres(poses, 0, str(path))
    return poses


def read_item(item: Item, options: Options) -> Iterator[PoseExample | BadFrame]:
    camera, target = item.data["camera"], SOURCE.target_skeleton(options)
    poses = read_poses(Path(item.file))
    if item.data["world"]:
        poses = camera.to_camera(poses)
    frames = list(range(0, len(poses), options.frame_step))
    for frame, picture in base.read_video(item.data["video"], frames):
        if picture is None:
            yield BadFrame(f"frame {frame}", f"{item.data['video']} has no such frame or is damaged; get it again")
            continue
        base.check_picture_size(picture, item.data["size"], item.data["video"])
        tags = {"source": SOURCE.name, "subject": item.subject, "action": item.action, "frame": frame}
        yield crop_person(picture, person_of(poses[frame], camera, tags), HUMAN36M_17, target, options)


def person_of(camera_mm: np.ndarray, camera: geometry.Camera, tags: dict) -> Person:
    """A person with (17, 3) joints in the camera frame; 2D labels are their projections, with lens distortion."""
    return Person(
        keypoints_px=camera.project(camera_mm),
        valid=np.ones(len(camera_mm), bool),
        camera_mm=camera_mm,
        intrinsics=human36m_common.local_intrinsics(camera, camera_mm),
        tags=tags,
    )


SOURCE = Source(
    name="human36m",
    summary="the data set's own files: S*/MyPoseFeatures/D3_Positions_mono (or D3_Positions), S*/Videos, metadata.xml.",
    terms=human36m_common.TERMS,
    skeleton=HUMAN36M_17,
    list_items=list_items,
    read_item=read_item,
)
