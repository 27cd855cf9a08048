"""A small page, runtime and model in the real form, so that the server is tested without the demo's own."""

import gzip
import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from keras_pose.io.model_info import sidecar_path
from mobile_demo.server import Limits, Server, Settings, serve
from mobile_demo.vendor import MANIFEST, packed_name, read_checksums

METADATA = {
    "inputs": {"image": {"shape": [1, 8, 6, 3]}},
    "outputs": {"keypoints_2d": {}, "pose_3d": {}, "scores": {}},
    "input_size": [8, 6],
}
SECRET = b"not for phones"
APP = b"let a;\n"
TIMEOUT_S = 0.5  # of the servers under test
PATIENCE_S = 10  # of the clients: only a server that hangs makes them wait for it


def write_model(path: Path, content: bytes = b"model", **changes) -> Path:
    """A file and its metadata as an export leaves them; the server looks into neither."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    sidecar_path(path).write_text(json.dumps(METADATA | changes))
    return path


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> dict[str, Path]:
    """`web` and `runtime`, with files around them that nobody may get."""
    root = tmp_path_factory.mktemp("demo")
    web, runtime = root / "web", root / "runtime"
    contents = {"index.html": b"<!doctype html>" + b" " * 3000, "app.js": APP, "deep/icon.png": bytes(range(9))}
    hidden = {".secret.js": SECRET, "deep/.git/config.json": SECRET, "notes.bak": SECRET, "../secret.html": SECRET}
    for name, content in (contents | hidden).items():
        path = web / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (web / "link.html").symlink_to(root / "secret.html")
    runtime.mkdir()
    for name in read_checksums():
        (runtime / packed_name(name)).write_bytes(gzip.compress(name.encode() * 100))
    (runtime / MANIFEST).write_text(json.dumps(read_checksums()))
    return {"web": web, "runtime": runtime}


@pytest.fixture(scope="session")
def settings(folders, tmp_path_factory) -> Settings:
    """Of a server without TLS that loses patience soon."""
    model = write_model(tmp_path_factory.mktemp("model") / "pose.tflite", b"0123456789" * 500_000)
    return Settings(model=model, port=0, http=True, limits=Limits(timeout_s=TIMEOUT_S), **folders)


@pytest.fixture(scope="module")
def server(settings) -> Iterator[Server]:
    with serve(settings) as server:
        yield server


@pytest.fixture(scope="module")
def secure_settings(settings, tmp_path_factory) -> Settings:
    return replace(settings, http=False, state_dir=tmp_path_factory.mktemp("state") / "keys")


@pytest.fixture(scope="module")
def secure(secure_settings) -> Iterator[Server]:
    with serve(secure_settings) as server:
        yield server


def dial(server: Server, tls: ssl.SSLContext | None = None) -> socket.socket:
    """A connection to it."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)
    return tls.wrap_socket(connection, server_hostname="127.0.0.1") if tls else connection


def read_all(connection: socket.socket) -> bytes:
    """Until the server ends the connection; fails where it does not."""
    received = b""
    try:
        while part := connection.recv(1 << 16):
            received += part
    except (ConnectionResetError, ssl.SSLEOFError):
        pass
    return received


def talk(server: Server, data: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    """All that a client gets who sends just this."""
    with dial(server, tls) as connection:
        try:
            connection.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has heard enough
        return read_all(connection)


def statuses(answers: bytes) -> list[int]:
    """The statuses of answers one after the other; bodies are stepped over by their told length."""
    found = []
    while answers:
        head, _, answers = answers.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0].startswith(b"HTTP/1.1 "), lines[0]
        found.append(int(lines[0].split()[1]))
        length = [int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")]
        answers = answers[sum(length) :]
    return found
