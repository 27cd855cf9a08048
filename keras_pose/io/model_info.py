"""Describes a model: one type for model.json, the JSON beside an exported file, and the metadata inside it.

Descriptions live in four places, all read and written here: `model.json` of a run or shipped weights,
`<name>.keras.json` of a converted backbone, `<name>.tflite.json` and `<name>.onnx.json` beside an exported file, and
the same text inside that file. The web page of `mobile_demo` reads the last two.
"""

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton
from keras_pose.core.units import UNITS, units_of
from keras_pose.io.atomic import write_json

FORMAT_VERSION = 1
METADATA_KEY = "keras_pose"  # key of the description inside an exported file
KINDS = ("pose", "keypoints", "lifter")
FINDER = "finder"  # the kind that `keras_pose.io.finder_info` describes

# Where the peak of a joint lies within its heatmap cell: this project's targets, and the official HRNet code's.
OWN_CELL_CENTER = 0.5
OFFICIAL_CELL_CENTER = 0.125
# The peak of the paper's target heatmap: a single 1 smoothed by a 3 x 3 Gaussian with sigma 1.
TARGET_PEAK = 1 / (1 + 2 * math.exp(-0.5)) ** 2

MODEL_UNITS = ("image", "heatmaps", "keypoints_2d", "pose_3d", "reprojected_2d")


@dataclass(frozen=True)
class Tensor:
    """Shape and dtype of an input or an output of an exported file."""

    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Export:
    """How a model was exported to a file.

    Attributes:
        quantization, layout: see `exporters.contract.Form`.
        inputs, outputs: by name, in the order of the runtimes.
        run: the name of the exported run.
        model_sha256: of the run's weights.
        version: of the keras_pose that wrote the file.
        flip_test: see `exporters.contract.Form`.
    """

    quantization: str
    layout: str
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    run: str
    model_sha256: str
    version: str
    flip_test: bool = False

    @classmethod
    def from_dict(cls, values: dict) -> "Export":
        """Builds it from the description of an exported file, as `Description.to_dict` returns it."""

        def tensors(key: str) -> dict[str, Tensor]:
            return {
                name: Tensor(tuple(int(size) for size in tensor["shape"]), str(tensor["dtype"]))
                for name, tensor in values[key].items()
            }

        return cls(
            quantization=values["quantization"],
            layout=values["layout"],
            inputs=tensors("inputs"),
            outputs=tensors("outputs"),
            run=values["source"]["run"],
            model_sha256=values["source"]["model_sha256"],
            version=values["keras_pose_version"],
            flip_test=bool(values.get("flip_test", False)),
        )


