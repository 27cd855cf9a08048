"""Describes a finder: its model.json, the JSON beside an exported finder, and the same text inside it.

docs/deploy.md explains how to read people from a finder's maps with `stride`, `score` and `overlap`.
"""

from dataclasses import dataclass, field

from keras_pose.core.units import UNITS
from keras_pose.io.model_info import FINDER, FORMAT_VERSION, Description, Export

SCORE = 0.3  # lowest peak that counts as a person
OVERLAP = 0.5  # intersection over union above which two boxes are the same person


@dataclass(frozen=True)
class FinderInfo(Description):
    """The description of a finder.

    Attributes:
        input_size: (height, width) of the square input.
        stride: size of a map cell in pixels.
        score, overlap: recommended thresholds for exported files.
        versions: keras_pose and others.
        metrics: on the validation scenes.
        export: for an exported file; None for a Keras model.
    """

    OWN_KINDS = (FINDER,)
    NAME = "a finder"
    kind = FINDER
    input_size: tuple[int, int]
    stride: int
    score: float = SCORE
    overlap: float = OVERLAP
    versions: dict = field(default_factory=dict)
    metrics: dict = field(default_factory=dict)
    export: Export | None = None

    def __post_init__(self):
        if self.input_size[0] != self.input_size[1]:
            raise ValueError(f"input_size {list(self.input_size)} is not square")

    def unit_of(self, name: str) -> str:
        return UNITS["whole_image" if name == "image" else name]

    def to_dict(self) -> dict:
        return self._model_dict() if self.export is None else self._export_dict(self.export)

    def _model_dict(self) -> dict:
        return {
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "input_size": list(self.input_size),
            "stride": self.stride,
            "versions": self.versions,
            "metrics": self.metrics,
        }

    def _export_dict(self, export: Export) -> dict:
        return {
            "format_version": FORMAT_VERSION,
            "keras_pose_version": export.version,
            "part": self.kind,
            "quantization": export.quantization,
            "input_size": list(self.input_size),
            "stride": self.stride,
            "score": self.score,
            "overlap": self.overlap,
            "colour_order": "RGB",
            "layout": export.layout,
            "inputs": self.describe(export.inputs),
            "outputs": self.describe(export.outputs),
            "source": {"run": export.run, "model_sha256": export.model_sha256},
        }

    @classmethod
    def from_dict(cls, values: dict) -> "FinderInfo":
        height, width = values["input_size"]
        return cls(
            input_size=(int(height), int(width)),
            stride=int(values["stride"]),
            score=float(values.get("score", SCORE)),
            overlap=float(values.get("overlap", OVERLAP)),
            versions=dict(values.get("versions") or {}),
            metrics=dict(values.get("metrics") or {}),
            export=Export.from_dict(values) if "inputs" in values else None,
        )
