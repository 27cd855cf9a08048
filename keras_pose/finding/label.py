"""Labels photos of one person each with two teachers, for training the finder.

    python -m keras_pose.finding.label --input=photos --teacher=movenet-thunder.json,pose_landmark_heavy.tflite \\
        --output=labels.npz

Labels every .jpg below --input. The teachers are those of `keras_pose.data.prepare --source=photos`, and both commands
can share a --teacher_cache. In a folder of Leeds Sports Pose Extended (joints.mat and images), the teachers get a crop
around the human labels. `keras_pose.finding.photos` lists the keys of the output file.
"""

from pathlib import Path

import numpy as np
from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.core.geometry import keypoints_box
from keras_pose.core.progress import progress
from keras_pose.core.skeleton import COCO_17, HUMAN36M_17, LSP_14, TEACHER_22, map_joints
from keras_pose.data.sources import lsp
from keras_pose.data.teachers.crop import Crop
from keras_pose.data.teachers.labeller import Labeller, agreed, crop_of_box
from keras_pose.io import atomic, images

FLAGS = flags.FLAGS
SURE = 0.3  # MoveNet's score above which its joint counts even if BlazePose disagrees


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("input", None, "Folder of photos.", flag_values=values)
    flags.DEFINE_list("teacher", [], "MoveNet's .json and BlazePose's .tflite.", flag_values=values)
    flags.DEFINE_string("teacher_cache", None, "File that keeps the teachers' answers.", flag_values=values)
    flags.DEFINE_integer("limit", None, "Label at most this many photos, evenly spread.", 1, flag_values=values)
    flags.DEFINE_string("output", None, ".npz file to write.", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Replace an existing file.", flag_values=values)


def main(arguments: list[str]) -> None:
    """Runs the command."""
    if arguments:
        raise UserError(f"unknown argument {arguments[0]!r}; give everything as --name=value")
    for name in ("input", "teacher", "output"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing; see --help")
    if len(FLAGS.teacher) != 2:
        raise UserError("--teacher needs two files: MoveNet's .json and BlazePose's .tflite, separated by a comma")
    output, folder = Path(FLAGS.output), Path(FLAGS.input)
    if output.exists() and not FLAGS.overwrite:
        raise UserError(f"{output} exists; choose another --output, or add --overwrite")
    paths = sorted(folder.rglob("*.jpg"))
    if not paths:
        raise UserError(f"--input={folder} holds no .jpg; name the folder of photos")
    count = min(FLAGS.limit or len(paths), len(paths))
    paths = [paths[i * len(paths) // count] for i in range(count)]
    labeller, known = Labeller(FLAGS.teacher, FLAGS.teacher_cache), known_crops(folder)
    rows = [label(path, labeller, known.get(path)) for path in progress(paths, len(paths), "photo")]
    columns = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    write(output, {"paths": np.array([path.relative_to(folder).as_posix() for path in paths])} | columns)
    print(f"{output}: {len(paths)} photos")


def known_crops(folder: Path) -> dict[Path, Crop]:
    """The crop around the labeled person, by photo, for each joints.mat below `folder`, as in `data.prepare`."""
    crops = {}
    for file in folder.rglob("joints.mat"):
        for number, joints in enumerate(lsp.read_joints(file, extended=True), start=1):
            points, valid = map_joints(joints[:, :2] - 0.5, joints[:, 2] > 0, LSP_14, HUMAN36M_17)
            if valid.any():
                crops[file.parent / "images" / f"im{number:05}.jpg"] = crop_of_box(keypoints_box(points, valid))
    return crops


def label(path: Path, labeller: Labeller, crop: Crop | None = None) -> dict[str, np.ndarray]:
    """One photo's row of the label file: the joints that the teachers find in the photo, or in a crop of it."""
    image = images.read(path, turn=False)
    seen, found = labeller.look(image, crop)
    labels = agreed(seen, found)
    both, valid = map_joints(labels.keypoints_px, labels.valid, TEACHER_22, COCO_17)
    return {
        "size": np.array(image.shape[:2]),
        "keypoints_px": np.where(valid[:, None], both, seen.keypoints_px),
        "agreed": valid,
        "sure": seen.scores > SURE,
    }


def write(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Writes an .npz, whole or not at all; raises UserError if it cannot."""
    with atomic.writing(path) as partial:
        np.savez_compressed(partial, **columns)


if __name__ == "__main__":
    define_flags()
    command.run(main)
