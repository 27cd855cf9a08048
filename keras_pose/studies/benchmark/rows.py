"""Measurements of this project only: input pipeline, training loop, batch sizes, and the machine's peak."""

import concurrent.futures
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.data import shards
from keras_pose.data.dataset import DatasetInfo, open_dataset
from keras_pose.data.example import PoseExample, encode_jpeg
from keras_pose.data.pipeline import make_batches, read_examples
from keras_pose.studies.benchmark import contest, kernels
from keras_pose.studies.benchmark.contestant import cpu_seconds
from keras_pose.training.experiment import Experiment

PIPELINE_PICTURES = 256  # number of different images, which are read repeatedly
PIPELINE_EXAMPLES = 4096  # per epoch
PIPELINE_SECONDS = 3.0


@dataclass(frozen=True)
class Job:
    """What to measure: an experiment of phase hrnet, and the number of steps."""

    experiment: Experiment
    steps: int

    @property
    def batch_size(self) -> int:
        return self.experiment.data.batch_size


def in_own_process(row: Callable[[Job], dict], job: Job) -> dict:
    """Runs a row in a fresh process, so it cannot benefit from another's warm-up."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(row, job).result()


# --- the input pipeline ----------------------------------------------------------------------------------------


def measure_pipeline(job: Job) -> dict[str, float]:
    """Shuffled training batches, with images decoded."""
    with tempfile.TemporaryDirectory() as directory:
        batches = _batches(_dataset(job, directory), job.batch_size)
        next(batches)
        count, start, before = 0, time.perf_counter(), cpu_seconds()
        while time.perf_counter() - start < PIPELINE_SECONDS:
            count += len(next(batches)["image"])
        return {
            "pipeline_images_per_second": count / (time.perf_counter() - start),
            "pipeline_cpu_ms_per_image": 1000 * (cpu_seconds() - before) / count,
        }


def _batches(dataset: DatasetInfo, batch_size: int) -> Iterator[dict]:
    """Endless training batches."""
    batch_size = min(batch_size, dataset.count("train"))
    for epoch in range(10**6):
        yield from make_batches(dataset, "train", batch_size, training=True, epoch=epoch)


def _dataset(job: Job, directory: str) -> DatasetInfo:
    """The job's data set as training reads it; resized to a copy if its images are of another shape."""
    try:
        return open_dataset(job.experiment.data.dataset).at_size(job.experiment.model.input_size)
    except UserError:
        return resized_dataset(job, Path(directory))


def resized_dataset(job: Job, directory: Path) -> DatasetInfo:
    """The first training examples of the data set, with images resized to the model's size."""
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


# --- the loop of training --------------------------------------------------------------------------------------


def measure_loop(job: Job) -> dict[str, float]:
    """Training as the command does it, taking turns with the bare step on one prepared batch.

    Processor time shows, even on a busy machine, what decoding and augmentation add.
    """
    import tensorflow as tf

    from keras_pose.models.precision import layer_precision
    from keras_pose.studies.benchmark.training_step import make_steps
    from keras_pose.training import distribution, phases

    experiment = job.experiment
    still = replace(experiment.augment, brightness=0, contrast=0, saturation=0, flip=0)
    strategy = distribution.make_strategy("one_device")
    with tempfile.TemporaryDirectory() as directory, layer_precision(experiment.train.precision), strategy.scope():
        dataset = _dataset(job, directory)
        phase = phases.Phase("hrnet", phases.build_model(experiment, {}))
        train, bare = make_steps(strategy, phase, experiment, replace(experiment, augment=still))
        batches, ready = _batches(dataset, job.batch_size), next(_batches(dataset, job.batch_size))
        one = (tf.constant(1), tf.constant(1.0))
        work = {
            "loop": lambda: float(train(next(batches), *one)["loss"]),
            "bare": lambda: float(bare(ready, *one)["loss"]),
        }
        turns = _take_turns(work, job.steps)
    found = {}
    for name, (wall, cpu) in turns.items():
        found[f"{name}_images_per_second"] = job.batch_size / wall
        found[f"{name}_cpu_ms_per_image"] = 1000 * cpu / job.batch_size
    return found | {"loop_over_bare": found["loop_images_per_second"] / found["bare_images_per_second"]}


# --- the optimizer ---------------------------------------------------------------------------------------------


