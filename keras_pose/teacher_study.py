"""Measures how accurate teachers are, on photos with human labels.

    python -m keras_pose.teacher_study --source=lsp_extended --input=lsp_extended \\
        --teacher=movenet-thunder.json,pose_landmark_heavy.tflite

Prints PCK@0.2 of the limb joints against the human labels, for all joints and by how closely the teachers agree.
"""

from pathlib import Path

from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.core.progress import progress
from keras_pose.data.teachers.labeller import Labeller
from keras_pose.io import atomic
from keras_pose.studies import teachers

FLAGS = flags.FLAGS


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("source", "lsp_extended", "The format of the input, see data.prepare.", flag_values=values)
    flags.DEFINE_string("input", None, "Folder of the download.", flag_values=values)
    flags.DEFINE_list("teacher", [], "MoveNet's .json and BlazePose's .tflite, comma-separated.", flag_values=values)
    flags.DEFINE_string("teacher_cache", None, "File that keeps the answers, see data.prepare.", flag_values=values)
    flags.DEFINE_integer("limit", 1000, "Photos to use, spread over the source.", lower_bound=1, flag_values=values)
    flags.DEFINE_string("json", None, "File to write the numbers to.", flag_values=values)


def main(arguments: list[str]) -> None:
    """Runs the command."""
    if arguments:
        raise UserError(f"unknown argument {arguments[0]!r}; flags are written --name=value")
    if not FLAGS.input or not Path(FLAGS.input).is_dir():
        raise UserError(f"--input={FLAGS.input} is not a folder; name the folder of the download")
    if len(FLAGS.teacher) != 2:
        raise UserError("--teacher needs two files: MoveNet's .json and BlazePose's .tflite, separated by a comma")
    opinions = teachers.ask(
        FLAGS.source,
        Path(FLAGS.input),
        Labeller(FLAGS.teacher, FLAGS.teacher_cache),
        FLAGS.limit,
        lambda items: progress(items, len(items), "photos"),
    )
    rows = teachers.tabulate(opinions)
    print(teachers.format_table(rows))
    if FLAGS.json:
        atomic.write_json(FLAGS.json, {"rows": rows, "people": len(opinions.apart)})


if __name__ == "__main__":
    define_flags()
    command.run(main)
