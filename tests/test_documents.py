"""README.md and docs/: links resolve, the named tests exist, and the scripts do what they say."""

import os
import re
import subprocess

import pytest

from keras_pose.training.cluster import read_cluster
from tests.conftest import ROOT

DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / ".github").rglob("*.md"), *(ROOT / "docs").rglob("*.md")]


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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_blocks_of_code_are_whole(document):
    """Their fences stand alone on a line, in pairs of one indentation: a wrapped fence turns commands into prose."""
    fences = re.findall(r"^( *)```(.*)$", document.read_text(), re.MULTILINE)
    assert len(fences) % 2 == 0
    for (start, language), (end, nothing) in zip(fences[::2], fences[1::2], strict=True):
        assert start == end and re.fullmatch(r"\w*", language) and not nothing, (start, language, end, nothing)


def anchors(document):
    """The anchors that GitHub gives a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_images_are_there(document):
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    for link in links:
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (document.parent / file).resolve() if file else document
        assert target.exists() and target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link
    assert links or document.relative_to(ROOT).name != "README.md"
