"""Measures training, inference and the input pipeline on this machine.

    python -m keras_pose.benchmark --variant=w32 --input_size=256x256 --json=benchmark.json

Each row is measured in a process of its own, so that none profits from what another has warmed up. The backbone is
trained on L_joint2D with the paper's augmentation, beside the same network under a plain Keras `fit` (Keras' own batch
norm and Adam, no augmentation). Leave the machine alone meanwhile: other work shows in the numbers.
"""

import concurrent.futures
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from absl import flags

from keras_pose import command
from keras_pose.data import shards
from keras_pose.data.pipeline import DatasetInfo, make_batches, open_dataset, read_examples
from keras_pose.example import PoseExample, encode_jpeg
from keras_pose.flags import parse_size
from keras_pose.models.hrnet import VARIANTS
from keras_pose.models.pose_model import PoseModelConfig
from keras_pose.training.experiment import PRECISIONS, DataConfig, Experiment, PhaseConfig, TrainConfig

FLAGS = flags.FLAGS
PIPELINE_PICTURES = 256  # so many different ones are read, over and over
PIPELINE_EXAMPLES = 4096  # an epoch
PIPELINE_SECONDS = 3.0
UNITS = {
    "build_s": "build the model (s)",
    "first_step_s": "first training step, compiling included (s)",
    "step_ms": "training step, median (ms)",
    "train_images_per_second": "training (images/s)",
    "inference_images_per_second": "inference (images/s)",
    "pipeline_images_per_second": "input pipeline alone (images/s)",
    "pipeline_over_training": "input pipeline over training",
    "keras_fit_first_step_s": "plain Keras fit: first step (s)",
    "keras_fit_step_ms": "plain Keras fit: step, median (ms)",
}


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """The command's flags."""
    flags.DEFINE_enum("variant", "w32", sorted(VARIANTS), "Size of the HRNet backbone.", flag_values=values)
    flags.DEFINE_string("input_size", "256x256", "HEIGHTxWIDTH of the crops.", flag_values=values)
    flags.DEFINE_integer("batch_size", 8, "Examples a step.", 1, flag_values=values)
    flags.DEFINE_integer("steps", 10, "Steps that are timed, after the first.", 1, flag_values=values)
    flags.DEFINE_enum("precision", "float32", PRECISIONS, "What the backbone computes in.", flag_values=values)
    flags.DEFINE_string("dataset", "embedded", "Whose pictures the input pipeline reads.", flag_values=values)
    flags.DEFINE_bool("keras_fit", True, "Also measure a plain Keras fit, which takes minutes.", flag_values=values)
    flags.DEFINE_string("json", None, "Write the numbers to this file.", flag_values=values)


@dataclass(frozen=True)
class Job:
    """What is measured."""

    experiment: Experiment
    steps: int

    @property
    def batch_size(self) -> int:
        return self.experiment.data.batch_size


def main(arguments: list[str]) -> None:
    """Runs the command."""
    size = parse_size("input_size", FLAGS.input_size)
    dataset = open_dataset(FLAGS.dataset)
    experiment = Experiment(
        output="",
        model=PoseModelConfig(variant=FLAGS.variant, skeleton=dataset.skeleton.to_dict(), input_size=size),
        train=TrainConfig((PhaseConfig("hrnet", 1, flip=0.5),), precision=FLAGS.precision),
        data=DataConfig(FLAGS.dataset, FLAGS.batch_size),
    )
    job = Job(replace(experiment, augment=replace(experiment.augment, flip=0.5)), FLAGS.steps)
    rows: dict[str, Callable[[Job], dict]] = {
        "training": measure_training,
        "inference": measure_inference,
        "input pipeline": measure_pipeline,
    }
    if FLAGS.keras_fit:
        rows["plain Keras fit"] = measure_keras_fit
    height, width = size
    print(f"HRNet {FLAGS.variant}, {height}x{width}, batch {FLAGS.batch_size}, {FLAGS.precision}")
    found = measure(rows, job)
    if FLAGS.json:
        settings = {name: FLAGS[name].value for name in ("variant", "input_size", "batch_size", "steps", "precision")}
        command.write_json(FLAGS.json, settings | found)


def measure(rows: dict[str, Callable[[Job], dict]], job: Job) -> dict[str, float]:
    """Each row in a fresh process, one after the other; prints and returns its numbers."""
    found: dict[str, float] = {}
    with command.progress(rows.items(), len(rows), " rows") as bar:
        for name, row in bar:
            bar.set_description(name)
            context = multiprocessing.get_context("spawn")
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
                found |= pool.submit(row, job).result()
    rates = [found.get(name, 0.0) for name in ("pipeline_images_per_second", "train_images_per_second")]
    if all(rates):
        found["pipeline_over_training"] = rates[0] / rates[1]
    found = {name: round(value, 2) for name, value in found.items()}
    for name, value in found.items():
        print(f"{UNITS[name]:50s} {value:10.2f}")
    return found


