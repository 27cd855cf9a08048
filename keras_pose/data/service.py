"""Reads and decodes training examples for trainers on other machines: a tf.data service.

    python -m keras_pose.data.service --port=5050                     # once: distributes work, and does a share
    python -m keras_pose.data.service --dispatcher=grpc://host:5050   # on each further machine
    python -m keras_pose.train --data_service=grpc://host:5050 ...

All machines need the data set under the same name. Anyone who can reach the port can make these machines read files and
compute, so keep it inside your own network. Ctrl-C or SIGTERM ends the service.
"""

import os
import signal
import socket
import threading

import tensorflow as tf
from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.data import decode_service

FLAGS = flags.FLAGS
LOST_AFTER_MS = 10_000  # a worker that is silent for this long counts as lost


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """Defines the command's flags."""
    flags.DEFINE_integer("port", 0, "Port to listen on; 0 picks a free one.", 0, 65535, flag_values=values)
    flags.DEFINE_string(
        "host",
        "",
        "Name or address at which trainers reach this machine; empty: its host name.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "dispatcher", "", "grpc://HOST:PORT of the machine that distributes work; empty: this one.", flag_values=values
    )


def main(arguments: list[str]) -> None:
    """Runs the command until a signal ends the process; raises UserError if the service cannot start."""
    if arguments:
        raise UserError(f"unknown argument {arguments[0]!r}; flags are written --name=value")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    host = FLAGS.host or socket.gethostname()
    servers = []
    try:
        if FLAGS.dispatcher:
            address = FLAGS.dispatcher
            decode_service.check_service(address)
            servers.append(start_worker(address, host, FLAGS.port))
            print(f"decoding for {address}", flush=True)
        else:
            servers.append(start_dispatcher(FLAGS.port))
            address = f"grpc://{host}:{servers[0].target.rpartition(':')[2]}"
            servers.append(start_worker(address, host, 0))
            print(f"train with --data_service={address}", flush=True)
    except tf.errors.OpError as error:
        raise UserError(f"cannot start: {error.message.splitlines()[0]}; choose another --port or --host") from error
    stop.wait()
    os._exit(0)  # a clean shutdown would wait a minute for trainers that are gone


def start_dispatcher(port: int) -> tf.data.experimental.service.DispatchServer:
    """Starts the dispatcher, which distributes work, on a port of this machine; 0 picks a free one."""
    config = tf.data.experimental.service.DispatcherConfig(port=port, worker_timeout_ms=LOST_AFTER_MS)
    return tf.data.experimental.service.DispatchServer(config)


def start_worker(address: str, host: str, port: int) -> tf.data.experimental.service.WorkerServer:
    """Starts a worker, which reads and decodes for the dispatcher at `address`; trainers reach it at `host`."""
    config = tf.data.experimental.service.WorkerConfig(
        dispatcher_address=address.removeprefix("grpc://"),
        worker_address=f"{host}:{port or '%port%'}",
        port=port,
        heartbeat_interval_ms=LOST_AFTER_MS // 10,
    )
    return tf.data.experimental.service.WorkerServer(config)


if __name__ == "__main__":
    define_flags()
    command.run(main)
