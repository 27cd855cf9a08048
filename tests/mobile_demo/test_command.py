"""`python -m mobile_demo` from start to end, in a process of its own as a user runs it."""

import contextlib
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from keras_pose.core.errors import UserError
from mobile_demo import __main__ as demo
from mobile_demo.certificates import AUTHORITY
from tests.mobile_demo.conftest import write_model

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "mobile_demo"]
LAST_LINE = "Press Ctrl-C to stop.\n"
PATIENCE_S = 30


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """Of a user whose keys lie in a folder of this test's, and who runs the demo from another one than the checkout."""
    own = {"XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    return os.environ | own


@contextlib.contextmanager
def running(folder: Path, environment: dict, *flags: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """The command once it serves, and what it printed until then."""
    process = subprocess.Popen(
        [*COMMAND, "--port=0", *flags], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        printed, end = b"", time.monotonic() + PATIENCE_S
        while not printed.decode().endswith(LAST_LINE):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))
            part = os.read(process.stdout.fileno(), 1 << 16) if ready else b""
            assert part, f"{printed.decode()}{process.stderr.read().decode() if ready else 'it prints no more'}"
            printed += part
        yield process, printed.decode()
    finally:
        process.kill()
        process.communicate()


def stop(process: subprocess.Popen, number: signal.Signals) -> None:
    """Ends it as a user does; fails where it is not clean or soon."""
    process.send_signal(number)
    output, errors = process.communicate(timeout=5)
    assert (process.returncode, output, errors) == (0, b"stopped\n", b"")


def read_qr(text: str) -> str:
    """What a phone's camera reads off a terminal that shows half blocks in light on dark."""
    rows = [line for line in text.splitlines() if line and not line.strip("█▀▄ ")]
    upper = [[c in "█▀" for c in row] for row in rows]
    lower = [[c in "█▄" for c in row] for row in rows]
    modules = np.stack([np.array(upper), np.array(lower)], axis=1).reshape(-1, len(rows[0]))  # (2 * rows, columns)
    for scale in (8, 5, 11):  # OpenCV's detector misses a code now and then, as a phone does at some distances
        picture = np.pad(modules, 4).repeat(scale, 0).repeat(scale, 1).astype(np.uint8) * 255
        if found := cv2.QRCodeDetector().detectAndDecode(picture)[0]:
            return found
    return ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_https(tmp_path, environment, number):
    """Everything that it prints is so, and it ends though a connection is open."""
    write_model(tmp_path / "runs" / "a" / "pose.tflite", b"the model", quantization="int8", joint_names=["a", "b"])
    with running(tmp_path, environment, "--address=demo.example") as (process, printed):
        assert "runs/a/pose.tflite (the newest export here): 2 joints, 3D, 8 x 6 pixels, int8\n" in printed
        urls = re.findall(r"^(?:open| {4})     (https://\S+:(\d+)/)$", printed, re.MULTILINE)
        assert urls[0][0].startswith("https://demo.example:") and len({port for _, port in urls}) == 1
        port = urls[0][1]
        assert read_qr(printed) == urls[0][0]
        assert "Accept the warning" in printed and f"adb reverse tcp:{port} tcp:{port}" in printed
        assert f"Open {urls[0][0]}ca.pem" in printed

        keys = tmp_path / "state" / "keras_pose"
        trusting = ssl.create_default_context(cafile=keys / AUTHORITY)
        for url in [f"https://127.0.0.1:{port}/", *(url for url, _ in urls[1:])]:  # the example's leads nowhere
            with urllib.request.urlopen(f"{url}model/pose.tflite", context=trusting, timeout=5) as response:
                assert response.read() == b"the model"
        with socket.create_connection(("127.0.0.1", int(port))) as connection:
            connection.sendall(b"\x16")
            stop(process, number)


def test_http_is_for_this_machine(tmp_path, environment):
    """Neither a certificate nor a key is made, and no other machine gets in."""
    model = write_model(tmp_path / "named.tflite", outputs={"keypoints_2d": {}, "scores": {}})
    with running(tmp_path, environment, "--http", f"--model={model}") as (process, printed):
        assert f"{model} (chosen by --model): 0 joints, 2D only, 8 x 6 pixels" in printed
        url = re.search(r"^open     (http://localhost:(\d+)/)$", printed, re.MULTILINE)
        assert read_qr(printed) == url[1] and f"adb reverse tcp:{url[2]} tcp:{url[2]}" in printed
        with urllib.request.urlopen(url[1], timeout=5) as response:
            assert b"<html" in response.read()
        assert not (tmp_path / "state").exists()
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.2", int(url[2])), timeout=5)
        stop(process, signal.SIGINT)


def test_help(environment, tmp_path):
    found = subprocess.run(
        [*COMMAND, "--help"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30
    )
    for text in ("--model", "--port", "--[no]http", "--host", "--address", "Images never leave the phone"):
        assert text in found.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model=none.tflite"], "--model=none.tflite is not a .tflite file; export one: python -m exporters.tflite"),
        (["--model=broken.tflite"], "broken.tflite.json is not JSON; export the model again"),
        (["--host=192.0.2.1"], "cannot serve on 192.0.2.1 port .*; choose another with --port or --host"),
        (["--host=no.such.host.invalid", "--http"], "cannot serve on no.such.host.invalid port"),
        (["--address=https://desk"], "'https://desk' is not an address"),
        (["pose.tflite"], "unexpected argument 'pose.tflite'; to choose a model, use --model=pose.tflite"),
    ],
)
def test_a_mistake_is_told_in_one_line(tmp_path, environment, flags, message):
    write_model(tmp_path / "broken.tflite")
    (tmp_path / "broken.tflite.json").write_text("{")
    write_model(tmp_path / "pose.tflite")
    failed = subprocess.run(
        [*COMMAND, "--port=0", *flags],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert failed.returncode == 2 and failed.stdout == ""
    assert re.fullmatch(rf"error: .*{message}.*\n", failed.stderr), failed.stderr


def test_without_tornado_the_error_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "mobile_demo.server", raising=False)
    monkeypatch.setitem(sys.modules, "tornado.httpserver", None)
    with pytest.raises(UserError, match=r"pip install 'keras_pose\[demo\]'"):
        demo.main([])


