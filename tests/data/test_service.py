"""Decoding with a tf.data service: its command in two processes, as on two machines."""

import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.data import decode_service, pipeline
from keras_pose.data.dataset import open_dataset
from keras_pose.training import distribution
from keras_pose.training.checkpoint import Progress
from keras_pose.training.trainer import Trainer
from tests.training.runs import tiny_experiment


def start(*arguments: str) -> tuple[subprocess.Popen, str]:
    """The command, and its output once it is ready."""
    command = [sys.executable, "-m", "keras_pose.data.service", "--host=localhost", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline()


@pytest.fixture(scope="module")
def service():
    """The address of a service of two workers; both have to end well."""
    first, said = start()
    address = re.search(r"grpc://\S+", said)[0]
    second, said = start(f"--dispatcher={address}")
    assert said == f"decoding for {address}\n"
    yield address
    for process, number in ((second, signal.SIGINT), (first, signal.SIGTERM)):
        process.send_signal(number)
        assert process.wait(20) == 0  # at once, although trainers are connected


@pytest.fixture(scope="module")
def info(toy_dataset):
    return open_dataset(str(toy_dataset))


def batches(info, service="", **options):
    return list(
        pipeline.make_batches(info, "train", 4, training=True, with_metadata=True, data_service=service, **options)
    )


def frames(found) -> list[int]:
    return [int(frame) for batch in found for frame in batch["frame"]]


def pictures(found) -> dict[int, np.ndarray]:
    return {int(frame): picture for batch in found for frame, picture in zip(batch["frame"], batch["image"].numpy())}  # noqa: B905


def test_an_epoch_is_every_example_once_with_its_own_image(info, service):
    served = batches(info, service)
    assert sorted(frames(served)) == list(range(24)) and len(served) == 6
    local, far = pictures(batches(info)), pictures(served)
    for frame in range(24):
        np.testing.assert_array_equal(far[frame], local[frame])
    twice = frames(batches(info, service, epoch=1, passes=2))
    assert sorted(twice) == sorted([*range(24)] * 2)


def test_trainers_share_the_examples(info, service):
    shares = [frames(batches(info, service, shard=(i, 2))) for i in range(2)]
    assert sorted(shares[0] + shares[1]) == list(range(24)) and len(shares[0]) == len(shares[1])


def test_a_resumed_epoch_has_the_remaining_number_of_batches(info, service):
    rest = frames(batches(info, service, skip_batches=4))
    assert len(rest) == 8 and len(set(rest)) == 8


def test_a_mix_is_served(info, service):
    mix = open_dataset(f"{info.spec}:0.5,{info.spec}:0.5")
    assert len(batches(mix, service)) == 12


def test_the_trainer_takes_its_batches_from_the_service(info, service):
    """The method of a phase that training calls, without the phase's model."""
    experiment = tiny_experiment("unused", info.spec)
    run = SimpleNamespace(
        strategy=distribution.make_strategy("one_device"),
        experiment=SimpleNamespace(data=SimpleNamespace(**vars(experiment.data) | {"data_service": service})),
        progress=Progress(),
    )
    stream = iter(Trainer._batches(run, SimpleNamespace(dataset=info, seed=0)))
    seen = [next(stream)["pose_3d"].numpy() for _ in range(3)]
    labels = [example.pose_3d_mm for example in pipeline.read_examples(info, "train")]
    order = [[np.allclose(pose, label) for label in labels].index(True) for pose in np.concatenate(seen)]
    assert sorted(order) == list(range(24))


@pytest.mark.parametrize("address", ["localhost:5050", "grpc://localhost", "http://localhost:5050", "grpc://a b:99999"])
def test_a_bad_or_silent_address_is_reported(address):
    with pytest.raises(UserError, match="is not an address; give grpc://HOST:PORT|no data service answers at"):
        decode_service.check_service(address)


def test_a_lost_service_is_reported(info):
    with pytest.raises(
        UserError, match=r"no data service answers at grpc://localhost:9 \(.*; start one with python -m"
    ):
        batches(info, "grpc://localhost:9")
    process, said = start("--dispatcher=grpc://localhost:9")
    assert said == "" and process.wait(120) == 2
