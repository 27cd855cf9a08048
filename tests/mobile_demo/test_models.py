"""Which model is served, and that a model is never mixed with the metadata of another."""

import io
import json
import os
import threading
import zipfile

import pytest

from keras_pose.core.errors import UserError
from keras_pose.io.model_info import sidecar_path
from keras_pose.weights import FINDER, SHIPPED_WEIGHTS, finder_for
from mobile_demo.models import INSIDE, NO_FINDER, FinderFile, ModelFile, find_model, metadata_inside
from tests.mobile_demo.conftest import METADATA, write_model


@pytest.fixture
def shipped(tmp_path):
    return write_model(tmp_path / "package" / "shipped.tflite")


def aged(path, seconds: float):
    os.utime(path, (1e9 - seconds, 1e9 - seconds))
    return path


def test_order(tmp_path, shipped):
    """Named, else the newest export here or in a run, else what ships."""
    here = tmp_path / "here"
    here.mkdir()
    assert find_model(None, here, shipped) == (shipped, "the included weights")
    in_run = aged(write_model(here / "runs" / "a" / "deep" / "pose.tflite"), 100)
    assert find_model(None, here, shipped) == (in_run, "the newest export here")
    newer = aged(write_model(here / "pose.tflite"), 50)
    assert find_model(None, here, shipped)[0] == newer
    assert find_model(aged(in_run, 10), here, shipped) == (in_run, "chosen by --model")
    assert find_model(None, here, shipped)[0] == in_run


def test_files_that_are_no_exports_of_pictures_are_passed_over(tmp_path, shipped):
    here = tmp_path / "here"
    write_model(here / "lifter.tflite", inputs={"keypoints_2d": {}})
    write_model(here / "list.tflite", inputs=["image"])
    write_model(here / "heatmaps.tflite", outputs={"heatmaps": {}})
    write_model(here / "pose.partial.tflite")  # of an export whose parity is still to be proven
    write_model(here / "runs" / "broken.tflite")
    sidecar_path(here / "runs" / "broken.tflite").write_text("{")
    (here / "bare.tflite").write_bytes(b"model")
    assert find_model(None, here, shipped)[0] == shipped


@pytest.mark.parametrize("fault", ["encrypted", "method", "bytes", "bomb"])
def test_metadata_that_cannot_be_unpacked_count_as_none(fault):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(INSIDE, b" " * (1 << 27) if fault == "bomb" else json.dumps({"a": list(range(99))}))
    content = bytearray(stream.getvalue())
    entry = content.index(b"PK\x01\x02")  # the archive's directory
    if fault == "encrypted":
        content[6] |= 1
        content[entry + 8] |= 1
    elif fault == "method":
        content[8] = content[entry + 10] = 77
    elif fault == "bytes":
        content[40 + len(INSIDE)] ^= 255
    assert metadata_inside(bytes(content)) is None


@pytest.mark.parametrize("named", ["none.tflite", "model.keras", ".", ""])
def test_a_named_file_must_be_there(tmp_path, shipped, named):
    (tmp_path / "model.keras").write_bytes(b"model")
    with pytest.raises(UserError, match=r"--model=.*export one: python -m exporters.tflite"):
        find_model(tmp_path / named, tmp_path, shipped)


def test_without_any_the_error_says_how_to_fix_it(tmp_path):
    with pytest.raises(UserError, match="export one: python -m exporters.tflite"):
        find_model(None, tmp_path, tmp_path / "none.tflite")


@pytest.mark.parametrize(
    ("content", "metadata", "message"),
    [
        (b"", json.dumps(METADATA), "is empty"),
        (b"model", "{", "is not JSON"),
        (b"model", "\udcff", "is not JSON"),
        (b"model", "[]", "does not find joints in images"),
        (b"model", "null", "does not find joints in images"),
        (b"model", '{"inputs": {"keypoints_2d": {}}}', "does not find joints in images"),
        (b"model", '{"inputs": {"image": {}}, "outputs": {"heatmaps": {}}}', "does not find joints in images"),
        (b"model", None, r"cannot read .*pose.tflite.json: No such file.*in the same folder"),
    ],
)
def test_unsound_files_are_refused(tmp_path, content, metadata, message):
    path = tmp_path / "pose.tflite"
    path.write_bytes(content)
    if metadata is not None:
        sidecar_path(path).write_bytes(metadata.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=message):
        ModelFile(path)


