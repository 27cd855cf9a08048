"""Slow, silent, many and rude clients: each is left in time, and none keeps another one waiting."""

import contextlib
import random
import socket
import struct
import sys
import threading
import time
from dataclasses import replace

import pytest

from mobile_demo.server import Limits, serve
from tests.mobile_demo.conftest import PATIENCE_S, TIMEOUT_S, dial, read_all, statuses, talk

PAGE = b"GET / HTTP/1.1\r\nHost: phone\r\nConnection: close\r\n\r\n"
SLACK_S = 3.0  # of a busy machine


def took(work) -> float:
    """Seconds."""
    start = time.monotonic()
    work()
    return time.monotonic() - start


def is_left(connection: socket.socket, part: bytes, every_s: float) -> None:
    """Sends a part again and again until the server ends the connection; fails where it never does."""
    connection.settimeout(every_s)
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            connection.sendall(part)
            if not connection.recv(1 << 16):
                return
        except TimeoutError:
            continue
        except OSError:
            return
    pytest.fail("the server still listens")


@pytest.mark.parametrize("sent", [b"", b"G", PAGE[:-2], b"GET / HTTP/1.1\r\n"], ids=["nothing", "1", "nearly", "line"])
def test_who_stops_talking_is_left_in_time(server, sent):
    seconds = took(lambda: statuses(talk(server, sent)))
    assert 0.8 * TIMEOUT_S < seconds < TIMEOUT_S + SLACK_S


@pytest.mark.parametrize("part", [b"a", b"X: y\r\n"])
def test_a_request_in_drops_has_no_more_time_than_another(server, part):
    """Slowloris: each drop alone is in time."""
    with dial(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: phone\r\nX: ")
        assert took(lambda: is_left(connection, part, 0.05)) < TIMEOUT_S + SLACK_S


def test_who_sits_on_an_idle_connection_is_left_in_time(server):
    with dial(server) as connection:
        connection.sendall(PAGE.replace(b"close", b"keep-alive"))
        assert took(lambda: read_all(connection)) < TIMEOUT_S + SLACK_S


def test_a_connection_has_only_so_many_requests(settings):
    with serve(replace(settings, limits=Limits(requests=3))) as server:
        answers = talk(server, PAGE.replace(b"close", b"keep-alive") * 5)
    assert statuses(answers) == [200] * 3
    assert answers.count(b"Connection: close") == 1


def test_who_does_not_take_the_answer_is_left_in_time(settings):
    """The model fills all buffers between; at 50 MB/s its 5 MB are due in 0.1 s."""
    limits = Limits(timeout_s=TIMEOUT_S, bytes_per_s=50e6)
    with serve(replace(settings, limits=limits)) as server, contextlib.ExitStack() as stack:
        connection = socket.socket()
        stack.enter_context(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE_S)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(PAGE.replace(b"/ ", b"/model/pose.tflite "))
        time.sleep(2 * TIMEOUT_S + 0.5)
        received = read_all(connection)
    assert received.startswith(b"HTTP/1.1 200 ") and len(received) < 4_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="no /proc")
def test_many_large_answers_share_one_body(settings):
    """Slow takers must not cost a copy of the model each."""
    with serve(settings) as server, contextlib.ExitStack() as stack:
        before = resident_mb()
        for _ in range(30):
            connection = stack.enter_context(dial(server))
            connection.sendall(PAGE.replace(b"/ ", b"/model/pose.tflite "))
            assert connection.recv(1)
        assert resident_mb() - before < 60, "30 copies of 5 MB would be 150"


def resident_mb() -> float:
    """Of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def test_one_address_has_only_so_many_connections(settings):
    """More are ended at once; when one goes, the next is let in."""
    with serve(replace(settings, connections_each=3, limits=Limits())) as server, contextlib.ExitStack() as stack:
        held = [stack.enter_context(dial(server)) for _ in range(3)]
        for connection in held:
            connection.sendall(PAGE.replace(b"close", b"keep-alive"))
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert talk(server, PAGE) == b""
        held[0].close()
        assert eventually(lambda: statuses(talk(server, PAGE)) == [200])
        assert held[1].recv(1), "the others are still served"


def test_all_together_have_only_so_many_connections(settings):
    """Another address of this machine's plays another phone."""
    with serve(replace(settings, connections=2, limits=Limits())) as server, contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(dial(server)).sendall(b"G")
        assert eventually(lambda: talk_from("127.0.0.2", server, PAGE) == b"")


def test_one_address_cannot_shut_out_another(settings):
    changed = replace(settings, connections=4, connections_each=2, limits=Limits())
    with serve(changed) as server, contextlib.ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(dial(server)).sendall(b"G")
        assert eventually(lambda: talk(server, PAGE) == b"")
        assert statuses(talk_from("127.0.0.2", server, PAGE)) == [200]


def talk_from(address: str, server, data: bytes) -> bytes:
    """As `talk`, from that address of this machine's."""
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S, (address, 0)) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        return read_all(connection)


def eventually(holds) -> bool:
    """Whether it comes to hold soon."""
    end = time.monotonic() + PATIENCE_S
    while not (found := holds()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def test_slow_clients_keep_nobody_waiting(settings):
    with serve(replace(settings, limits=Limits())) as server, contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(dial(server)).sendall(b"GET / HTTP/1.1\r\n")
        assert took(lambda: statuses(talk(server, PAGE))) < SLACK_S


def test_who_vanishes_leaves_no_trace(server, capfd):
    """Reset in the midst of a request or of an answer: no thread, no count and no word remains."""
    threads = threading.active_count()
    for data in (b"GET /", PAGE.replace(b"/ ", b"/model/pose.tflite ")):
        for _ in range(60):  # more than an address may have at once
            connection = dial(server)
            connection.sendall(data)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
    assert eventually(lambda: statuses(talk(server, PAGE)) == [200])
    assert threading.active_count() <= threads
    assert capfd.readouterr() == ("", "")


def test_a_flood_of_requests_is_neither_kept_nor_reported(settings, capfd):
    """From a client that takes no answers: the server stops reading it, and goes on serving others."""
    with serve(settings) as server, dial(server) as flooding:
        before = resident_mb()
        flooding.settimeout(TIMEOUT_S / 2)
        with contextlib.suppress(TimeoutError, ConnectionError):
            for _ in range(1000):
                flooding.sendall(PAGE.replace(b"/ ", b"/model/pose.tflite ").replace(b"close", b"keep-alive") * 1000)
        assert resident_mb() - before < 30
        assert statuses(talk(server, PAGE)) == [200]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("seed", range(16))
def test_random_bytes_are_left_in_time_and_not_reported(server, capfd, seed):
    """Some of them after the beginning of a sound request."""
    junk = random.Random(seed).randbytes(3000)
    answers = talk(server, PAGE[: seed * 3] + junk + b"\r\n\r\n")
    assert statuses(answers) in ([], [400])
    assert capfd.readouterr() == ("", "")


def test_closing_ends_open_connections(settings, capfd):
    server = serve(replace(settings, limits=Limits()))
    with dial(server) as idle, dial(server) as reading:
        idle.sendall(b"G")
        reading.sendall(PAGE.replace(b"/ ", b"/model/pose.tflite "))
        assert reading.recv(1)
        assert took(server.close) < SLACK_S
        assert read_all(idle) == b""
        read_all(reading)
    server.wait()
    with pytest.raises(OSError):
        dial(server)
    assert capfd.readouterr() == ("", "")
