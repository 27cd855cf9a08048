"""A command's --help tells its flags, wherever they are defined, and no library's."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

FLAGS = {
    "keras_pose.train": ("--phases", "--dataset", "--alpha"),
    "keras_pose.synthetic": ("--count", "--difficulty"),
    "exporters.tflite": ("--model", "--quantize"),
}


@pytest.mark.parametrize("module", FLAGS)
def test_help_tells_the_flags(module):
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, cwd=ROOT)
    for flag in FLAGS[module]:
        assert f"  {flag}:" in done.stdout, flag
    assert "tensorflow.python" not in done.stdout
