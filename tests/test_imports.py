"""Holds the import rules of docs/architecture.md."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# The first prefix that fits a module gives its layer; a module imports from its own layer's folder or from below.
LAYERS = [
    (0, "keras_pose.errors", "keras_pose.command", "keras_pose.skeleton", "keras_pose.geometry", "keras_pose.example"),
    (0, "keras_pose.visualize", "keras_pose.smoothing", "keras_pose.figures", "keras_pose.video"),
    (0, "keras_pose.torch_file", "keras_pose.bvh", "keras_pose.weights", "keras_pose.images"),
    (0, "keras_pose.study"),
    (0, "keras_pose.folder_lock", "keras_pose.archives"),
    (9, "keras_pose.synthetic.__main__", "keras_pose.synthetic.clip", "keras_pose.data.prepare"),
    (9, "keras_pose.data.inspect"),
    (9, "keras_pose.data.service", "keras_pose.data.resize", "keras_pose.scale"),
    (9, "keras_pose.models.pretrained", "keras_pose.ship"),
    (1, "keras_pose.data", "keras_pose.synthetic", "keras_pose.models"),
    (2, "keras_pose.losses", "keras_pose.metrics"),
    (3, "keras_pose.training"),
    (4, "keras_pose.runtimes"),
    (5, "keras_pose.evaluation", "keras_pose.predictor"),
    (9, "keras_pose.flags", "keras_pose.train", "keras_pose.evaluate", "keras_pose.predict", "keras_pose.benchmark"),
    (9, "keras_pose.benchmark.__main__", "keras_pose.ablation", "keras_pose.lifter_study"),
    (9, "keras_pose.flag_definitions"),
]
COMMANDS = {m for row in LAYERS if row[0] == 9 for m in row[1:]} | {"keras_pose.command", "keras_pose"}
WITHOUT_TENSORFLOW = ["keras_pose.synthetic", "keras_pose.data.shards", "keras_pose.data.records"]
WITHOUT_TENSORFLOW += ["keras_pose.data.shard_jobs", "keras_pose.data.sources", "keras_pose.data.prepare"]


def layer_of(module: str) -> int | None:
    for layer, *prefixes in LAYERS:
        if any(module == p or module.startswith(p + ".") for p in prefixes):
            return layer
    return None


def imports_of(path: Path) -> set[str]:
    """All modules a file imports, wherever in the file, `from a import b` as both a and a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules(package: str) -> dict[str, Path]:
    result = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        result[name.removesuffix(".__init__")] = path
    return result


KERAS_POSE = modules("keras_pose")


@pytest.mark.parametrize("module", [m for m in KERAS_POSE if m != "keras_pose"])
def test_imports_go_down(module):
    own = layer_of(module)
    assert own is not None, f"{module} is in no layer; add it to LAYERS and to docs/architecture.md"
    parts = module.split(".") if KERAS_POSE[module].name == "__init__.py" else module.split(".")[:-1]
    folder = ".".join(parts[:2])
    for imported in imports_of(KERAS_POSE[module]):
        layer = layer_of(imported)
        in_own_folder = folder != "keras_pose" and f"{imported}.".startswith(f"{folder}.")
        if layer is None or in_own_folder:
            continue
        allowed = layer < own or layer == 0 or own == 9
        shares_records = module.startswith("keras_pose.synthetic") and imported.startswith("keras_pose.data.shard")
        assert allowed or shares_records, f"{module} imports {imported} from its own layer or above"


@pytest.mark.parametrize("module", KERAS_POSE)
def test_only_commands_read_flags(module):
    if module not in COMMANDS:
        assert not {i for i in imports_of(KERAS_POSE[module]) if i.startswith("absl")}


@pytest.mark.parametrize("module", KERAS_POSE)
def test_workers_start_without_tensorflow(module):
    if layer_of(module) == 0 or any(module == p or module.startswith(p + ".") for p in WITHOUT_TENSORFLOW):
        assert not {i for i in imports_of(KERAS_POSE[module]) if i.split(".")[0] in ("tensorflow", "keras", "jax")}


@pytest.mark.parametrize("module", KERAS_POSE)
def test_the_library_knows_neither_exporters_nor_demo(module):
    assert not {i for i in imports_of(KERAS_POSE[module]) if i.split(".")[0] in ("exporters", "mobile_demo")}


@pytest.mark.parametrize(("module", "path"), modules("mobile_demo").items())
def test_the_demo_knows_the_exported_file_alone(module, path):
    imported = imports_of(path)
    assert not {i for i in imported if i.split(".")[0] in ("exporters", "tests", "tensorflow", "keras", "jax")}
    assert not {i for i in imported if i.startswith("keras_pose.") and layer_of(i) != 0}
