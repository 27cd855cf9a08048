"""Human3.6M in the form of MMPose's converter.

annotation_body3d/cameras.pkl
annotation_body3d/fps10/h36m_{train,test}.npz   (fps50 if there is no fps10)
images/S1/S1_Directions_1.54138969/S1_Directions_1.54138969_000001.jpg
"""

from collections.abc import Iterator
from pathlib import Path

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data.example import PoseExample
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.data.sources import base, human36m_common, mmpose_common
from keras_pose.data.sources.base import Item, Options, Source


def parse_name(name: str) -> tuple[str, str, str, int]:
    """Subject, sequence, camera and frame (from 0) of an image's name; raises UserError for a name of another form."""
    try:
        left, right = Path(name).stem.split(".")  # S1_Directions_1, 54138969_000001
        subject, sequence = left.split("_", 1)
        camera, number = right.split("_")
        return subject, sequence.replace("_", " "), camera, int(number) - 1
    except ValueError as error:
        raise UserError(f"image name {name!r} is not like S1_Directions_1.54138969_000001.jpg") from error


def list_items(input_dir: Path, options: Options) -> list[Item]:
    folder = base.require(input_dir / "annotation_body3d", "MMPose's annotations")
    cameras = mmpose_common.read_cameras(folder / "cameras.pkl", options.allow_pickle)
    rate = "fps10" if (folder / "fps10").is_dir() else "fps50"
    items = []
    for part in ("train", "test"):
        path = str(folder / rate / f"h36m_{part}.npz")
        arrays, sequences = mmpose_common.load(path, HUMAN36M_17.root), {}
        for index, name in enumerate(arrays["imgname"]):
            sequences.setdefault(parse_name(str(name))[:3], []).append(index)
        for (subject, sequence, camera), indices in sequences.items():
            if options.drop_bad_sequences and human36m_common.is_bad(subject, sequence):
                continue
            if (subject, camera) not in cameras:
                raise UserError(
                    f"{folder / 'cameras.pkl'} has no camera {camera} of {subject}; make both files together"
                )
            split, action = human36m_common.split_of(subject, sequence), human36m_common.action_name(sequence)
            chosen = indices[:: options.frame_step]
            data = mmpose_common.item_data(arrays, chosen, cameras[subject, camera], input_dir / "images")
            items.append(Item(split, subject, action, len(chosen), path, data))
    return items


def read_item(item: Item, options: Options) -> Iterator[PoseExample | BadFrame]:
    return mmpose_common.read_item(item, options, SOURCE, lambda name: parse_name(name)[3])


SOURCE = Source(
    name="human36m_mmpose",
    summary="MMPose's conversion: annotation_body3d (cameras.pkl, fps10 or fps50) and images; needs --allow_pickle.",
    terms=human36m_common.TERMS,
    skeleton=HUMAN36M_17,
    list_items=list_items,
    read_item=read_item,
)