def measure_optimizer(job: Job) -> dict[str, float]:
    """One update of the network's parameters, in turns: with Keras' Adam, which updates each variable separately, and
    with this project's on one vector, using formulas (as on backends other than TensorFlow) or one kernel.
    """
    import keras
    import tensorflow as tf

    from keras_pose.models.hrnet import build_hrnet
    from keras_pose.training.optimizer import FlatAdam

    class ByFormulas(FlatAdam):
        _adam_in_place = FlatAdam._adam

    config = job.experiment.model
    network = build_hrnet(config.variant, config.get_skeleton().num_joints, config.input_size)
    shapes = [variable.shape for variable in network.trainable_variables]
    gradients = [tf.random.stateless_normal(shape, (i, 0)) for i, shape in enumerate(shapes)]

    def compiled(make: Callable) -> Callable[[], float]:
        variables = [keras.Variable(tf.zeros(shape)) for shape in shapes]
        update = make(variables)

        @tf.function(autograph=False)
        def step():
            update()
            return tf.reduce_sum(variables[-1].value)

        return lambda: float(step())  # on a GPU, reading a number waits for the result

    def by_keras(variables):
        adam = keras.optimizers.Adam(1e-3)
        adam.build(variables)
        return lambda: adam.apply(gradients, variables)

    def by_vector(adam: type[FlatAdam], variables):
        flat = adam(variables, job.experiment.optimizer)
        return lambda: flat.apply(flat.flatten(gradients), 1e-3)

    updates = {
        "keras": compiled(by_keras),
        "formulas": compiled(partial(by_vector, ByFormulas)),
        "kernel": compiled(partial(by_vector, FlatAdam)),
    }
    found = {}
    for name, (wall, cpu) in _take_turns(updates, job.steps).items():
        found |= {f"update_by_{name}_ms": 1000 * wall, f"update_by_{name}_cpu_ms": 1000 * cpu}
    return found


# --- batch normalization ---------------------------------------------------------------------------------------


def measure_batch_norm(job: Job) -> dict[str, float]:
    """Normalizing a batch of the network's first branch, and its derivative: as training does, and with one kernel."""
    import tensorflow as tf

    from keras_pose.models.batch_norm import FusedBatchNormalization
    from keras_pose.models.hrnet import HEATMAP_STRIDE, get_variant
    from keras_pose.models.tensorflow_speed import normalize_at_once, normalize_batch

    config, precision = job.experiment.model, job.experiment.train.precision
    height, width = (side // HEATMAP_STRIDE for side in config.input_size)
    shape = (job.batch_size, height, width, get_variant(config.variant).channels)
    dtype = tf.as_dtype(precision.removeprefix("mixed_"))
    images, upstream = (tf.cast(tf.random.stateless_normal(shape, (seed, 0)), dtype) for seed in (1, 2))

    def compiled(normalize: Callable) -> Callable[[], float]:
        layer = FusedBatchNormalization(dtype=precision)
        layer.build(shape)

        @tf.function(autograph=False)
        def step():
            with tf.GradientTape() as tape:
                tape.watch(images)
                outputs = normalize(images, layer, True)
            gradients = tape.gradient(outputs, [images, *layer.trainable_weights], output_gradients=upstream)
            return tf.add_n([tf.cast(tf.reshape(each, (-1,))[0], tf.float32) for each in gradients])

        return lambda: float(step())

    turns = _take_turns({"batch_norm": compiled(normalize_batch), "one_kernel": compiled(normalize_at_once)}, job.steps)
    found = {}
    for name, (wall, cpu) in turns.items():
        found |= {f"{name}_ms": 1000 * wall, f"{name}_cpu_ms": 1000 * cpu}
    return found | {"one_kernel_over_batch_norm": found["one_kernel_ms"] / found["batch_norm_ms"]}


def _take_turns(work: dict[str, Callable], count: int) -> dict[str, tuple[float, float]]:
    """Median seconds and processor seconds of `count` calls of each, after two that compile."""
    times: dict[str, list] = {name: [] for name in work}
    for i in range(count + 2):
        for name, step in work.items():
            start = np.array([time.perf_counter(), cpu_seconds()])
            step()
            if i > 1:
                times[name].append(np.array([time.perf_counter(), cpu_seconds()]) - start)
    return {name: tuple(np.median(values, 0).tolist()) for name, values in times.items()}


# --- the network and the machine -------------------------------------------------------------------------------


def measure_machine(job: Job) -> dict[str, float]:
    """The operations of the network per image, and the machine's speed in a large matrix product."""
    from keras_pose.models.hrnet import build_hrnet

    config = job.experiment.model
    model = build_hrnet(config.variant, config.get_skeleton().num_joints, config.input_size)
    return {
        "forward_gflop_per_image": kernels.forward_flops(model) / 1e9,
        "training_gflop_per_image": kernels.training_flops(model) / 1e9,
        "matrix_peak_gflop_per_second": kernels.matrix_peak_flops(job.experiment.train.precision) / 1e9,
    }


def measure_batch_sizes(base: contest.Contest, name: str, batch_sizes: list[int]) -> dict[str, dict]:
    """One contestant alone over batch sizes, each in its own process: images/s and peak memory."""
    keys = ("training_images_per_second", "inference_images_per_second", "peak_memory_mib")
    found = {}
    for batch_size in batch_sizes:
        result = contest.run_contest(replace(base, batch_size=batch_size), [name])
        found[str(batch_size)] = {key: result["contestants"][name][key] for key in keys}
    return found
