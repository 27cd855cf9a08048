"""The weights that come with the package: each name's folder holds model.keras, model.json and a model card."""

from pathlib import Path

FINDER = Path(__file__).parent / "finder"  # the shipped finder, which belongs to every pose model
SHIPPED_WEIGHTS = {
    path.parent.name: path.parent
    for path in sorted(Path(__file__).parent.glob("*/model.json"))
    if path.parent != FINDER
}
DEFAULT_WEIGHTS = "phone"  # what is exported and shown where nobody named a model and no run is there
