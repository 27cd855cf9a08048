"""Which worker this process is, according to TF_CONFIG, and the error for lost workers."""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import tensorflow as tf

from keras_pose.core.errors import UserError

JOBS = ("chief", "worker")
EXAMPLE = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
# TensorFlow's errors after the loss of another worker; their messages mention tasks or collectives.
LOSSES = (
    tf.errors.UnavailableError,
    tf.errors.InternalError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
)
TASK = re.compile(r"/job:(\w+)/(?:replica:\d+/)?task:(\d+)")
COLLECTIVE = re.compile(r"[Cc]ollective|[Cc]oordination|heartbeat")


@dataclass(frozen=True)
class Cluster:
    """The workers that train together.

    Attributes:
        addresses: (job, index) to host and port; the first is the chief, which writes the run's files.
        task: this process's job and index.
    """

    addresses: dict[tuple[str, int], str]
    task: tuple[str, int]

    @property
    def is_chief(self) -> bool:
        return self.task == next(iter(self.addresses))

    @property
    def others(self) -> str:
        """The addresses of the other workers, for messages."""
        return ", ".join(address for task, address in self.addresses.items() if task != self.task)


def read_cluster(strategy: str = "auto") -> Cluster | None:
    """The workers in TF_CONFIG for a strategy (one of `experiment.STRATEGIES`); None if this process trains alone.

    Raises UserError if TF_CONFIG is malformed or does not name this worker, or if `multi_worker` has no cluster.
    """
    if strategy not in ("auto", "multi_worker"):
        return None
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        config = json.loads(text)
        jobs = config.get("cluster", {})
        if set(jobs) - set(JOBS):
            raise ValueError(f"jobs are {' and '.join(JOBS)}")
        addresses = {(job, i): address for job in JOBS for i, address in enumerate(jobs.get(job, ()))}
        task = (config["task"]["type"], int(config["task"]["index"])) if addresses else None
        if addresses and task not in addresses:
            raise ValueError(f"task {task} is not in the cluster")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"TF_CONFIG={text} does not name this worker ({error!r}); write it as {EXAMPLE}") from error
    if strategy == "multi_worker" and not addresses:
        raise UserError(f"strategy multi_worker needs TF_CONFIG to list the workers, such as {EXAMPLE}")
    return Cluster(addresses, task) if len(addresses) > 1 else None


@contextlib.contextmanager
def naming_lost_workers(cluster: Cluster | None) -> Iterator[None]:
    """Turns TensorFlow errors inside the block into a UserError if another worker was lost.

    A dead process is noticed at the next exchange, an unreachable machine after about ten seconds.
    """
    try:
        yield
    except LOSSES as error:
        text = str(error)
        tasks = {(job, int(number)) for job, number in TASK.findall(text)}
        if cluster is None or not (tasks or COLLECTIVE.search(text)):
            raise
        lost = [address for task, address in cluster.addresses.items() if task in tasks and task != cluster.task]
        raise UserError(
            f"worker {' or '.join(lost) or cluster.others} no longer answers, so this one ends too; see its messages, "
            "then start all workers again with the same command: the run resumes from its last checkpoint"
        ) from error