def with_inside(path, metadata: dict) -> None:
    """A model that carries its metadata as exports do, at its end."""
    path.write_bytes(b"model")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(INSIDE, json.dumps(metadata))


def test_metadata_of_another_model_is_refused(tmp_path):
    path = write_model(tmp_path / "pose.tflite")
    with_inside(path, METADATA)
    ModelFile(path)
    with_inside(path, METADATA | {"input_size": [9, 9]})
    with pytest.raises(UserError, match="belongs to another model"):
        ModelFile(path)


def test_a_swap_is_seen_and_a_broken_one_waits(tmp_path):
    path = write_model(tmp_path / "pose.tflite", b"old")
    served = ModelFile(path)
    old = served.current()
    assert served.current() is old
    path.write_bytes(b"")
    assert served.current() is old
    path.unlink()
    assert served.current() is old
    write_model(path, b"new")
    new = served.current()
    assert new.model == b"new" and new.tag != old.tag
    sidecar_path(path).write_text("{")
    assert served.current() is new
    write_model(path, b"new", joint_names=["a"])
    assert served.current().model == b"new" and served.current().tag != new.tag


def test_a_broken_model_is_read_once(tmp_path, monkeypatch):
    """A page asks again and again; 30 MB must not be read and hashed each time."""
    path = write_model(tmp_path / "pose.tflite")
    served = ModelFile(path)
    sidecar_path(path).write_text("{")
    reads = []
    read = ModelFile._read
    monkeypatch.setattr(ModelFile, "_read", lambda self: reads.append(1) or read(self))
    for _ in range(5):
        served.current()
    assert len(reads) == 1


def test_halves_are_never_mixed(tmp_path):
    """A writer swaps both files for others again and again, one after the other; no reader sees one of each."""
    path = write_model(tmp_path / "pose.tflite")
    done = threading.Event()

    def write() -> None:
        for i in range(300):
            metadata = METADATA | {"run": i}
            with_inside(tmp_path / "next.tflite", metadata)
            (tmp_path / "next.json").write_text(json.dumps(metadata))
            os.replace(tmp_path / "next.tflite", path)
            os.replace(tmp_path / "next.json", sidecar_path(path))
        done.set()

    served, seen = ModelFile(path), set()
    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        pair = served.current()
        run = json.loads(pair.metadata).get("run")
        assert run is None or f'"run": {run}}}'.encode() in pair.model
        seen.add(run)
    writer.join()
    assert json.loads(served.current().metadata)["run"] == 299 and len(seen) > 1


# --- the finder ------------------------------------------------------------------------------------------------


def test_a_finder_is_the_one_that_keras_pose_takes(tmp_path):
    model = write_model(tmp_path / "pose.tflite")
    assert FinderFile(model).path == tmp_path / "finder.tflite" == finder_for(model)
    assert finder_for(write_model(tmp_path / "pose.onnx")) == tmp_path / "finder.onnx"
    assert finder_for(tmp_path) == finder_for(SHIPPED_WEIGHTS["phone"]) == FINDER
    shipped = SHIPPED_WEIGHTS["phone"] / "pose_int8.tflite"
    assert FinderFile(shipped).path == FINDER / "finder_int8.tflite"


def test_a_finder_comes_changes_and_goes(tmp_path):
    model = write_model(tmp_path / "pose.tflite")
    served = FinderFile(model)
    assert served.current() is NO_FINDER
    finder = write_model(tmp_path / "finder.tflite", b"finder", part="finder")
    first = served.current()
    assert first.model == b"finder" and json.loads(first.metadata)["part"] == "finder"
    sidecar_path(finder).write_text("{")  # for the page to tell
    assert served.current().metadata == b"{" and served.current().tag != first.tag
    sidecar_path(finder).unlink()
    assert served.current().metadata == b"{}"
    with_inside(finder, {"part": "finder"})
    assert json.loads(served.current().metadata) == {"part": "finder"}
    finder.unlink()
    assert served.current() is NO_FINDER


def test_a_finder_is_not_taken_for_the_model(tmp_path, shipped):
    write_model(tmp_path / "finder.tflite", outputs={"boxes": {}, "centers": {}})
    assert find_model(None, tmp_path, shipped)[0] == shipped
