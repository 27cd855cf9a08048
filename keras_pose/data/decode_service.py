"""Decoding on other machines: the trainer's side of a tf.data service (`keras_pose.data.service` is the other side)."""

import re
import socket

import tensorflow as tf

from keras_pose.core.errors import UserError

CHUNK = 16  # examples sent together
CONNECT_SECONDS = 10.0


def check_service(address: str) -> None:
    """Raises UserError if an address is malformed or nothing answers there."""
    found = re.fullmatch(r"grpc://(.+):(\d+)", address)
    if not found:
        raise UserError(f"data service {address!r} is not an address; give grpc://HOST:PORT")
    try:
        socket.create_connection((found[1].strip("[]"), int(found[2])), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"no data service answers at {address} ({error}); start one with python -m keras_pose.data.service, "
            "or leave --data_service out"
        ) from error


def distribute(examples: tf.data.Dataset, address: str) -> tf.data.Dataset:
    """The examples in chunks of at most `CHUNK`, each once, in the order in which the workers finish them.

    The workers divide the source of `examples`, such as files, among themselves. Raises UserError as `check_service`.
    """
    check_service(address)
    return examples.batch(CHUNK).apply(
        tf.data.experimental.service.distribute(
            processing_mode=tf.data.experimental.service.ShardingPolicy.DYNAMIC,
            service=address,
            compression=None,  # decoded images hardly compress, and processors are the bottleneck
        )
    )
