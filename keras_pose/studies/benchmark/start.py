"""The time before a run's first step: building, tracing, the first call; with the graph rewritten or not."""

import time
from functools import partial

import numpy as np

from keras_pose.studies.benchmark.contestant import cpu_seconds
from keras_pose.studies.benchmark.rows import Job, in_own_process

LATER_STEPS = 2


def measure_start(job: Job) -> dict[str, float]:
    """Seconds and processor seconds for both ways, each in its own process, one after the other."""
    found = {}
    for name, rewritten in (("start", False), ("rewritten", True)):
        found |= {f"{name}_{key}": value for key, value in in_own_process(partial(start, rewritten), job).items()}
    return found


def start(rewritten: bool, job: Job) -> dict[str, float]:
    """From nothing to a first step and some later ones, without imports."""
    from keras_pose.models.precision import layer_precision
    from keras_pose.models.tensorflow_speed import collections_paused
    from keras_pose.studies.benchmark.training_step import make_steps
    from keras_pose.training import distribution, phases

    experiment = job.experiment
    strategy = distribution.make_strategy("one_device")
    batch = _random_batch(job)
    began, cpu = time.perf_counter(), cpu_seconds()
    with layer_precision(experiment.train.precision), strategy.scope():
        phase = phases.Phase("hrnet", phases.build_model(experiment, {}))
        (step,) = make_steps(strategy, phase, experiment)
        built = time.perf_counter()
        if rewritten:
            step = collections_paused()(getattr(step, "__wrapped__", step))  # on a GPU it is rewritten in any case
        _run(step, batch, 0)
        first, first_cpu = time.perf_counter(), cpu_seconds()
        for i in range(LATER_STEPS):
            _run(step, batch, i + 1)
        later = (time.perf_counter() - first) / LATER_STEPS
    return {
        "build_s": built - began,
        "first_step_s": first - began,
        "first_step_cpu_s": first_cpu - cpu,
        "later_step_s": later,
        "later_step_cpu_s": (cpu_seconds() - first_cpu) / LATER_STEPS,
    }


def _run(step, batch: dict, number: int) -> float:
    import tensorflow as tf

    return float(step(batch, tf.constant(number), tf.constant(1.0))["loss"])


def _random_batch(job: Job) -> dict:
    import tensorflow as tf

    rng, count, joints = np.random.default_rng(0), job.batch_size, job.experiment.model.get_skeleton().num_joints
    arrays = {
        "image": rng.integers(0, 256, (count, *job.experiment.model.input_size, 3)).astype(np.uint8),
        "keypoints_2d": rng.uniform(size=(count, joints, 2)).astype(np.float32),
        "keypoint_valid": np.ones((count, joints), np.float32),
        "pose_3d": rng.normal(0, 300, (count, joints, 3)).astype(np.float32),
        "pose_3d_valid": np.ones((count, joints), np.float32),
    }
    return {name: tf.constant(array) for name, array in arrays.items()}
