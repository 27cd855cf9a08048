"""What a model is: one type for model.json, the JSON beside an exported file, and the metadata inside one.

A model of this project is described in four places, all of which are read and written here: `model.json` of a run or of
shipped weights, `<name>.keras.json` of a converted backbone, `<name>.tflite.json` and `<name>.onnx.json` beside an
exported file, and the same text inside that file. The page of `mobile_demo` reads the last two.
"""

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton
from keras_pose.core.units import units_of
from keras_pose.io.atomic import write_json

FORMAT_VERSION = 1
METADATA_KEY = "keras_pose"  # names the description inside an exported file
KINDS = ("pose", "keypoints", "lifter")

# Where in a heatmap's cell the peak of a joint lies: this project's targets, and the official HRNet code's.
OWN_CELL_CENTER = 0.5
OFFICIAL_CELL_CENTER = 0.125
# The peak of the paper's target heatmap: a one smoothed by a 3 x 3 Gaussian of sigma 1.
TARGET_PEAK = 1 / (1 + 2 * math.exp(-0.5)) ** 2

MODEL_UNITS = ("image", "heatmaps", "keypoints_2d", "pose_3d", "reprojected_2d")


@dataclass(frozen=True)
class Tensor:
    """Shape and dtype of an input or an output of an exported file."""

    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Export:
    """How a model was exported into one file.

    Attributes:
        quantization, layout: see `exporters.contract.Form`.
        inputs, outputs: by name, in the order in which the runtimes give them.
        run: the name of the run that the file was made of.
        model_sha256: of the run's weights.
        version: of keras_pose, which wrote the file.
    """

    quantization: str
    layout: str
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    run: str
    model_sha256: str
    version: str