def _seconds(step: Callable[[], None], count: int) -> list[float]:
    """How long each of `count` calls takes."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return times


def _batch(job: Job) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    count, joints = job.batch_size, job.experiment.model.get_skeleton().num_joints
    return {
        "image": rng.integers(0, 256, (count, *job.experiment.model.input_size, 3)).astype(np.uint8),
        "keypoints_2d": rng.uniform(size=(count, joints, 2)).astype(np.float32),
        "keypoint_valid": np.ones((count, joints), np.float32),
        "pose_3d": np.zeros((count, joints, 3), np.float32),
        "has_pose_3d": np.ones(count, np.float32),
    }


# --- rows ------------------------------------------------------------------------------------------------------


def measure_training(job: Job) -> dict[str, float]:
    """The project's own step on one device."""
    import tensorflow as tf

    from keras_pose.training import distribution, phases, steps
    from keras_pose.training.optimizer import FlatAdam, LossScale
    from keras_pose.training.schedule import Schedule

    experiment = job.experiment
    strategy = distribution.make_strategy("one_device")
    with phases.precision(experiment.train.precision), strategy.scope():
        start = time.perf_counter()
        phase = phases.Phase("hrnet", phases.build_model(experiment, {}))
        built = time.perf_counter()
        optimizer = FlatAdam(phase.trainable_variables, experiment.optimizer)
        scale = LossScale() if experiment.train.precision == "mixed_float16" else None
        schedule = Schedule("constant", 1e-3, job.steps)
        train_step = steps.make_train_step(strategy, phase, optimizer, scale, schedule, experiment, seed=0)
        batch = {name: tf.constant(value) for name, value in _batch(job).items()}
        numbers = iter(range(job.steps + 1))
        step = lambda: float(train_step(batch, tf.constant(next(numbers)), tf.constant(1.0))["loss"])  # noqa: E731
        step()
        first = time.perf_counter()
        median = statistics.median(_seconds(step, job.steps))
    return {
        "build_s": built - start,
        "first_step_s": first - built,
        "step_ms": 1000 * median,
        "train_images_per_second": job.batch_size / median,
    }


def measure_inference(job: Job) -> dict[str, float]:
    """The keypoint model, compiled."""
    import tensorflow as tf

    from keras_pose.training import phases

    with phases.precision(job.experiment.train.precision):
        model = phases.build_model(job.experiment, {})
    images = tf.constant(_batch(job)["image"])
    infer = tf.function(lambda images: model(tf.cast(images, tf.float32), training=False), autograph=False)
    step = lambda: infer(images)["keypoints_2d"].numpy()  # noqa: E731
    step()
    return {"inference_images_per_second": job.batch_size / statistics.median(_seconds(step, job.steps))}


def measure_pipeline(job: Job) -> dict[str, float]:
    """Shuffled training batches, pictures decoded, from a data set of the model's size."""
    with tempfile.TemporaryDirectory() as directory:
        dataset = _resized_dataset(job, Path(directory))
        batch_size = min(job.batch_size, dataset.count("train"))
        epochs = (make_batches(dataset, "train", batch_size, training=True, epoch=i) for i in range(10**6))
        batches = (batch for epoch in epochs for batch in epoch)
        next(batches)
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < PIPELINE_SECONDS:
            next(batches)
            count += batch_size
        return {"pipeline_images_per_second": count / (time.perf_counter() - start)}


def _resized_dataset(job: Job, directory: Path) -> DatasetInfo:
    """The first training examples of the data set, their pictures brought to the model's size."""
    source, size = open_dataset(job.experiment.data.dataset), job.experiment.model.input_size
    examples = list(islice(_resized(read_examples(source, "train"), size), PIPELINE_PICTURES))
    examples *= PIPELINE_EXAMPLES // len(examples)
    entry = shards.write_shard(directory / shards.shard_name("train", 0, 1), examples)
    manifest = shards.Manifest("benchmark", source.skeleton, size, {"train": (entry,)}, {"name": "benchmark"})
    shards.write_manifest(directory, manifest)
    return open_dataset(str(directory))


def _resized(examples: Iterator[PoseExample], size: tuple[int, int]) -> Iterator[PoseExample]:
    for example in examples:
        image = cv2.resize(example.decode_image(), size[::-1], interpolation=cv2.INTER_CUBIC)
        scale = np.array(size[::-1], np.float32) / example.image_size[::-1]
        keypoints_2d_px = example.keypoints_2d_px * scale
        yield replace(example, image_jpeg=encode_jpeg(image), image_size=size, keypoints_2d_px=keypoints_2d_px)


def measure_keras_fit(job: Job) -> dict[str, float]:
    """The same network with Keras' own batch norm, trained by `fit` with Keras' Adam on ready-made heatmaps."""
    import keras
    import tensorflow as tf

    from keras_pose.models.batch_norm import FusedBatchNormalization
    from keras_pose.models.hrnet import build_hrnet
    from keras_pose.training import phases

    class Clock(keras.callbacks.Callback):
        times: list[float] = []

        def on_train_batch_end(self, batch, logs=None):
            self.times.append(time.perf_counter())

    def plain(layer):
        if not isinstance(layer, FusedBatchNormalization):
            return layer.__class__.from_config(layer.get_config())
        return keras.layers.BatchNormalization(momentum=layer.momentum, epsilon=layer.epsilon, name=layer.name)

    config, batch = job.experiment.model, _batch(job)
    with phases.precision(job.experiment.train.precision):
        fused = build_hrnet(config.variant, config.get_skeleton().num_joints, config.input_size)
        model = keras.models.clone_model(fused, clone_function=plain)
        model.compile(keras.optimizers.Adam(1e-3), "mse")
        target = np.zeros((job.batch_size, *model.output_shape[1:]), np.float32)
        data = tf.data.Dataset.from_tensors((batch["image"], target)).repeat()
        start = time.perf_counter()
        model.fit(data, steps_per_epoch=job.steps + 1, verbose=0, callbacks=[Clock()])
    return {
        "keras_fit_first_step_s": Clock.times[0] - start,
        "keras_fit_step_ms": 1000 * statistics.median(np.diff(Clock.times)),
    }


if __name__ == "__main__":
    define_flags()
    command.run(main)
