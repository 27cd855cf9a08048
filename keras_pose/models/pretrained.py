"""The command `python -m keras_pose.models.pretrained`: converts a published HRNet checkpoint to a Keras model.

    python -m keras_pose.models.pretrained --checkpoint=pose_hrnet_w32_256x192.pth --output=hrnet.keras

PyTorch is not needed. docs/pretrained.md lists the supported checkpoints and describes the result.
"""

import hashlib
import os
import re
from pathlib import Path

import keras
from absl import flags

import keras_pose
from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17, Skeleton, get_skeleton
from keras_pose.io.atomic import writing
from keras_pose.io.model_info import OFFICIAL_CELL_CENTER, OWN_CELL_CENTER, TARGET_PEAK, ModelInfo, sidecar_path
from keras_pose.models.hrnet_checkpoint import Accounting, convert, read_checkpoint
from keras_pose.models.pose_model import PoseModelConfig

FLAGS = flags.FLAGS


def save(
    path: str | os.PathLike, model: keras.Model, config: PoseModelConfig, accounting: Accounting, checkpoint: Path
) -> None:
    """Writes `path`, a .keras file, completely or not at all, and its description (as model.json) to `<path>.json`.

    Raises UserError if `path` does not end in .keras or cannot be written.
    """
    path = Path(path)
    with writing(path) as partial:
        model.save(partial)
    with open(checkpoint, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    info = ModelInfo(
        kind="keypoints",
        skeleton=config.get_skeleton(),
        input_size=config.input_size,
        cell_center=OWN_CELL_CENTER if accounting.initial else OFFICIAL_CELL_CENTER,
        model=config.to_dict(),
        data={"checkpoint": checkpoint.name, "sha256": digest},
        versions={"keras_pose": keras_pose.__version__, "keras": keras.__version__},
        weights={"used": len(accounting.used), "unused": accounting.unused, "initial": list(accounting.initial)}
        | {"notes": list(accounting.notes)},
    )
    info.write(sidecar_path(path))


def parse_input_size(text: str | None, file_name: str) -> tuple[int, int]:
    """(height, width) from `text` (`256x192`), else from a file name (`pose_hrnet_w32_256x192.pth`), else (256, 256).

    Raises UserError if `text` is not a size.
    """
    match = re.fullmatch(r"(\d+)x(\d+)", text) if text else re.search(r"_(\d{2,4})x(\d{2,4})(?!\d)", file_name)
    if text and not match:
        raise UserError(f"--input_size={text} is not HEIGHTxWIDTH; give one like 256x192")
    return (int(match[1]), int(match[2])) if match else (256, 256)


def skeleton_of(file_name: str) -> Skeleton | None:
    """`HUMAN36M_17` if the file name mentions Human3.6M, otherwise None: both it and COCO have 17 joints."""
    return HUMAN36M_17 if re.search(r"h(uman)?3\.?6m", file_name.lower()) else None


def define_flags() -> None:
    flags.DEFINE_string("checkpoint", None, "The checkpoint: a .pth or .safetensors file.", required=True)
    flags.DEFINE_string("output", None, "The .keras file to write, with its description beside it.", required=True)
    flags.DEFINE_string(
        "skeleton",
        None,
        "Joints of the heatmaps; default: those of the data set that the file or its name mentions, else COCO's or "
        "MPII's, by their number.",
    )
    flags.DEFINE_string("input_size", None, "HEIGHTxWIDTH; default: from the file name, else 256x256.")


def main(argv: list[str]) -> None:
    if argv:
        raise UserError(f"unknown argument {argv[0]!r}; flags are written --name=value")
    checkpoint = Path(FLAGS.checkpoint)
    if Path(FLAGS.output).suffix != ".keras":
        raise UserError(f"--output={FLAGS.output} must end in .keras")
    if Path(FLAGS.output).exists():
        raise UserError(f"--output={FLAGS.output} already exists; choose another name, or remove it")
    skeleton = get_skeleton(FLAGS.skeleton) if FLAGS.skeleton else skeleton_of(checkpoint.name)
    input_size = parse_input_size(FLAGS.input_size, checkpoint.name)
    if re.search(r"(^|[_-])udp([_-]|\.|$)", checkpoint.name.lower()):
        raise UserError(
            f"{checkpoint} is named like one of UDP's, whose heatmaps are shifted from the official ones; convert the "
            "checkpoint without UDP"
        )
    weights = read_checkpoint(checkpoint)
    try:
        model, config, accounting = convert(weights, skeleton, input_size, TARGET_PEAK)
    except UserError as error:
        raise UserError(f"{checkpoint}: {error}") from error
    save(FLAGS.output, model, config, accounting, checkpoint)
    print("\n".join(accounting.lines()))
    height, width = config.input_size
    print(f"{FLAGS.output}: HRNet {config.variant}, {height}x{width} pixels, {config.get_skeleton().name}")


if __name__ == "__main__":
    define_flags()
    command.run(main)
