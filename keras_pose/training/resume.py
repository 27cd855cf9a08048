"""The start of a run: from the beginning, or from the checkpoint of an earlier process."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import tensorflow as tf

from keras_pose.core.errors import UserError
from keras_pose.data.dataset import DatasetInfo
from keras_pose.training import checkpoint, distribution
from keras_pose.training.checkpoint import Progress
from keras_pose.training.experiment import Experiment


@dataclass(frozen=True)
class Start:
    """The progress of the run, and whether a checkpoint holds its weights."""

    progress: Progress
    resumes: bool


def find_start(
    experiment: Experiment, dataset: DatasetInfo, strategy: tf.distribute.Strategy, last: Path, is_chief: bool
) -> Start:
    """Finds where the run starts. `last` is the path of its checkpoint; the chief's file decides for all workers.

    Raises:
        UserError: the checkpoint is damaged, the data have changed since it, or a worker's configuration or data differ
            from the chief's.
    """
    start = Start(Progress(data=dataset.manifest_hash), resumes=False)
    if is_chief and last.is_file():
        start = Start(checkpoint.load_progress(last), resumes=True)
        if start.progress.data != dataset.manifest_hash:
            raise UserError(
                f"data set {dataset.spec} has changed since {experiment.output} began; choose another --output"
            )
    return _chiefs(start, experiment, dataset, strategy, is_chief) if distribution.has_workers(strategy) else start


def _chiefs(
    start: Start, experiment: Experiment, dataset: DatasetInfo, strategy: tf.distribute.Strategy, is_chief: bool
) -> Start:
    own = {"resumes": start.resumes, "progress": asdict(start.progress), "experiment": experiment.to_dict()}
    chiefs = json.loads(distribution.chiefs_bytes(strategy, json.dumps(own).encode(), is_chief))
    check_same(chiefs["experiment"], experiment.to_dict())
    if chiefs["progress"]["data"] != dataset.manifest_hash:
        raise UserError(f"data set {dataset.spec} differs from the chief's; give every worker the same data")
    return Start(Progress(**chiefs["progress"]), chiefs["resumes"])


def check_same(chiefs: dict, own: dict) -> None:
    """Raises UserError unless two experiments (`Experiment.to_dict`) are equal, apart from paths and addresses."""
    own = json.loads(json.dumps(own))
    for section, theirs in chiefs.items():
        values = own[section] if isinstance(theirs, dict) else {section: own[section]}
        for name, value in (theirs if isinstance(theirs, dict) else {section: theirs}).items():
            if values[name] != value and name not in ("output", "dataset", "data_service"):
                raise UserError(
                    f"this worker has {name} {values[name]}, the chief {value}; start all workers with the same command"
                )
