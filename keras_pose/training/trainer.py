"""Training a whole run: its phases one after the other, from the start or from its last checkpoint."""

import json
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_pose.core.errors import UserError
from keras_pose.data.audit import ShardWatch
from keras_pose.data.dataset import DatasetInfo, naming_broken_shards, open_dataset
from keras_pose.training import checkpoint, distribution, phases, run_folder
from keras_pose.training.checkpoint import Progress
from keras_pose.training.cluster import naming_lost_workers, read_cluster
from keras_pose.training.experiment import Experiment
from keras_pose.training.initial_weights import load_initial_weights
from keras_pose.training.phase_run import PhaseRun
from keras_pose.training.recorder import Recorder
from keras_pose.training.run_state import Run

SAME_STOP_S = 1.0  # a second signal within this is the same wish to stop


def train(experiment: Experiment) -> bool:
    """Trains into a claimed run folder (`run_folder.claim`), or goes on where its last checkpoint is.

    Returns:
        Whether this process wrote the run's files: of many workers one does.

    Raises:
        Stopped: on SIGTERM or SIGINT, after a checkpoint.
        UserError: data that does not fit, a checkpoint of another architecture, a loss that is NaN.
    """
    if experiment.train.threads_per_operation:
        tf.config.threading.set_intra_op_parallelism_threads(experiment.train.threads_per_operation)
    cluster = read_cluster(experiment.train.strategy)
    with naming_lost_workers(cluster):
        strategy = distribution.make_strategy(experiment.train.strategy)  # workers must meet before TensorFlow is used
        distribution.begin_together(strategy)
        dataset = open_dataset(experiment.data.dataset)
        watch = ShardWatch(dataset.folders)
        check_data(experiment, dataset)
        if experiment.kind != "lifter":
            dataset = dataset.at_size(experiment.model.input_size)
        keras.utils.set_random_seed(experiment.train.seed)
        with phases.precision(experiment.train.precision), strategy.scope():
            run = _open_run(experiment, dataset, strategy, cluster is None or cluster.is_chief)
            run.watch = watch
            handlers = _catch_signals(run)
            try:
                with naming_broken_shards(dataset, lambda: f"at step {run.step}: "):
                    while run.progress.phase < len(experiment.train.phases):
                        PhaseRun(run, experiment.train.phases[run.progress.phase]).run()
            finally:
                for number, handler in handlers.items():
                    signal.signal(number, handler)
                if run.recorder:
                    run.recorder.close()
    return run.is_chief


def check_data(experiment: Experiment, dataset: DatasetInfo) -> None:
    """Raises UserError unless the data set has what the phases need, at the model's size and skeleton."""
    skeleton = experiment.model.get_skeleton()
    if dataset.skeleton != skeleton:
        raise UserError(
            f"data set {dataset.spec} has skeleton {dataset.skeleton.name}, the model {skeleton.name}; "
            "prepare the data with the model's skeleton"
        )
    if experiment.kind != "lifter":
        dataset.at_size(experiment.model.input_size)
    else:
        _check_aspect(dataset, experiment.model.input_size)
    if experiment.loss.adversarial_weight and not dataset.pose_counts("train").min(initial=np.inf):
        raise UserError(
            f"data set {dataset.spec} has no whole 3D poses that predicted ones could be told from; "
            "mix in data that have them, or leave --adversarial_weight out"
        )
    for part in dataset.parts:
        if part.weight != 1 and not part.manifest.splits.get("train"):
            raise UserError(
                f"{part.directory} has weight {part.weight:g} in the mix but no training examples; "
                "prepare it with --split=train, or leave it out"
            )
    for split, needed in (("train", experiment.data.batch_size), ("validation", 1)):
        if dataset.count(split) < needed:
            raise UserError(
                f"split {split} of data set {dataset.spec} has {dataset.count(split)} examples, "
                f"fewer than the {needed} that a batch needs; add examples or choose a smaller --batch_size"
            )
    names = [phase.name for phase in experiment.train.phases]
    lifting = [name for name in names if name != "hrnet"]
    for split in ("train", "validation"):
        keypoints, poses = dataset.label_counts(split)
        if lifting and not poses:
            raise UserError(
                f"split {split} of data set {dataset.spec} has no 3D poses, which phase {lifting[0]} learns "
                "from and is judged by; take --phases=hrnet, or mix in data that have them"
            )
        if not keypoints and (split == "train" or set(names) != {"e2e"}):
            raise UserError(
                f"split {split} of data set {dataset.spec} has no labelled 2D joints, which every phase sees; "
                "mix in data that have them"
            )


