"""Builds the graph to export from a trained run: pixels in, joints out, a fixed batch of one, float32."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops

from exporters.contract import PARTS, Form, tensor_shapes
from keras_pose.core.errors import UserError
from keras_pose.io.model_info import OWN_CELL_CENTER, ModelInfo, read_sidecar
from keras_pose.models.flip_test import mirrored, mirrored_heatmaps
from keras_pose.models.hrnet import HEATMAP_STRIDE
from keras_pose.models.model_folder import MODEL, load_model, load_run
from keras_pose.models.soft_argmax import joint_scores
from keras_pose.weights import DEFAULT_WEIGHTS, SHIPPED_WEIGHTS


@dataclass(frozen=True)
class Source:
    """A trained model and its description; `path` is a run's folder, or an imported .keras file."""

    path: Path
    model: keras.Model
    info: ModelInfo

    @property
    def weights(self) -> Path:
        return self.path / MODEL if self.path.is_dir() else self.path


def find_run(model: str | None, runs: Path = Path("runs")) -> Path:
    """The run named by `model`; by default the newest one under `runs`, or the shipped weights.

    Raises UserError if nothing is found.
    """
    if model:
        return Path(SHIPPED_WEIGHTS.get(model, model))
    trained = sorted(runs.glob(f"*/{MODEL}"), key=lambda path: path.stat().st_mtime)
    if trained:
        print(f"no --model given; using the newest run {trained[-1].parent}")
        return trained[-1].parent
    if DEFAULT_WEIGHTS in SHIPPED_WEIGHTS:
        print(f"no --model given and no run under {runs}/; using the shipped weights {DEFAULT_WEIGHTS}")
        return SHIPPED_WEIGHTS[DEFAULT_WEIGHTS]
    raise UserError(f"no --model, no trained run under {runs}/ and no shipped weights; train first, or name a run")


def load_source(path: Path) -> Source:
    """Loads a run, or a .keras file of `keras_pose.models.pretrained`.

    Raises UserError if the folder or weights are missing, damaged or not finite.
    """
    if path.is_file() and path.suffix == ".keras":
        model, info = load_model(path), read_sidecar(path)
    elif not path.is_dir():
        raise UserError(f"no run {path}; name a folder written by training")
    elif not (path / MODEL).is_file():
        raise UserError(f"{path} has no weights ({MODEL}); finish its training, or name another run")
    else:
        model, info = load_run(path)
    for variable in model.variables:
        if not np.isfinite(np.asarray(variable, np.float32)).all():
            raise UserError(f"{path}: the weights of {variable.path} are not finite; export a run that converged")
    return Source(path, model, info)


def cell_offset(info: ModelInfo) -> np.ndarray:
    """(x, y) in [0, 1]: how far peaks in imported heatmaps lie off the cell centers; (0, 0) for our own heatmaps."""
    height, width = info.input_size
    cells = info.cell_center - OWN_CELL_CENTER
    return np.array([cells * HEATMAP_STRIDE / width, cells * HEATMAP_STRIDE / height], np.float32)


def build_inference_graph(source: Source, form: Form) -> keras.Model:
    """The model to export, with inputs and outputs named as in `exporters.contract`.

    It consists of the run's own layers, called on a batch of one. Normalization, soft-argmax, lifting and millimeters
    are included; the decoder is not.
    """
    trained = source.model
    if form.part != "lifter" and trained.get_layer("soft_argmax").form == "flat":
        raise UserError(
            f"{source.path} was trained with --soft_argmax_form=flat, whose operations phones lack; train with marginal"
        )
    shapes, output_shapes = tensor_shapes(form, source.info.input_size, source.info.skeleton.num_joints)
    if PARTS[form.part].input == "keypoints_2d":
        keypoints_2d = keras.Input(batch_shape=shapes["keypoints_2d"], name="keypoints_2d")
        return keras.Model(keypoints_2d, {"pose_3d": trained.get_layer("encoder")(keypoints_2d)}, name="inference")

    image = keras.Input(batch_shape=shapes["image"], dtype=form.input_dtype, name="image")
    pixels = ops.cast(image, "float32")
    if form.layout == "nchw":
        pixels = ops.transpose(pixels, (0, 2, 3, 1))  # (1, H, W, 3)
    heatmaps = _heatmaps(source, pixels, form.flip_test)  # (1, H/4, W/4, J)
    keypoints_2d = trained.get_layer("soft_argmax")(heatmaps)  # (1, J, 2)
    if cell_offset(source.info).any():
        keypoints_2d = keypoints_2d + cell_offset(source.info)
    outputs = {
        "heatmaps": heatmaps,
        "keypoints_2d": keypoints_2d,
        "scores": joint_scores(heatmaps, source.info.heatmap_peak),
    }
    if "pose_3d" in output_shapes:
        outputs["pose_3d"] = trained.get_layer("encoder")(keypoints_2d)
    return keras.Model(image, {name: outputs[name] for name in output_shapes}, name="inference")


def _heatmaps(source: Source, pixels: keras.KerasTensor, flip_test: bool) -> keras.KerasTensor:
    """The network's heatmaps, or the mean of both views': it runs twice, since GPU delegates want a batch of one."""
    network = source.model.get_layer("hrnet")
    if not flip_test:
        return network(pixels)
    if cell_offset(source.info).any():
        raise UserError(
            f"{source.path} has its peaks off the cell centers, so mirrored maps do not match; leave --flip_test out"
        )
    return (network(pixels) + mirrored_heatmaps(network(mirrored(pixels)), source.info.skeleton)) / 2