@dataclass(frozen=True)
class ModelInfo:
    """The description of a trained model.

    Attributes:
        kind: a row of `KINDS`: image to 3D, image to 2D, or 2D to 3D.
        input_size: (height, width) of the crops.
        heatmap_peak: the peak of the training targets' heatmaps: a heatmap of this height scores 1.
        cell_center: where in a heatmap's cell the peak of a joint lies.
        statistics: of the training data, see `PoseStatistics`; None for a model of 2D joints.
        model: `PoseModelConfig.to_dict()`, what the network is built from.
        data: the data set that the model was trained on: its name, hash and number of examples.
        trained_on: of shipped weights, the `data` of the run; their `data` is what they are tested on.
        versions: of keras_pose, TensorFlow and Keras.
        metrics: of the validation split.
        weights: of a converted backbone, which of the checkpoint's weights were used.
        export: of an exported file, None for a Keras model.
    """

    kind: str
    skeleton: Skeleton
    input_size: tuple[int, int]
    heatmap_peak: float = TARGET_PEAK
    cell_center: float = OWN_CELL_CENTER
    statistics: dict | None = None
    model: dict = field(default_factory=dict)
    data: dict = field(default_factory=dict)
    trained_on: dict = field(default_factory=dict)
    versions: dict = field(default_factory=dict)
    metrics: dict = field(default_factory=dict)
    weights: dict = field(default_factory=dict)
    export: Export | None = None

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} is not one of {', '.join(KINDS)}")

    def to_dict(self) -> dict:
        """Values that JSON can hold, in the form that the kind of file has."""
        return self._model_dict() if self.export is None else self._export_dict(self.export)

    def _model_dict(self) -> dict:
        values = {
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "skeleton": self.skeleton.to_dict(),
            "input_size": list(self.input_size),
            "units": units_of(*MODEL_UNITS),
            "heatmap_peak": self.heatmap_peak,
            "statistics": self.statistics,
            "model": self.model,
            "data": self.data,
            "versions": self.versions,
            "metrics": self.metrics,
        }
        if self.cell_center != OWN_CELL_CENTER:
            values["cell_center"] = self.cell_center
        return values | {name: value for name in ("weights", "trained_on") if (value := getattr(self, name))}

    def _export_dict(self, export: Export) -> dict:
        def describe(tensors: dict[str, Tensor]) -> dict:
            units = units_of(*tensors)
            return {
                name: {"shape": list(tensor.shape), "dtype": tensor.dtype, "unit": units[name]}
                for name, tensor in tensors.items()
            }

        return {
            "format_version": FORMAT_VERSION,
            "keras_pose_version": export.version,
            "part": self.kind,
            "quantization": export.quantization,
            "skeleton": self.skeleton.to_dict(),
            "joint_names": list(self.skeleton.joint_names),
            "edges": [list(bone) for bone in self.skeleton.bones],
            "input_size": list(self.input_size),
            "colour_order": "RGB",
            "layout": export.layout,
            "inputs": describe(export.inputs),
            "outputs": describe(export.outputs),
            "source": {"run": export.run, "model_sha256": export.model_sha256},
        }

    @classmethod
    def from_dict(cls, values: dict) -> "ModelInfo":
        """The inverse of `to_dict`; what older files lack has its default.

        Raises KeyError, TypeError, ValueError or AttributeError for values of another form.
        """
        height, width = values["input_size"]
        return cls(
            kind=values.get("kind") or values.get("part", "pose"),
            skeleton=Skeleton.from_dict(values["skeleton"]),
            input_size=(int(height), int(width)),
            heatmap_peak=float(values.get("heatmap_peak", TARGET_PEAK)),
            cell_center=float(values.get("cell_center", OWN_CELL_CENTER)),
            statistics=values.get("statistics"),
            export=_export(values) if "inputs" in values else None,
            **{
                name: dict(values.get(name) or {})
                for name in ("model", "data", "trained_on", "versions", "metrics", "weights")
            },
        )

    def to_text(self) -> str:
        """The description as it stands inside an exported file."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_text(cls, text: str | bytes, name: str | os.PathLike, remedy: str) -> "ModelInfo":
        """The inverse of `to_text`; raises UserError that begins with `name` and ends with `remedy`."""
        try:
            values = json.loads(text)
            version = values.get("format_version", FORMAT_VERSION)
            if version == FORMAT_VERSION:
                return cls.from_dict(values)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise UserError(f"{name} is damaged ({error!r}); {remedy}") from error
        raise UserError(f"{name} has format {version}, this version reads {FORMAT_VERSION}; {remedy}")

    def write(self, path: str | os.PathLike) -> None:
        """Writes the file, whole or not at all."""
        write_json(path, self.to_dict())

    @classmethod
    def read(cls, path: str | os.PathLike, missing: str, remedy: str) -> "ModelInfo":
        """Reads the file; raises UserError: `missing` where there is none, or one that ends with `remedy`."""
        try:
            text = Path(path).read_bytes()
        except FileNotFoundError:
            raise UserError(missing) from None
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; {remedy}") from error
        return cls.from_text(text, path, remedy)


def sidecar_path(path: Path) -> Path:
    """Where the description of an exported file or of a converted .keras file stands: beside it."""
    return path.with_name(path.name + ".json")


def read_sidecar(path: Path) -> ModelInfo:
    """The description beside a file; raises UserError where it is missing or damaged."""
    sidecar = sidecar_path(path)
    return ModelInfo.read(
        sidecar,
        missing=f"{path} lacks its metadata {sidecar.name}; copy both files, or export again",
        remedy="export the model again",
    )


def _export(values: dict) -> Export:
    def tensors(key: str) -> dict[str, Tensor]:
        return {
            name: Tensor(tuple(int(size) for size in tensor["shape"]), str(tensor["dtype"]))
            for name, tensor in values[key].items()
        }

    return Export(
        quantization=values["quantization"],
        layout=values["layout"],
        inputs=tensors("inputs"),
        outputs=tensors("outputs"),
        run=values["source"]["run"],
        model_sha256=values["source"]["model_sha256"],
        version=values["keras_pose_version"],
    )
