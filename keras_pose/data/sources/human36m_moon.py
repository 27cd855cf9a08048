"""Human3.6M as Moon et al. 2019 (3DMPPE) distribute it: JSON annotations and images.

    annotations/Human36M_subject1_{data,camera,joint_3d}.json
    images/s_01_act_02_subact_01_ca_01/s_01_act_02_subact_01_ca_01_000001.jpg

These cameras have no lens distortion, so 2D labels are up to 2.4 px off the image, as in the authors' work.
"""

import json
from collections.abc import Iterator
from functools import lru_cache
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


@lru_cache(maxsize=2)
def load(path: str) -> dict:
    """Reads one of the JSON files; raises UserError if it is missing or broken."""
    base.require(Path(path), "Moon et al.'s annotations")
    with base.reading(path):
        return dict(json.loads(Path(path).read_text()))


def list_items(input_dir: Path, options: Options) -> list[Item | BadFrame]:
    folder = base.require(input_dir / "annotations", "Moon et al.'s annotations")
    items = []
    for subject in human36m_common.SPLITS:
        stem = f"{folder}/Human36M_subject{subject[1:]}"
        if not Path(f"{stem}_data.json").exists():
            continue
        for (action, subaction, camera), pictures in _sequences(f"{stem}_data.json", options, items).items():
            # The authors' first take of an action is Human3.6M's "<action> 1".
            name = human36m_common.ACTIONS[action - 2]
            sequence = f"{name} 1" if subaction == 1 else name
            if options.drop_bad_sequences and human36m_common.is_bad(subject, sequence):
                continue
            data = {"stem": stem, "images": str(input_dir / "images"), "pictures": pictures}
            data |= {"camera": camera, "action": action, "subaction": subaction}
            split = human36m_common.split_of(subject, sequence)
            items.append(Item(split, subject, name, len(pictures), f"{stem}_joint_3d.json", data))
    if not any(isinstance(item, Item) for item in items):
        raise UserError(f"{folder} holds no Human36M_subject*_data.json with frames; get the annotations there")
    return items


def _sequences(path: str, options: Options, bad: list) -> dict[tuple[int, int, int], list[tuple]]:
    """(action, subaction, camera) -> images (file name, (height, width), frame, box x y w h) in a data file.

    Unusable images are added to `bad`.
    """
    sequences: dict[tuple[int, int, int], list[tuple]] = {}
    values = load(path)
    with base.reading(path):
        boxes = {annotation["image_id"]: annotation["bbox"] for annotation in values["annotations"]}
        for number, image in enumerate(values["images"]):
            where = f"{path}, image {number}"
            found = base.usable(lambda image=image: _key_and_picture(image, options), where, bad)
            if found and image["id"] in boxes:
                sequences.setdefault(found[0], []).append((*found[1], boxes[image["id"]]))
            elif found:
                bad.append(BadFrame(where, "the file has no annotation of it", skipped=True))
    return sequences


def _key_and_picture(image: dict, options: Options) -> tuple[tuple, tuple] | None:
    """(action, subaction, camera) and (file name, (height, width), frame); None for a frame to leave out."""
    if not 2 <= image["action_idx"] < 2 + len(human36m_common.ACTIONS):
        raise UserError(f"action {image['action_idx']} is not in 2 to 16")
    if image["frame_idx"] % options.frame_step:
        return None
    size = (image["height"], image["width"])
    return (image["action_idx"], image["subaction_idx"], image["cam_idx"]), (
        image["file_name"],
        size,
        image["frame_idx"],
    )


def read_item(item: Item, options: Options) -> Iterator[PoseExample | BadFrame]:
    data, target = item.data, SOURCE.target_skeleton(options)
    camera = _camera(f"{data['stem']}_camera.json", str(data["camera"]))
    with base.reading(item.file):
        world = load(item.file)[str(data["action"])][str(data["subaction"])]
        world = {int(frame): np.asarray(joints, np.float64) for frame, joints in world.items()}
    frames = [frame for _, _, frame, _ in data["pictures"]]
    for frame in [frame for frame in frames if frame in world]:
        base.check_shape(world[frame], (17, 3), f"{item.file}, frame {frame}: the pose")
    poses = [world[frame] for frame in frames if frame in world]
    base.check_millimetres(np.reshape(poses, (-1, 17, 3)), 0, item.file)
    for name, size, frame, (x, y, width, height) in data["pictures"]:
        if frame not in world:
            yield BadFrame(f"frame {frame} of {item.action}", "the file has no such frame; get it again")
            continue
        path = Path(data["images"]) / name
        picture = base.read_picture(path)
        if picture is None:
            yield BadFrame(str(path), base.NO_PICTURE)
            continue
        base.check_picture_size(picture, size, path)
        camera_mm = camera.to_camera(world[frame])
        person = Person(
            keypoints_px=geometry.project_points(camera_mm, camera.intrinsics),
            valid=np.ones(17, bool),
            box_px=np.array([x, y, x + width, y + height], np.float64),
            camera_mm=camera_mm,
            intrinsics=camera.intrinsics,
            tags={"source": SOURCE.name, "subject": item.subject, "action": item.action, "frame": frame},
        )
        yield crop_person(picture, person, HUMAN36M_17, target, options)


def _camera(path: str, name: str) -> geometry.Camera:
    values = load(path)
    with base.reading(path):
        camera = values[name]
        made = human36m_common.make_camera(
            np.reshape(camera["R"], (3, 3)), np.ravel(camera["t"]), np.ravel(camera["f"]), np.ravel(camera["c"])
        )
        base.check_shape(made.translation_mm, (3,), f"{path}: t")
        return made


SOURCE = Source(
    name="human36m_moon",
    summary="Moon et al.'s form (3DMPPE): annotations/Human36M_subject*_{data,camera,joint_3d}.json and images.",
    terms=human36m_common.TERMS,
    skeleton=HUMAN36M_17,
    list_items=list_items,
    read_item=read_item,
)
