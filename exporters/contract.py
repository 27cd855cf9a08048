"""The contract of an exported file: names, shapes and units of its inputs and outputs.

Every tensor has a fixed shape with a leading batch of one: GPU delegates treat the first axis as the batch, and
LiteRT.js refuses a dynamic batch. As flat arrays, the outputs are the same with or without it.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from keras_pose import __version__
from keras_pose.core.errors import UserError, unknown_name
from keras_pose.io.model_info import Export, ModelInfo, Tensor

# float16: only the weights, while CPUs compute in float32; float16_arithmetic: the network also computes in float16.
QUANTIZATIONS = ("none", "float16", "float16_arithmetic", "dynamic", "int8")
INPUT_DTYPES = ("uint8", "float32")
LAYOUTS = ("nhwc", "nchw")


@dataclass(frozen=True)
class Part:
    """A part of a model that can be exported; `kinds` are the kinds of models that contain it."""

    input: str
    outputs: tuple[str, ...]
    kinds: tuple[str, ...]


PARTS = {
    "pose": Part("image", ("keypoints_2d", "scores", "pose_3d"), ("pose",)),
    "keypoints": Part("image", ("keypoints_2d", "scores"), ("pose", "keypoints")),
    "lifter": Part("keypoints_2d", ("pose_3d",), ("pose", "lifter")),
}


@dataclass(frozen=True)
class Form:
    """The form of an exported file.

    Attributes:
        part: a key of `PARTS`.
        quantization: one of `QUANTIZATIONS`.
        input_dtype: of the image; the range is always 0 to 255.
        layout: of the image, `nhwc` or `nchw`.
        heatmaps: whether the heatmaps are also an output.
        flip_test: whether the file also runs on the mirrored image and averages both heatmaps.
    """

    part: str
    quantization: str = "none"
    input_dtype: str = "uint8"
    layout: str = "nhwc"
    heatmaps: bool = False
    flip_test: bool = False

    def __post_init__(self):
        for name, value, known in (
            ("part", self.part, PARTS),
            ("quantization", self.quantization, QUANTIZATIONS),
            ("input type", self.input_dtype, INPUT_DTYPES),
            ("layout", self.layout, LAYOUTS),
        ):
            if value not in known:
                raise unknown_name(name, value, known)
        if self.part == "lifter" and (self.heatmaps or self.flip_test or self.layout != "nhwc"):
            raise UserError("a lifter sees no images; leave out the heatmaps, the flip test and the layout")
        if self.part == "lifter" and self.quantization not in ("none", "float16"):
            raise UserError("a lifter computes in float32; choose none or float16")


def tensor_shapes(form: Form, input_size: tuple[int, int], joints: int) -> tuple[dict, dict]:
    """Shapes of inputs and outputs by name, in the order of names used by the runtimes."""
    height, width = input_size
    shapes = {
        "image": (1, height, width, 3) if form.layout == "nhwc" else (1, 3, height, width),
        "keypoints_2d": (1, joints, 2),
        "scores": (1, joints),
        "pose_3d": (1, joints, 3),
        "heatmaps": (1, height // 4, width // 4, joints),
    }
    part = PARTS[form.part]
    outputs = sorted(part.outputs + (("heatmaps",) if form.heatmaps else ()))
    return {part.input: shapes[part.input]}, {name: shapes[name] for name in outputs}


def default_part(kind: str) -> str:
    """The largest part of a run of this kind."""
    parts = [name for name, part in PARTS.items() if kind in part.kinds]
    if not parts:
        raise UserError(f"a model of kind {kind} is not a pose model; export a finder with exporters.finder")
    return parts[0]


def describe_export(form: Form, info: ModelInfo, name: str, weights: Path) -> ModelInfo:
    """The description of an exported file, stored inside and beside it.

    Args:
        info: of the run.
        name: of the run.
        weights: the run's weights, for their hash.

    Raises:
        UserError: the run's kind does not contain the part.
    """
    part = PARTS[form.part]
    if info.kind not in part.kinds:
        raise UserError(f"{name} is a model of kind {info.kind}; --part={form.part} needs {' or '.join(part.kinds)}")
    inputs, outputs = tensor_shapes(form, info.input_size, info.skeleton.num_joints)
    dtypes = {"image": form.input_dtype}

    def describe(shapes: dict) -> dict[str, Tensor]:
        return {name: Tensor(shape, dtypes.get(name, "float32")) for name, shape in shapes.items()}

    export = Export(
        quantization=form.quantization,
        layout=form.layout,
        inputs=describe(inputs),
        outputs=describe(outputs),
        run=name,
        model_sha256=sha256(weights),
        version=__version__,
        flip_test=form.flip_test,
    )
    return ModelInfo(form.part, info.skeleton, info.input_size, export=export)


def sha256(path: Path) -> str:
    """The hash of a file, which exported files record for their weights."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
