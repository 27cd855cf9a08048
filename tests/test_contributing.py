"""For contributors: one version, a changelog, hooks that need no network, and a site that fetches nothing."""

import importlib.util
import json
import re

import pytest

import keras_pose
from tests.conftest import ROOT

SITE = (ROOT / "mkdocs.yml").read_text()
NAV = re.findall(r": ([\w/]+\.md)$", SITE, re.MULTILINE)


def test_the_changelog_has_the_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[([\w.]+)\]", text, re.MULTILINE)
    assert versions[0] == "Unreleased" and versions[1] == keras_pose.__version__
    assert set(re.findall(r"^### (\w+)$", text, re.MULTILINE)) <= {
        "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security",
    }  # fmt: skip


def test_hooks_use_what_is_installed():
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"repo: (\S+)", text) == ["local"]
    assert set(re.findall(r"language: (\S+)", text)) == {"system"}
    lint = (ROOT / "Makefile").read_text()
    for tool in ("ruff check", "ruff format", "mypy"):
        assert f".venv/bin/{tool}" in text and f"$(BIN)/{tool}" in lint


def test_the_site_has_every_document():
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages <= set(NAV), "name each document in the nav of mkdocs.yml"
    assert len(NAV) == len(set(NAV))


def test_links_of_the_site_are_checked():
    (build,) = re.findall(r"\$\(BIN\)/mkdocs build ([^#\n]*)", (ROOT / "Makefile").read_text())
    assert build.split() == ["--strict"], "with --quiet, mkdocs counts no broken link"


def test_the_site_fetches_nothing():
    assert re.search(r"^  font: false", SITE, re.MULTILINE)
    assert "http" not in SITE


@pytest.mark.parametrize("page", [page for page in NAV if page.startswith("reference/")])
def test_the_reference_names_modules(page):
    named = re.findall(r"^::: (\S+)$", (ROOT / "docs" / page).read_text(), re.MULTILINE)
    assert named
    for module in named:
        path = ROOT.joinpath(*module.split("."))
        assert path.with_suffix(".py").is_file() or (path / "__init__.py").is_file(), module


def test_the_notebook_contains_no_machine_path():
    text = (ROOT / "examples" / "quickstart.ipynb").read_text()
    assert not re.search(r"/(home|root|tmp|work|Users)/", text)
    cells = json.loads(text)["cells"]
    assert all(cell["outputs"] or "def " in "".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


@pytest.mark.skipif(importlib.util.find_spec("nbclient") is None, reason="needs nbclient and ipykernel")
def test_the_notebook_runs(tmp_path, monkeypatch):
    """As a user runs it: every cell, in an empty folder."""
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "examples" / "quickstart.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    client.execute()
    (table,) = [
        output["text"]
        for cell in notebook.cells
        if "exporters.tflite" in cell.source
        for output in cell.get("outputs", ())
        if output.get("name") == "stdout"
    ]
    assert " ok" in table
    errors = [o for c in notebook.cells for o in c.get("outputs", ()) if o.get("name") == "stderr"]
    assert not errors, "a cell wrote to stderr"