class Description:
    """The base of all descriptions of models: reading, writing, and export."""

    OWN_KINDS: ClassVar[tuple[str, ...]]
    NAME: ClassVar[str]  # of this kind of model, in errors
    kind: str
    export: Export | None

    @property
    def exported(self) -> Export:
        """`export` of an exported file; raises ValueError for a Keras model."""
        if self.export is None:
            raise ValueError("this describes a Keras model, not an exported file")
        return self.export

    def unit_of(self, name: str) -> str:
        """The unit of an input or output of an exported file."""
        return UNITS[name]

    def describe(self, tensors: dict[str, Tensor]) -> dict:
        """The inputs or outputs of an exported file, with units."""
        return {
            name: {"shape": list(tensor.shape), "dtype": tensor.dtype, "unit": self.unit_of(name)}
            for name, tensor in tensors.items()
        }

    def to_dict(self) -> dict:
        """Values for JSON, in the form of this kind of file."""
        raise NotImplementedError

    @classmethod
    def from_dict(cls, values: dict) -> Self:
        """The inverse of `to_dict`. Keys missing in older files get their defaults.

        Raises KeyError, TypeError, ValueError or AttributeError for malformed values.
        """
        raise NotImplementedError

    def to_text(self) -> str:
        """The description as stored inside an exported file."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_text(cls, text: str | bytes, name: str | os.PathLike, remedy: str) -> Self:
        """The inverse of `to_text`.

        Raises UserError starting with `name` if the text is damaged (then ending with `remedy`) or of another kind.
        """
        try:
            values = json.loads(text)
            version = values.get("format_version", FORMAT_VERSION)
            kind = kind_of(values)
            is_other = kind in (*KINDS, FINDER) and kind not in cls.OWN_KINDS
            if version == FORMAT_VERSION and not is_other:
                return cls.from_dict(values)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise UserError(f"{name} is damaged ({error!r}); {remedy}") from error
        if is_other:
            raise UserError(f"{name} describes a model of kind {kind}, not {cls.NAME}; name another model")
        raise UserError(f"{name} has format {version}, this version reads {FORMAT_VERSION}; {remedy}")

    def write(self, path: str | os.PathLike) -> None:
        """Writes the file, completely or not at all."""
        write_json(path, self.to_dict())

    @classmethod
    def read(cls, path: str | os.PathLike, missing: str, remedy: str) -> Self:
        """Reads the file; raises UserError with the text `missing` if there is none, else as `from_text` does."""
        try:
            text = Path(path).read_bytes()
        except FileNotFoundError:
            raise UserError(missing) from None
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; {remedy}") from error
        return cls.from_text(text, path, remedy)

    @classmethod
    def read_beside(cls, path: Path) -> Self:
        """The description beside a file; raises UserError if it is missing or damaged."""
        sidecar = sidecar_path(path)
        return cls.read(
            sidecar,
            missing=f"{path} lacks its metadata {sidecar.name}; copy both files, or export again",
            remedy="export the model again",
        )


@dataclass(frozen=True)
class ModelInfo(Description):
    """The description of a trained pose model, or part of one.

    Attributes:
        kind: one of `KINDS`, in this order: image to 3D, image to 2D, or 2D to 3D.
        input_size: (height, width) of the crops.
        heatmap_peak: the peak of the training target; a heatmap with this peak scores 1.
        cell_center: where the peak of a joint lies within its heatmap cell.
        statistics: of the training data, see `PoseStatistics`; None for 2D models.
        model: `PoseModelConfig.to_dict()`, from which the network is built.
        data: the training data set: its name, hash and number of examples.
        trained_on: for shipped weights, the `data` of the run; their own `data` is what they are tested on.
        versions: of keras_pose, TensorFlow and Keras.
        metrics: on the validation split.
        weights: for a converted backbone, which of the checkpoint's weights were used.
        export: for an exported file; None for a Keras model.
    """

    OWN_KINDS = KINDS
    NAME = "a pose model"
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
            "inputs": self.describe(export.inputs),
            "outputs": self.describe(export.outputs),
            "source": {"run": export.run, "model_sha256": export.model_sha256},
            **({"flip_test": True} if export.flip_test else {}),
        }

    @classmethod
    def from_dict(cls, values: dict) -> "ModelInfo":
        height, width = values["input_size"]
        return cls(
            kind=kind_of(values),
            skeleton=Skeleton.from_dict(values["skeleton"]),
            input_size=(int(height), int(width)),
            heatmap_peak=float(values.get("heatmap_peak", TARGET_PEAK)),
            cell_center=float(values.get("cell_center", OWN_CELL_CENTER)),
            statistics=values.get("statistics"),
            export=Export.from_dict(values) if "inputs" in values else None,
            **{
                name: dict(values.get(name) or {})
                for name in ("model", "data", "trained_on", "versions", "metrics", "weights")
            },
        )


def sidecar_path(path: Path) -> Path:
    """The path of the description of an exported file or a converted .keras file, which is beside it."""
    return path.with_name(path.name + ".json")


def read_sidecar(path: Path) -> ModelInfo:
    """The description beside a file; raises UserError if it is missing, damaged, or of a finder."""
    return ModelInfo.read_beside(path)


def kind_of(values: dict) -> str:
    """The kind named in a description's values."""
    return values.get("kind") or values.get("part", "pose")


def is_finder(path: Path) -> bool:
    """Whether a file describes a finder; False if it cannot be read."""
    try:
        return kind_of(json.loads(path.read_bytes())) == FINDER
    except (OSError, ValueError, AttributeError, RecursionError):
        return False
