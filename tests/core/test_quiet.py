"""No command shows TensorFlow's startup messages before its own output, and every real error is kept."""

import io
import os
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest

from keras_pose.core import quiet
from tests.conftest import ROOT

NOTES = b"""\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795952273.316334   28265 port.cc:153] oneDNN custom operations are on.
I0000 00:00:1795952273.316714   28265 cudart_stub.cc:31] Could not find cuda drivers on your machine
2024-05-01 10:00:00.000000: I tensorflow/core/platform/cpu_feature_guard.cc:182] This TensorFlow binary is optimized
To enable the following instructions: AVX2 FMA, rebuild TensorFlow with the appropriate compiler flags.
E0000 00:00:1795952378.861033   28265 cuda_platform.cc:52] failed call to cuInit: INTERNAL: UNKNOWN ERROR (303)
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
"""
ERROR = b"E0000 00:00:1795952378.861033   28265 loader.cc:1] the weights are damaged\n"


def run(code: str, *path, **environment) -> subprocess.CompletedProcess:
    """Runs Python code in a new process, as a user's shell would: without the tests' own level of logging."""
    kept = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    paths = {"PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT)))}
    return subprocess.run([sys.executable, *code], capture_output=True, env=kept | paths | environment, cwd=ROOT)


def start(tmp_path, ending: str, **environment) -> subprocess.CompletedProcess:
    """Imports a module named tensorflow that writes messages and one error from native code, and then `ending`."""
    lines = f"import os\nos.write(2, {NOTES + ERROR!r})\n{ending}\n"
    (tmp_path / "tensorflow.py").write_text(lines)
    code = "import os, sys, keras_pose, tensorflow; os.write(2, b'imported\\n')"
    return run(["-c", code], tmp_path, **environment)


def filtered(lines: bytes, has_gpu: bool = False) -> bytes:
    output = io.BytesIO()
    quiet.pass_on(io.BytesIO(lines), output, has_gpu)
    return output.getvalue()


def test_notes_are_dropped_and_errors_kept():
    assert filtered(NOTES + ERROR + quiet.ENDED_WELL) == ERROR


def test_every_line_is_printed_after_a_failure_or_a_crash():
    for end in (quiet.FAILED, b""):
        assert sorted(filtered(NOTES + ERROR + end).splitlines()) == sorted((NOTES + ERROR).splitlines())


def test_a_line_without_its_end_is_kept():
    assert filtered(NOTES + b" 40%" + quiet.ENDED_WELL) == b" 40%"


def test_with_a_gpu_the_reasons_against_using_it_are_kept():
    kept = filtered(NOTES + quiet.ENDED_WELL, has_gpu=True)
    assert kept.count(b"\n") == 2 and b"cuInit" in kept and b"Could not find cuda drivers" in kept


def test_an_import_is_quiet(tmp_path):
    done = start(tmp_path, "")
    assert done.stderr == ERROR + b"imported\n"


def test_an_import_that_fails_shows_all(tmp_path):
    done = start(tmp_path, "raise ImportError('libtensorflow is damaged')")
    assert done.returncode == 1 and b"ImportError: libtensorflow is damaged" in done.stderr
    assert all(line in done.stderr for line in NOTES.splitlines() + [ERROR])


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_crash_shows_all(tmp_path):
    done = start(tmp_path, "os.abort()")
    assert done.returncode < 0
    assert all(line in done.stderr for line in NOTES.splitlines() + [ERROR])


def test_a_user_can_see_all(tmp_path):
    assert start(tmp_path, "", TF_CPP_MIN_LOG_LEVEL="0").stderr == NOTES + ERROR + b"imported\n"


def test_within_another_nothing_is_dropped_twice(capfd):
    with quiet.quiet(), quiet.quiet():
        os.write(2, NOTES + b"the end\n")
    assert capfd.readouterr().err == "the end\n"
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_threads_do_not_take_the_descriptor_from_each_other(capfd):
    def work():
        for _ in range(3):
            with quiet.quiet():
                os.write(2, b"INFO: a note\n")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"after\n")
    assert capfd.readouterr().err.endswith("after\n")


def test_commands_start_without_notes(tmp_path):
    """Imports of TensorFlow, its first operation, and the first TFLite model, for real."""
    cv2.imwrite(str(tmp_path / "photo.png"), np.random.default_rng(0).integers(0, 255, (64, 48, 3), np.uint8))
    model = tmp_path / "pose.tflite"
    commands = [
        ["exporters.tflite", "--model=phone", f"--output={model}"],
        ["keras_pose.predict", f"--model={model}", f"--output={tmp_path / 'poses'}", f"{tmp_path / 'photo.png'}"],
    ]
    for command in commands:
        done = run(["-m", *command])
        assert done.returncode == 0, done.stderr.decode()
        lines = done.stderr.replace(b"\r", b"\n").splitlines()
        assert [line for line in lines if line and b"picture" not in line and b"image" not in line] == []