def test_a_port_in_use(tmp_path, environment):
    write_model(tmp_path / "pose.tflite")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        failed = subprocess.run(
            [*COMMAND, "--http", f"--port={port}"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert failed.returncode == 2
    assert failed.stderr == (
        f"error: cannot serve on 127.0.0.1 port {port}: Address already in use; choose another with --port or --host\n"
    )


@pytest.mark.parametrize(
    ("http", "host", "named", "urls"),
    [
        (False, "0.0.0.0", [], ["https://192.168.1.5:1/", "https://10.0.0.7:1/"]),
        (False, "0.0.0.0", ["10.0.0.7", "a.b"], ["https://10.0.0.7:1/", "https://a.b:1/", "https://192.168.1.5:1/"]),
        (False, "10.0.0.7", [], ["https://10.0.0.7:1/"]),
        (True, "127.0.0.1", [], ["http://localhost:1/"]),
        (True, "0.0.0.0", [], ["http://192.168.1.5:1/", "http://10.0.0.7:1/"]),
    ],
)
def test_which_addresses_are_shown(monkeypatch, http, host, named, urls):
    monkeypatch.setattr(demo, "lan_addresses", lambda: ["192.168.1.5", "10.0.0.7"])
    assert demo.page_urls(http, host, 1, named) == urls


def test_without_a_network_this_machine_is_shown(monkeypatch):
    monkeypatch.setattr(demo, "lan_addresses", list)
    assert demo.page_urls(False, "0.0.0.0", 1, []) == ["https://localhost:1/"]


def test_no_code_leads_a_phone_to_itself(tmp_path, environment):
    """But over http, which is for a cable, localhost is this computer."""
    model = write_model(tmp_path / "pose.tflite")
    with running(tmp_path, environment, "--host=127.0.0.1", f"--model={model}") as (_, printed):
        assert "open     https://localhost:" in printed and "No QR code: this computer has no" in printed
        assert "█" not in printed
    assert read_qr(demo.code_or_why("http://localhost:8443/")) == "http://localhost:8443/"
    assert read_qr(demo.code_or_why("https://10.0.0.7:8443/")) == "https://10.0.0.7:8443/"


def test_plain_http_to_the_network_is_warned_of():
    assert "neither camera nor threads" in demo.how_to_connect(True, "0.0.0.0", "http://10.0.0.7:1/", 1)
    for http, host in ((True, "127.0.0.1"), (False, "0.0.0.0")):
        assert "neither camera nor threads" not in demo.how_to_connect(http, host, "http://localhost:1/", 1)


def test_a_qr_code_on_a_terminal_brings_its_own_colours():
    """So that it is read on light terminals too."""
    lines = demo.qr_code("https://192.168.1.5:8443/", on_terminal=True).splitlines()
    assert all(line.startswith(demo.WHITE_ON_BLACK) and line.endswith(demo.PLAIN) for line in lines)
    bare = "\n".join(line.removeprefix(demo.WHITE_ON_BLACK).removesuffix(demo.PLAIN) for line in lines)
    assert read_qr(bare) == "https://192.168.1.5:8443/" and max(map(len, bare.splitlines())) < 40


def test_where_no_qr_code_can_be_shown_a_line_says_why(monkeypatch):
    assert "PYTHONIOENCODING" in demo.qr_code("https://a/", "ascii")
    monkeypatch.setitem(sys.modules, "segno", None)
    assert "pip install" in demo.qr_code("https://a/")
