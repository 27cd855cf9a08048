"""The built wheel holds the page, the runtime and the licences, and serves them by itself."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

from mobile_demo.content import RUNTIME, TYPES, WEB
from mobile_demo.vendor import MANIFEST, packed_name, read_checksums
from tests.mobile_demo.conftest import write_model
from tests.mobile_demo.test_command import ROOT, running, stop

LEFT_OUT = shutil.ignore_patterns("node_modules", "__pycache__", "*.tfrecord", "*.partial")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """Built from a copy of this checkout, without the data that no test here looks for."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for package in ("keras_pose", "exporters", "mobile_demo"):
        shutil.copytree(ROOT / package, source / package, ignore=LEFT_OUT)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    subprocess.run([*command, f"--wheel-dir={built}", str(source)], check=True, timeout=120)
    (path,) = built.iterdir()
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_page_is_in_it_whole(wheel):
    """Each file that the server would give."""
    files = [path for path in WEB.rglob("*") if path.is_file() and path.suffix in TYPES]
    assert len(files) > 10
    for path in files:
        assert wheel.read(f"mobile_demo/web/{path.relative_to(WEB).as_posix()}") == path.read_bytes()


def test_the_runtime_is_in_it_whole(wheel):
    for name in [*map(packed_name, read_checksums()), MANIFEST, "LICENSE"]:
        assert wheel.read(f"mobile_demo/runtime/{name}") == (RUNTIME / name).read_bytes()
    assert wheel.read("mobile_demo/runtime.sha256") == (ROOT / "mobile_demo" / "runtime.sha256").read_bytes()


def test_the_licences_are_in_it(wheel):
    text = (ROOT / "LICENSE").read_bytes()
    own = [name for name in wheel.namelist() if re.fullmatch(r"keras_pose-.*\.dist-info/(licenses/)?LICENSE", name)]
    assert len(own) == 1 and wheel.read(own[0]) == text
    assert hashlib.sha256(wheel.read("mobile_demo/runtime/LICENSE")).digest() == hashlib.sha256(text).digest()


def test_tools_and_tests_are_not_in_it(wheel):
    roots = {name.split("/")[0] for name in wheel.namelist()}
    assert {root for root in roots if not root.endswith(".dist-info")} == {"keras_pose", "exporters", "mobile_demo"}
    for name in wheel.namelist():
        assert "node_modules" not in name and "package" not in Path(name).name, name


def test_its_extra_names_what_the_demo_needs(wheel):
    (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    needed = re.findall(r'Requires-Dist: (\w+)>=.*extra == "demo"', wheel.read(metadata).decode())
    assert set(needed) == {"cryptography", "segno", "tornado", "trustme"}


def test_it_serves_the_page_by_itself(wheel, tmp_path):
    """Unpacked elsewhere, with nothing of the checkout."""
    wheel.extractall(tmp_path / "installed")
    write_model(tmp_path / "pose.tflite")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed"), "PYTHONIOENCODING": "utf-8"}
    with running(tmp_path, environment, "--http") as (process, printed):
        url = re.search(r"http://localhost:\d+/", printed)[0]
        for name in ("index.html", "runtime/litert_wasm_threaded_internal.wasm"):
            with urllib.request.urlopen(url + name, timeout=10) as response:
                found = hashlib.sha256(response.read()).hexdigest()
            expected = read_checksums() | {"index.html": hashlib.sha256((WEB / "index.html").read_bytes()).hexdigest()}
            assert found == expected[name.removeprefix("runtime/")]
        stop(process, signal.SIGINT)
