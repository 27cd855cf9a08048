"""TF_CONFIG, and the errors when workers are lost or differ."""

import json
from types import SimpleNamespace

import pytest
import tensorflow as tf

from keras_pose.core.errors import UserError
from keras_pose.training import distribution, resume, steps
from keras_pose.training.cluster import naming_lost_workers, read_cluster
from tests.training.runs import tiny_experiment

WORKERS = {"worker": ["a:1", "b:2"]}
WITH_CHIEF = {"chief": ["a:1"], "worker": ["b:2", "c:3"]}


def set_tf_config(monkeypatch, cluster: dict, job: str, index: int) -> None:
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": job, "index": index}}))


@pytest.mark.parametrize(
    ("cluster", "job", "index", "is_chief", "others"),
    [
        (WORKERS, "worker", 0, True, "b:2"),
        (WORKERS, "worker", 1, False, "a:1"),
        (WITH_CHIEF, "chief", 0, True, "b:2, c:3"),
        (WITH_CHIEF, "worker", 0, False, "a:1, c:3"),
    ],
)
def test_one_worker_is_the_chief(monkeypatch, cluster, job, index, is_chief, others):
    set_tf_config(monkeypatch, cluster, job, index)
    found = read_cluster("auto")
    assert (found.is_chief, found.others) == (is_chief, others)
    assert distribution.writes_files("multi_worker") == is_chief
    for alone in ("one_device", "mirrored"):
        assert read_cluster(alone) is None and distribution.writes_files(alone)


def test_a_single_worker_is_not_a_cluster(monkeypatch):
    set_tf_config(monkeypatch, {"worker": ["a:1"]}, "worker", 0)
    assert read_cluster("multi_worker") is None
    monkeypatch.delenv("TF_CONFIG")
    assert read_cluster("auto") is None
    with pytest.raises(UserError, match="multi_worker needs TF_CONFIG"):
        read_cluster("multi_worker")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        '{"cluster": {"worker": ["a:1", "b:2"]}}',
        '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": "x"}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:2"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": ["a:1"], "task": {"type": "worker", "index": 0}}',
    ],
)
def test_a_broken_tf_config_is_reported(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match="TF_CONFIG=.* does not name this worker .*; write it as"):
        read_cluster("auto")


def test_the_lost_worker_is_named(monkeypatch):
    set_tf_config(monkeypatch, WITH_CHIEF, "worker", 0)
    cluster = read_cluster()
    for message, named in [
        ("from remote target /job:chief/replica:0/task:0 while", "worker a:1 no longer"),
        ("unhealthy:\n/job:worker/replica:0/task:1\nseen by /job:worker/replica:0/task:0", "worker c:3 no longer"),
        ("Collective ops is aborted by: Socket closed", "worker a:1, c:3 no longer"),
    ]:
        with pytest.raises(UserError, match=named), naming_lost_workers(cluster):
            raise tf.errors.UnavailableError(None, None, message)
    with pytest.raises(tf.errors.InternalError), naming_lost_workers(cluster):
        raise tf.errors.InternalError(None, None, "cuDNN failed")
    with pytest.raises(tf.errors.UnavailableError), naming_lost_workers(None):
        raise tf.errors.UnavailableError(None, None, "Collective ops is aborted")


def test_workers_started_differently_are_refused():
    chiefs = json.loads(json.dumps(tiny_experiment("a", "data").to_dict()))
    resume.check_same(chiefs, tiny_experiment("elsewhere", "mounted/elsewhere").to_dict())
    for other in (tiny_experiment("a", "data", train={"seed": 3}), tiny_experiment("a", "data", dropout=0.1)):
        with pytest.raises(UserError, match=r"this worker has (seed 3, the chief 0|dropout 0.1, the chief 0.5); start"):
            resume.check_same(chiefs, other.to_dict())


@pytest.mark.parametrize(
    ("replicas", "train", "message"),
    [
        (3, {}, "batch size 8 must be divisible by 3 devices"),
        (16, {}, "batch size 8 must be divisible by 16 devices"),
        (2, {"accumulate_steps": 3}, "batch size 8 must be divisible by 2 devices in 3 parts each"),
        (
            2,
            {"sync_batch_norm": True, "jit_compile": True},
            "--sync_batch_norm with --jit_compile works only on one device",
        ),
        (
            2,
            {"sync_batch_norm": True, "accumulate_steps": 2},
            "--sync_batch_norm with --accumulate_steps works only on one",
        ),
    ],
)
def test_settings_that_several_devices_do_not_support(replicas, train, message):
    experiment = tiny_experiment("unused", "unused", train=train)
    with pytest.raises(UserError, match=message):
        steps.check_settings(SimpleNamespace(num_replicas_in_sync=replicas), experiment)
    steps.check_settings(SimpleNamespace(num_replicas_in_sync=1), tiny_experiment("unused", "unused"))
