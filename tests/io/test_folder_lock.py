"""Two writers in one folder: the second is refused as long as the first lives."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest

from keras_pose.core.errors import UserError
from keras_pose.io.folder_lock import LOCK, locked
from tests.conftest import ROOT
from tests.faults.unprivileged import read_only_folder

HOLDER = """
import sys, time
from keras_pose.io.folder_lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds `tmp_path / "run"`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "run")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_writer_is_refused_and_the_first_is_named(tmp_path, holder):
    with pytest.raises(UserError, match=rf"run is being written by process {holder.pid} on .*; wait for it") as caught:
        with locked(tmp_path / "run"):
            pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_files_left_by_a_killed_run_do_not_block(tmp_path, holder, number):
    os.kill(holder.pid, number)
    holder.wait()
    assert (tmp_path / "run" / LOCK).read_text().startswith(f"process {holder.pid} ")
    with locked(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK).read_text().startswith(f"process {os.getpid()} ")


def test_it_is_free_again_afterwards_and_after_an_error(tmp_path):
    with pytest.raises(KeyError):
        with locked(tmp_path):
            with pytest.raises(UserError, match="is being written"), locked(tmp_path):
                pass
            raise KeyError
    with locked(tmp_path):
        pass


def test_other_folders_are_free(tmp_path, holder):
    with locked(tmp_path / "other"):
        pass


def test_a_process_that_the_first_started_does_not_keep_it(tmp_path):
    with locked(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        time.sleep(0.1)
        with locked(tmp_path):
            pass
    finally:
        child.kill()
        child.wait()


def test_a_read_only_folder_gives_a_one_line_error():
    with read_only_folder() as folder:
        for place in (folder, folder / "run"):
            with pytest.raises(UserError, match="cannot write .*: Permission denied; free space or choose another"):
                with locked(place):
                    pass


def test_a_file_instead_of_the_folder_gives_a_one_line_error(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match="cannot write .*; free space or choose another folder"):
            with locked(place):
                pass


def test_without_file_locks_it_warns_and_continues(tmp_path, monkeypatch, capsys):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with locked(tmp_path):
        pass
    assert "do not start a second run there" in capsys.readouterr().err
