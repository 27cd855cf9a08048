"""The runtime is taken from npm's packages unchanged, whole or not at all, and the server refuses another one."""

import gzip
import hashlib
import json

import pytest

from keras_pose.core.errors import UserError
from mobile_demo.content import PACKAGE, RUNTIME, read_runtime
from mobile_demo.vendor import (
    BARE_IMPORT,
    LIBRARY,
    MANIFEST,
    SOURCES,
    make_relative,
    packed_name,
    read_checksums,
    vendor,
)

LIBRARY_TEXT = f"// library\nimport * as utilities from {BARE_IMPORT};\n".encode()


@pytest.fixture
def modules(tmp_path):
    """What `npm ci` leaves, with other contents."""
    folder = tmp_path / "node_modules"
    for name, source in SOURCES.items():
        path = folder / "@litertjs" / source
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(LIBRARY_TEXT if name == LIBRARY else name.encode() * 50)
    return folder


@pytest.fixture
def checksums():
    """Of what `modules` holds."""
    contents = {name: name.encode() * 50 for name in SOURCES} | {LIBRARY: make_relative(LIBRARY_TEXT)}
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


@pytest.fixture
def licence(tmp_path):
    path = tmp_path / "LICENSE"
    path.write_text("the terms")
    return path


def test_what_is_taken(modules, checksums, licence, tmp_path):
    """Every file as it was, but for the one import; the licence beside; nothing else."""
    output = tmp_path / "runtime"
    vendor(modules, output, checksums, licence)
    taken = {name: gzip.decompress((output / packed_name(name)).read_bytes()) for name in SOURCES}
    assert {name: hashlib.sha256(content).hexdigest() for name, content in taken.items()} == checksums
    assert json.loads((output / MANIFEST).read_text()) == checksums
    assert (output / "LICENSE").read_text() == "the terms"
    assert len(list(output.iterdir())) == len(SOURCES) + 2
    assert b'from "./wasm_utils.js"' in taken[LIBRARY] and BARE_IMPORT.encode() not in taken[LIBRARY]
    assert taken[LIBRARY].startswith(b"// Changed for keras_pose"), "Apache-2.0 asks to say so"


@pytest.mark.parametrize("name", list(SOURCES))
def test_a_file_that_is_not_the_tested_one_is_refused(modules, checksums, licence, tmp_path, name):
    path = modules / "@litertjs" / SOURCES[name]
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(UserError, match=f"{SOURCES[name]} is not the tested version.*{name}"):
        vendor(modules, tmp_path / "runtime", checksums, licence)
    assert not (tmp_path / "runtime").exists()


def test_an_unknown_file_is_refused(modules, checksums, licence, tmp_path):
    del checksums[LIBRARY]
    with pytest.raises(UserError, match="is not the tested version"):
        vendor(modules, tmp_path / "runtime", checksums, licence)


def test_a_missing_file_says_how_to_fix_it(modules, checksums, licence, tmp_path):
    (modules / "@litertjs" / SOURCES[LIBRARY]).unlink()
    with pytest.raises(UserError, match="run: npm .* ci"):
        vendor(modules, tmp_path / "runtime", checksums, licence)


def test_what_was_cut_short_does_not_pass_for_whole(modules, checksums, licence, tmp_path):
    """The manifest comes last, and an old one goes first."""
    output = tmp_path / "runtime"
    vendor(modules, output, checksums, licence)
    with pytest.raises(OSError):
        vendor(modules, output, checksums, tmp_path / "no licence")
    assert not (output / MANIFEST).exists()


@pytest.mark.parametrize("text", ["", f"{BARE_IMPORT} {BARE_IMPORT}"])
def test_a_library_that_imports_otherwise_is_refused(text):
    with pytest.raises(UserError, match="not once; update mobile_demo.vendor"):
        make_relative(text.encode())


def test_the_server_serves_the_vendored_runtime():
    """What stands in this checkout: made by `make runtime`, and exactly what `runtime.sha256` lists."""
    served = read_runtime(RUNTIME)
    assert {path.removeprefix("/runtime/") for path in served} == set(SOURCES) == set(read_checksums())
    for path, found in served.items():
        assert hashlib.sha256(found.plain).hexdigest() == read_checksums()[path.removeprefix("/runtime/")] == found.tag
    assert (RUNTIME / "LICENSE").read_bytes() == (PACKAGE.parent / "LICENSE").read_bytes()


@pytest.mark.parametrize("harm", ["none", "other version", "a file less", "no JSON"])
def test_the_server_refuses_a_runtime_that_is_not_whole(folders, tmp_path, harm):
    runtime = tmp_path / "runtime"
    if harm != "none":
        runtime.mkdir()
        for path in folders["runtime"].iterdir():
            (runtime / path.name).write_bytes(path.read_bytes())
        read_runtime(runtime)
        changed = dict(read_checksums(), **{LIBRARY: "0" * 64})
        (runtime / MANIFEST).write_text(json.dumps(changed)) if harm == "other version" else None
        (runtime / MANIFEST).write_text("{") if harm == "no JSON" else None
        (runtime / packed_name(LIBRARY)).unlink() if harm == "a file less" else None
    with pytest.raises(UserError, match="run: npm .* ci && python -m mobile_demo.vendor"):
        read_runtime(runtime)
