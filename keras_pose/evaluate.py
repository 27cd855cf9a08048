"""Evaluates a model on a split of a data set.

    python -m keras_pose.evaluate --model=runs/e2e --dataset=embedded --split=test --output=evaluation

Prints all metrics, per joint and per action. --output=DIR also writes evaluation.json, a histogram of the errors, and a
sheet of the best, median and worst samples. --decoder reads joints from heatmaps the way published code does.
--flip_test averages the heatmaps of the image and its mirror image (docs/pretrained.md), or for a lifter or an exported
file, which give no heatmaps, the joints. Predictions are mapped to the data set's skeleton by joint name, so a model of
17 joints can be scored on 14. Without 3D labels the 3D metrics are empty (null in JSON).

--whole treats each image as a whole photo in which the finder must find the person first. Prepare such data with a
large --margin, which keeps the person small in the image.

--peer=FILE, which can be repeated, scores further models on the same examples, in one table: exported files, runs, and
MoveNet in its TensorFlow.js form (docs/training.md explains how to get it).
"""

from pathlib import Path

from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton
from keras_pose.data.dataset import open_dataset
from keras_pose.evaluation import speed
from keras_pose.evaluation.peers import open_peer
from keras_pose.evaluation.predictions import batch_predictor, heatmap_predictor, whole_predictor, with_flip_test
from keras_pose.evaluation.report import format_comparison, format_tables, write_evaluation
from keras_pose.evaluation.result import evaluate_model
from keras_pose.inference.predictor import PosePredictor
from keras_pose.inference.runtimes import is_run, open_model
from keras_pose.io import atomic
from keras_pose.models.decoders import DECODERS, HeatmapDecoder
from keras_pose.models.model_folder import load_run
from keras_pose.models.pose_model import mean_keypoints
from keras_pose.visualization.figures import plot_accuracy_over_time
from keras_pose.weights import SHIPPED_WEIGHTS

FLAGS = flags.FLAGS


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string(
        "model",
        None,
        "A run folder, a .keras file, an exported .tflite or .onnx file, MoveNet's .json, BlazePose's .tflite, "
        "or the name of shipped weights.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "dataset",
        "embedded",
        "embedded, the folder of a data set, or a weighted mix like a:0.7,b:0.3.",
        flag_values=values,
    )
    flags.DEFINE_string("split", "test", "train, validation or test.", flag_values=values)
    flags.DEFINE_integer("batch_size", 32, "Images per step.", lower_bound=1, flag_values=values)
    flags.DEFINE_bool("flip_test", False, "Average with the prediction for the mirrored image.", flag_values=values)
    flags.DEFINE_bool(
        "whole", False, "Find the person in the image first, instead of treating it as a crop.", flag_values=values
    )
    flags.DEFINE_enum(
        "decoder",
        None,
        sorted(DECODERS),
        "How to read joints from heatmaps; default: as the model.",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "peer", [], "Another model to score on the same images; can be repeated.", flag_values=values
    )
    flags.DEFINE_bool(
        "speed",
        False,
        "Also measure milliseconds per image on one thread, models in turn; needs exported files, not runs.",
        flag_values=values,
    )
    flags.DEFINE_string("figure", None, "With --speed: PNG file for a plot of accuracy over time.", flag_values=values)
    flags.DEFINE_string("json", None, "File to write the numbers to.", flag_values=values)
    flags.DEFINE_string("output", None, "Folder for evaluation.json and the figures.", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Replace an existing evaluation in --output.", flag_values=values)


def main(arguments: list[str]) -> None:
    """Runs the command."""
    if arguments:
        raise UserError(f"unknown argument {arguments[0]!r}; name the model with --model=RUN")
    if not FLAGS.model:
        raise UserError("no model given; add --model=RUN, a run folder or an exported file")
    if FLAGS.figure and not FLAGS.speed:
        raise UserError("--figure needs the measurements of --speed; add --speed")
    if FLAGS.output and not FLAGS.overwrite and (Path(FLAGS.output) / "evaluation.json").exists():
        raise UserError(f"{FLAGS.output} already holds an evaluation; choose another --output, or add --overwrite")
    dataset = open_dataset(FLAGS.dataset)
    dataset.count(FLAGS.split)  # reports a wrong name before the model is loaded
    decoder = None
    if FLAGS.whole and FLAGS.decoder:
        raise UserError("--whole cannot be combined with --decoder; leave it out")
    if FLAGS.whole:
        predictor = PosePredictor(FLAGS.model, flip_test=FLAGS.flip_test)
        predict, skeleton = whole_predictor(predictor), predictor.skeleton
    elif FLAGS.decoder:
        model = open_model(FLAGS.model)
        predict, skeleton = heatmap_predictor(model), model.skeleton
        decoder = HeatmapDecoder(FLAGS.decoder, model.cell_center)
    else:
        predict, skeleton = open_predictor(FLAGS.model, dataset.skeleton, FLAGS.flip_test)
    # Opened first, which reports a wrong name before the work begins.
    peers = [(Path(name).name, *open_predictor(name, dataset.skeleton, FLAGS.flip_test)) for name in FLAGS.peer]
    data = dataset, FLAGS.split, FLAGS.batch_size
    result = evaluate_model(
        predict, skeleton, *data, FLAGS.flip_test, decoder, name=FLAGS.model, flip_tested=decoder is None
    )
    others = [
        evaluate_model(of_peer, its_skeleton, *data, FLAGS.flip_test, name=name, flip_tested=True)
        for name, of_peer, its_skeleton in peers
    ]
    print(format_tables(result))
    if others:
        print("\n" + format_comparison([result, *others]))
    speeds = []
    if FLAGS.speed:
        sources = [str(SHIPPED_WEIGHTS.get(name, name)) for name in (FLAGS.model, *FLAGS.peer)]
        lifts = ["pose_3d" in each.outputs for each in (result, *others)]
        speeds = [speed.join(*row) for row in zip(speed.measure_speed(sources), (result, *others), lifts, strict=True)]
        print("\n" + speed.format_speed(speeds))
        if FLAGS.figure:
            plot_accuracy_over_time(speeds, FLAGS.figure)
            print(f"\nwrote the plot of accuracy over time to {FLAGS.figure}")
    if FLAGS.json:
        atomic.write_json(
            FLAGS.json, result.to_dict() | {"peers": [other.to_dict() for other in others], "speed": speeds}
        )
    if FLAGS.output:
        write_evaluation(FLAGS.output, result)
        print(f"\nwrote figures and evaluation.json to {FLAGS.output}/")


def open_predictor(source: str, labelled_as: Skeleton, flip_test: bool = False):
    """The `BatchPredictor` and skeleton of any run, exported file or shipped weights.

    Args:
        labelled_as: the data set's skeleton, in which a lifter gets its input.
        flip_test: average with the mirrored image: the heatmaps of a run (`keras_pose.models.flip_test`), but the
            joints of a lifter or of a file, which give no heatmaps.
    """
    if Path(source).is_dir() and (run := load_run(source))[1].kind == "lifter":
        lifter, info = run
        predict, skeleton = batch_predictor(lifter, info.skeleton, labelled_as, mean_keypoints(lifter)), info.skeleton
    elif is_run(source):
        model = open_model(source, flip_test)
        return batch_predictor(model), model.skeleton
    else:
        loaded = open_peer(source)
        predict, skeleton = batch_predictor(loaded), loaded.skeleton
    return with_flip_test(predict, skeleton, labelled_as=labelled_as) if flip_test else predict, skeleton


if __name__ == "__main__":
    define_flags()
    command.run(main)
