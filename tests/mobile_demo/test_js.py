"""The page's own checks and tests: types, lint and the parts that need no browser, run by npm."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "mobile_demo"
LEAST_TESTS = 25


def test_types_lint_and_node_tests():
    if not (shutil.which("npm") and (DEMO / "node_modules").is_dir()):
        message = f"no npm, or no {DEMO / 'node_modules'}; run: npm --prefix mobile_demo ci"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    run("run", "check")
    passed = re.search(r"^\D*pass (\d+)$", run("test"), re.MULTILINE)
    assert int(passed[1]) >= LEAST_TESTS  # else node found no files to run


def run(*arguments: str) -> str:
    """The output of npm; a failure shows it."""
    done = subprocess.run(["npm", "--prefix", str(DEMO), *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