def _check_aspect(dataset: DatasetInfo, input_size: tuple[int, int]) -> None:
    """Raises UserError where a lifter's joints would be turned in a crop of another shape than they lie in."""
    height, width = dataset.crop_size
    if height * input_size[1] != width * input_size[0]:
        raise UserError(
            f"the joints of data set {dataset.spec} lie in crops of {height} : {width}, "
            f"the model's are {input_size[0]}x{input_size[1]}; leave --input_size out"
        )


def _open_run(experiment: Experiment, dataset: DatasetInfo, strategy: tf.distribute.Strategy, is_chief: bool) -> Run:
    """The run at its start, or where its last checkpoint left it; the chief's folder decides for all workers."""
    directory = Path(experiment.output)
    model = phases.build_model(experiment, dataset.statistics)
    if experiment.train.sync_batch_norm:
        phases.synchronize_batch_norm(model)
    progress = Progress(data=dataset.manifest_hash)
    last = directory / run_folder.LAST_CHECKPOINT
    resumes = is_chief and last.is_file()
    if resumes:
        progress = checkpoint.load_progress(last)
        if progress.data != dataset.manifest_hash:
            raise UserError(f"data set {dataset.spec} has changed since {directory} began; choose another --output")
    if distribution.has_workers(strategy):
        resumes, progress = _join(experiment, dataset, strategy, resumes, progress, is_chief)
    if not resumes:
        load_initial_weights(experiment, model)  # on all workers: they create variables together
    discriminator = phases.build_discriminator(experiment, dataset.statistics)
    run = Run(experiment, dataset, strategy, model, progress, resumes, is_chief, discriminator)
    if is_chief:
        run.recorder = Recorder(directory, run.step, within_epoch=progress.step > 0)
    if resumes:
        print(f"going on with {directory} at step {run.step}")
    return run


def _join(
    experiment: Experiment,
    dataset: DatasetInfo,
    strategy: tf.distribute.Strategy,
    resumes: bool,
    progress: Progress,
    is_chief: bool,
) -> tuple[bool, Progress]:
    """Whether and where the chief goes on; raises UserError on a worker that does not train the same as the chief."""
    own = {"resumes": resumes, "progress": asdict(progress), "experiment": experiment.to_dict()}
    chiefs = json.loads(distribution.chiefs_bytes(strategy, json.dumps(own).encode(), is_chief))
    check_same(chiefs["experiment"], experiment.to_dict())
    if chiefs["progress"]["data"] != dataset.manifest_hash:
        raise UserError(f"data set {dataset.spec} is not the chief's; give every worker the same data")
    return chiefs["resumes"], Progress(**chiefs["progress"])


def check_same(chiefs: dict, own: dict) -> None:
    """Raises UserError unless two experiments (`Experiment.to_dict`) are one, but for where it reads and writes."""
    own = json.loads(json.dumps(own))
    for section, theirs in chiefs.items():
        values = own[section] if isinstance(theirs, dict) else {section: own[section]}
        for name, value in (theirs if isinstance(theirs, dict) else {section: theirs}).items():
            if values[name] != value and name not in ("output", "dataset", "data_service"):
                raise UserError(
                    f"this worker has {name} {values[name]}, the chief {value}; start all workers by the same command"
                )


def _catch_signals(run: Run) -> dict[int, Callable]:
    """Lets the first SIGTERM or SIGINT ask the run to stop, the second end it; returns the handlers before.

    One stop may come as two signals: to the group of processes, and from the parent that passes its own on.
    """
    first = 0.0

    def on_signal(number, frame) -> None:
        nonlocal first
        if not run.stop_signal:
            run.stop_signal, first = number, time.monotonic()
        elif time.monotonic() - first > SAME_STOP_S:
            raise KeyboardInterrupt

    return {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
