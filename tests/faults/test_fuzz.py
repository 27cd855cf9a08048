"""Ten thousand damaged files over all readers: the promise of docs/reliability.md."""

import json
import subprocess
import sys

from tests.conftest import ROOT

INPUTS = 10_000


def test_no_damaged_file_crashes_or_hangs_a_reader(tmp_path):
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "tests.faults.fuzz", f"--inputs={INPUTS}", f"--json={figures}"]
    done = subprocess.run(command + [f"--keep={tmp_path / 'inputs'}"], cwd=ROOT, capture_output=True, timeout=1800)
    failed = [line for line in done.stdout.decode(errors="replace").splitlines() if line.startswith("FAILED")]
    assert done.returncode == 0, "\n".join(failed) or done.stderr[-4000:].decode(errors="replace")
    assert sum(reader["inputs"] for reader in json.loads(figures.read_text()).values()) >= INPUTS
