"""Enforces the import rules of docs/architecture.md. A module's folder decides what it may import."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A folder may import itself and those before it. The modules beside the folders are commands and may import all.
LAYERS = ("core", "io", "weights", "visualization", "data", "synthetic", "models", "losses")
LAYERS += ("inference", "prediction", "evaluation", "training", "finding", "flags", "studies")
SYNTHETIC = ("render", "body", "motion", "scene")  # the same within keras_pose/synthetic
WITHOUT_TENSORFLOW = {"core", "io", "weights", "visualization", "synthetic"}
FRAMEWORKS = {"tensorflow", "keras", "jax", "torch"}


def modules(package: str) -> dict[str, Path]:
    result = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        result[name.removesuffix(".__init__")] = path
    return result


KERAS_POSE = modules("keras_pose")
FOLDERS = {path.parent.name for path in (ROOT / "keras_pose").glob("*/__init__.py")}


def imports_of(path: Path, at_start: bool = False) -> set[str]:
    """All modules that a file imports, or only those imported `at_start`, outside functions."""
    tree = ast.parse(path.read_text())
    found = set()
    for node in tree.body if at_start else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import; write out the module's name"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in KERAS_POSE else node.module for name in names}
    return found


def folder_of(module: str) -> str | None:
    """The folder of keras_pose that contains a module; None for a command beside them, and outside keras_pose."""
    package, folder, *_ = [*module.split("."), "", ""]
    return folder if package == "keras_pose" and folder in FOLDERS else None


def top(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def is_run(module: str) -> bool:
    """Whether `python -m` runs a module."""
    return 'if __name__ == "__main__":' in KERAS_POSE[module].read_text()


def test_every_folder_is_a_layer():
    assert FOLDERS == set(LAYERS), "name each folder once in LAYERS and in docs/architecture.md"
    assert {path.parent.name for path in (ROOT / "keras_pose" / "synthetic").glob("*/__init__.py")} == set(SYNTHETIC)
    table = (ROOT / "docs" / "architecture.md").read_text()
    rows = [table.find(f"\n| `{layer}` |") for layer in LAYERS]
    assert -1 not in rows and rows == sorted(rows), "docs/architecture.md lists the folders in the order of LAYERS"


@pytest.mark.parametrize("module", [module for module in KERAS_POSE if folder_of(module)])
def test_imports_go_down(module):
    allowed = LAYERS[: LAYERS.index(folder_of(module)) + 1]
    for imported in imports_of(KERAS_POSE[module]):
        if imported.startswith("keras_pose."):
            assert folder_of(imported) in allowed, f"{module} imports {imported}, which is above it"


@pytest.mark.parametrize("module", [module for module in KERAS_POSE if module.startswith("keras_pose.synthetic.")])
def test_imports_go_down_in_synthetic(module):
    part = module.split(".")[2]
    allowed = SYNTHETIC[: SYNTHETIC.index(part) + 1] if part in SYNTHETIC else None
    for imported in imports_of(KERAS_POSE[module]):
        if allowed and folder_of(imported) == "synthetic":
            assert imported.split(".")[2] in allowed, f"{module} imports {imported}, which is above it"


def test_imports_have_no_cycle():
    graph = {module: imports_of(path) & set(KERAS_POSE) for module, path in KERAS_POSE.items()}
    while graph:  # remove modules whose imports have all been removed
        free = {module for module, imported in graph.items() if not imported & set(graph) - {module}}
        assert free, f"these import each other: {', '.join(sorted(graph))}"
        graph = {module: imported for module, imported in graph.items() if module not in free}


@pytest.mark.parametrize("module", KERAS_POSE)
def test_only_commands_read_flags(module):
    is_command = folder_of(module) in (None, "flags") or is_run(module) or module == "keras_pose.core.command"
    if not is_command:
        assert not imports_of(KERAS_POSE[module]) & {"absl", "absl.flags", "absl.app", "keras_pose.core.command"}


@pytest.mark.parametrize("module", [module for module in KERAS_POSE if folder_of(module) in WITHOUT_TENSORFLOW])
def test_these_folders_do_not_need_tensorflow(module):
    assert not top(imports_of(KERAS_POSE[module])) & FRAMEWORKS


def test_workers_start_without_tensorflow():
    """What the processes that fill shards import: readers of sources, the generator, and all that these import."""
    roots = ("keras_pose.synthetic", "keras_pose.data.sources", "keras_pose.data.prepare")
    seen, todo = set(), [module for module in KERAS_POSE if f"{module}.".startswith(tuple(f"{r}." for r in roots))]
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        imported = imports_of(KERAS_POSE[module], at_start=True)
        assert not top(imported) & FRAMEWORKS, f"{module} imports a framework when it is imported"
        todo += imported & set(KERAS_POSE)
    assert "keras_pose.data.shards" in seen and "keras_pose.io.bvh" in seen


@pytest.mark.parametrize("module", KERAS_POSE)
def test_the_library_knows_neither_exporters_nor_demo(module):
    assert not top(imports_of(KERAS_POSE[module])) & {"exporters", "mobile_demo", "tests"}


@pytest.mark.parametrize(("module", "path"), modules("exporters").items())
def test_exporters_know_no_command(module, path):
    for imported in imports_of(path):
        assert folder_of(imported) or not imported.startswith("keras_pose."), f"{module} imports {imported}"
    assert not top(imports_of(path)) & {"mobile_demo", "tests"}


@pytest.mark.parametrize(("module", "path"), modules("mobile_demo").items())
def test_the_demo_knows_only_the_exported_file(module, path):
    imported = imports_of(path)
    assert not top(imported) & (FRAMEWORKS | {"exporters", "tests"})
    assert {folder_of(name) for name in imported if name.startswith("keras_pose.")} <= {"core", "io", "weights"}
