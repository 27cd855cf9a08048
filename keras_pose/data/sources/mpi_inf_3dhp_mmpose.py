"""MPI-INF-3DHP in the form of MMPose's converter; splits as in `mpi_inf_3dhp`.

annotations/{mpi_inf_3dhp_train.npz, cameras_train.pkl, mpi_inf_3dhp_test_valid.npz, cameras_test.pkl}
images/{S1_Seq1_Cam0_000001.jpg, TS1_000001.jpg}
"""

from collections.abc import Iterator
from pathlib import Path

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import MPI_INF_3DHP_17
from keras_pose.data.example import PoseExample
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.data.sources import base, mmpose_common, mpi_inf_3dhp
from keras_pose.data.sources.base import Item, Options, Source

FILES = {"train": "mpi_inf_3dhp_train.npz", "test": "mpi_inf_3dhp_test_valid.npz"}


def parse_name(name: str) -> tuple[str, int]:
    """Camera (`S1_Seq1_Cam0` or `TS1`) and frame (from 0) of an image's name; raises UserError for another form."""
    camera, _, number = Path(name).stem.rpartition("_")
    if not camera or not number.isdecimal():
        raise UserError(f"image name {name!r} is not like S1_Seq1_Cam0_000001.jpg or TS1_000001.jpg")
    return camera, int(number) - 1


def list_items(input_dir: Path, options: Options) -> list[Item]:
    folder = base.require(input_dir / "annotations", "MMPose's annotations")
    items = []
    for part, file in FILES.items():
        cameras = mmpose_common.read_cameras(folder / f"cameras_{part}.pkl", options.allow_pickle)
        path = str(folder / file)
        arrays, sequences = mmpose_common.load(path, MPI_INF_3DHP_17.root), {}
        for index, name in enumerate(arrays["imgname"]):
            sequences.setdefault(parse_name(str(name))[0], []).append(index)
        for camera, indices in sequences.items():
            if camera not in cameras:
                raise UserError(f"{folder / f'cameras_{part}.pkl'} has no camera {camera}; make both files together")
            subject, sequence = (camera.split("_") + [""])[:2]
            split = "validation" if (subject, sequence) == mpi_inf_3dhp.VALIDATION else part
            chosen = indices[:: options.frame_step]
            data = mmpose_common.item_data(arrays, chosen, cameras[camera], input_dir / "images")
            items.append(Item(split, subject, sequence, len(chosen), path, data))
    return items


def read_item(item: Item, options: Options) -> Iterator[PoseExample | BadFrame]:
    return mmpose_common.read_item(item, options, SOURCE, lambda name: parse_name(name)[1])


SOURCE = Source(
    name="mpi_inf_3dhp_mmpose",
    summary="MMPose's conversion: annotations (npz and cameras_*.pkl) and images; needs --allow_pickle.",
    terms=mpi_inf_3dhp.TERMS,
    skeleton=MPI_INF_3DHP_17,
    list_items=list_items,
    read_item=read_item,
)
