"""Twenty trainings killed by SIGKILL and resumed: the promise of docs/reliability.md."""

import json
import subprocess
import sys

from tests.conftest import ROOT

TIMES = 20


def test_a_run_killed_twenty_times_ends_like_an_undisturbed_one(tmp_path):
    command = [sys.executable, "-m", "tests.training.kill", f"--times={TIMES}", f"--json={tmp_path / 'figures.json'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["kills"] == TIMES and figures["runs"] >= 2
    assert figures["places"] >= TIMES // 4  # not all at the same point
