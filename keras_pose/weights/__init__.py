"""The weights that come with the package: each name's folder holds model.keras, model.json and a model card."""

from pathlib import Path

FINDER = Path(__file__).parent / "finder"  # the shipped finder, which belongs to every pose model
SHIPPED_WEIGHTS = {
    path.parent.name: path.parent
    for path in sorted(Path(__file__).parent.glob("*/model.json"))
    if path.parent != FINDER
}
DEFAULT_WEIGHTS = "phone"  # what is exported and shown where nobody named a model and no run is there
EXPORTED = (".tflite", ".onnx")


def finder_for(model: Path) -> Path:
    """Where the finder of a model is, if it has one.

    `finder.tflite` or `finder.onnx` beside an exported file, else the shipped one: a folder, or for a shipped file that
    was exported a file of the same form.
    """
    if model.suffix not in EXPORTED or not model.is_file():
        return FINDER
    if model.parent.resolve() in (path.resolve() for path in SHIPPED_WEIGHTS.values()):
        return FINDER / f"finder_int8{model.suffix}"
    return model.with_name(f"finder{model.suffix}")
