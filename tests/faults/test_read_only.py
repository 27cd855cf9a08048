"""Output that cannot be written: a one-line error from every writer, and from the command as a user runs it."""

import subprocess
import sys

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.data import shard_jobs, shards
from keras_pose.io import atomic, folder_lock
from keras_pose.visualization import drawing, figures
from tests.conftest import ROOT, make_example
from tests.faults.unprivileged import read_only_folder

EXAMPLE = make_example(np.random.default_rng(0))
WRITERS = {
    "JSON": lambda folder: atomic.write_json(folder / "a.json", {}),
    "PNG": lambda folder: drawing.save_png(folder / "a.png", np.zeros((8, 8, 3), np.uint8)),
    "curves": lambda folder: figures.plot_curves([{"loss": 1.0}], folder / "curves.png"),
    "shard": lambda folder: shards.write_shard(folder / "a.tfrecord", [EXAMPLE]),
    "job": lambda folder: shard_jobs.start_or_resume(folder, {"source": "toy"}),
    "lock": lambda folder: folder_lock.locked(folder).__enter__(),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("below", ["", "new/folder"])
def test_a_read_only_folder_gives_a_one_line_error(name, below):
    with read_only_folder() as folder:
        with pytest.raises(
            UserError, match="cannot write .*: Permission denied; free space or choose another"
        ) as caught:
            WRITERS[name](folder / below if below else folder)
        assert "\n" not in str(caught.value) and not list(folder.iterdir())


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("below", ["", "new/folder"])
def test_a_file_instead_of_the_folder_gives_a_one_line_error(tmp_path, name, below):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="cannot write|is a file") as caught:
        WRITERS[name](tmp_path / "file" / below if below else tmp_path / "file")
    assert "\n" not in str(caught.value) and (tmp_path / "file").read_text() == "mine"


def test_the_command_reports_it_in_one_line(tmp_path):
    """Below /proc not even root makes a folder."""
    arguments = ["--phases=lifter", "--output=/proc/keras_pose/run"]
    done = subprocess.run(
        [sys.executable, "-m", "keras_pose.train", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "cannot write /proc/keras_pose/run" in line and "choose another folder" in line
