"""A command's --help lists its flags, wherever they are defined, and no flags of libraries."""

import subprocess
import sys

import pytest

from keras_pose.core.errors import UserError
from keras_pose.flags import resolve
from tests.conftest import ROOT

FLAGS = {
    "keras_pose.train": ("--phases", "--dataset", "--alpha"),
    "keras_pose.synthetic": ("--count", "--difficulty"),
    "exporters.tflite": ("--model", "--quantize"),
}


@pytest.mark.parametrize("module", FLAGS)
def test_help_lists_the_flags(module):
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, cwd=ROOT)
    for flag in FLAGS[module]:
        assert f"  {flag}:" in done.stdout, flag
    assert "tensorflow.python" not in done.stdout


@pytest.mark.parametrize("content", [b"--seed=1\n\xff\xfe\x00\x80", b"--flagfile=a\x00b\n"])
def test_a_flag_file_that_is_none_is_one_line(tmp_path, content):
    (tmp_path / "a.flags").write_bytes(content)
    argument = f"--flagfile={tmp_path / 'a.flags'}"
    done = subprocess.run(
        [sys.executable, "-m", "keras_pose.synthetic", argument], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: ") and "a.flags is not a readable text file" in done.stderr
    with pytest.raises(UserError, match="a.flags is not a readable text file"):
        resolve([argument])
