"""Predicts poses in photos and videos.

    python -m keras_pose.predict --model=runs/e2e --output=poses photo.jpg folder/ video.mp4 camera:0

Writes PHOTO_pose.png (the skeleton on the image, the 3D pose from two sides) and PHOTO_pose.json (joints with units)
for each photo. For each video it writes VIDEO_pose.mp4 and VIDEO_pose.json, with people tracked and smoothed over the
frames. --video_format=webp writes an animation for web pages instead.

A finder looks for people in the whole image. By default only the most prominent person is predicted; --people=N allows
up to N. --box and --boxes give the person's place instead. Without --model, the shipped weights are used.
"""

from pathlib import Path

from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.inference.predictor import PosePredictor
from keras_pose.io.video import FORMATS
from keras_pose.prediction.jobs import count_unknown, list_jobs, refuse_existing, wanted_people
from keras_pose.prediction.photos import Sheet, predict_pictures
from keras_pose.prediction.videos import predict_video
from keras_pose.weights import DEFAULT_WEIGHTS

FLAGS = flags.FLAGS


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string(
        "model",
        None,
        "A run folder, an exported .tflite or .onnx file, or the name of shipped weights; default: the shipped model.",
        flag_values=values,
    )
    flags.DEFINE_integer("people", 1, "Most people per image, the most prominent first.", lower_bound=1,
                         flag_values=values)  # fmt: skip
    flags.DEFINE_list("box", [], "x0,y0,x1,y1 in pixels: the person's box in every photo.", flag_values=values)
    flags.DEFINE_string(
        "boxes",
        None,
        "A CSV file with lines FILE,x0,y0,x1,y1: boxes of people in photos, by file name. Photos that are not listed "
        "are searched.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "flip_test",
        None,
        "Average with the mirrored image; default: for runs and shipped weights, not for exported files.",
        flag_values=values,
    )
    flags.DEFINE_string("output", "predictions", "Folder for images, videos and JSON.", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Replace existing results.", flag_values=values)
    flags.DEFINE_integer("height", 480, "Height of the result images in pixels.", lower_bound=64, flag_values=values)
    flags.DEFINE_integer(
        "max_frames", None, "Stop each video or camera after this many frames.", lower_bound=1, flag_values=values
    )
    flags.DEFINE_string(
        "sheet", None, "Also write the results of all photos side by side into this .png or .webp.", flag_values=values
    )
    flags.DEFINE_integer("columns", 2, "Results per row of the sheet.", lower_bound=1, flag_values=values)
    flags.DEFINE_enum(
        "video_format", "mp4", FORMATS, "mp4 for playback, webp for web pages (short videos).", flag_values=values
    )


def main(inputs: list[str]) -> int:
    """Runs the command; returns 1 if files in a folder could not be read. Ctrl-C in a video also skips the rest."""
    if not inputs:
        raise UserError("nothing to predict; name photos, folders, videos or camera:0")
    jobs = list_jobs(inputs, Path(FLAGS.output))
    if not FLAGS.overwrite:
        refuse_existing(jobs, FLAGS.video_format)
    sheet = Sheet(FLAGS.sheet, FLAGS.columns, FLAGS.overwrite) if FLAGS.sheet else None
    wanted = wanted_people(jobs, FLAGS.people, FLAGS.box, FLAGS.boxes)
    if not FLAGS.model:
        print(f"no --model given; using the shipped weights {DEFAULT_WEIGHTS}")
    predictor = PosePredictor(FLAGS.model or DEFAULT_WEIGHTS, flip_test=FLAGS.flip_test)
    if wanted.people > 1 and predictor.finder is None:
        raise UserError(f"--people={wanted.people} needs a finder, and {predictor.model.name} has none; leave it out")
    pictures = [job for job in jobs if not job.is_video]
    unread, empty = predict_pictures(predictor, pictures, FLAGS.height, wanted, sheet) if pictures else ([], 0)
    if sheet and sheet.images:
        sheet.write()
    done = len(pictures) - len(unread)
    stopped = False
    for job in [job for job in jobs if job.is_video]:
        try:
            stopped = predict_video(predictor, job, FLAGS.height, FLAGS.max_frames, FLAGS.video_format, wanted.people)
            done += 1
        except UserError as error:
            if job.listed:
                raise
            unread.append(str(error))
        if stopped:
            break
    nobody = f", {empty} without a person" if empty else ""
    unknown = count_unknown(inputs, jobs)
    others = f"; {unknown} other files in folders are neither images nor videos" if unknown else ""
    print(f"{done} of {len(jobs)} done{nobody}, results in {FLAGS.output}/{others}")
    for message in unread:
        print(f"skipped: {message}")
    return 1 if unread else 0


if __name__ == "__main__":
    define_flags()
    command.run(main)
