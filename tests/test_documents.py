"""docs/scale.md and docs/reliability.md: the tests that they name exist, and the scripts do what they say."""

import os
import re
import subprocess

import pytest

from keras_pose.training.cluster import read_cluster
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("what", "environment", "hosts"),
    [
        ("scontrol", {"SLURM_JOB_NODELIST": "gpu[1-4]", "SLURM_NODEID": "2"}, [f"gpu{i}" for i in range(1, 5)]),
        ("seq", {"JOB_COMPLETION_INDEX": "2"}, [f"pose-{i}.pose" for i in range(4)]),
    ],
)
def test_the_scripts_name_all_workers(tmp_path, monkeypatch, what, environment, hosts):
    scontrol = tmp_path / "scontrol"  # SLURM's own is not here
    scontrol.write_text("#!/bin/sh\nprintf 'gpu%s\\n' 1 2 3 4\n")
    scontrol.chmod(0o755)
    text = (ROOT / "docs" / "scale.md").read_text()
    (lines,) = re.findall(rf"^ *hosts=\$\({what} .*\n *export TF_CONFIG=.*$", text, re.MULTILINE)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    run = subprocess.run(
        ["bash", "-c", f"{lines}\nprintf %s \"$TF_CONFIG\""],
        env=os.environ | path | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    monkeypatch.setenv("TF_CONFIG", run.stdout)
    cluster = read_cluster("multi_worker")
    assert cluster.task == ("worker", 2) and not cluster.is_chief
    assert list(cluster.addresses.values()) == [f"{host}:2222" for host in hosts]


@pytest.mark.parametrize("document", ["scale.md", "reliability.md"])
def test_the_tests_that_it_names_exist(document):
    named = re.findall(r"`([\w/]*test_\w+\.py)(?:::(\w+))?`", (ROOT / "docs" / document).read_text())
    assert len(named) > 5
    for file, test in named:
        assert f"def {test}" in (ROOT / "tests" / file).read_text(), (file, test)
