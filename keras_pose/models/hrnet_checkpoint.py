"""Converts published HRNet checkpoints to keypoint models, with an account of every weight."""

import dataclasses
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import COCO_17, HUMAN36M_17, MPII_16, Skeleton, get_skeleton
from keras_pose.io.model_info import OFFICIAL_CELL_CENTER, OWN_CELL_CENTER
from keras_pose.io.torch_file import read_torch_file
from keras_pose.models import weight_names
from keras_pose.models.checkpoint_record import DATASETS, Record, find_record
from keras_pose.models.pose_model import PoseModelConfig, build_keypoint_model

OFFICIAL_BETA = 20.0  # of the soft-argmax, for a peak of 1 (see `SoftArgmax`)
PUBLISHED_SKELETONS = {skeleton.num_joints: skeleton for skeleton in (COCO_17, MPII_16)}


@dataclass(frozen=True)
class Accounting:
    """What happened to each weight.

    Attributes:
        notes: more about the file: which weights were taken, what was converted, what is assumed.
        used: name in the checkpoint to the layer that now has it.
        unused: name in the checkpoint to the reason.
        initial: layers of the model without a counterpart in the checkpoint; they keep their random weights.
    """

    used: dict[str, str] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)
    initial: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Lines to print: the notes, the used weights, the unused ones per reason, and each layer that stays random."""
        reasons = Counter(self.unused.values())
        return [
            *self.notes,
            f"used: {len(self.used)} weights in {len(set(self.used.values()))} layers",
            *(f"not used: {count} weights ({reason})" for reason, count in reasons.items()),
            *(f"not in the checkpoint: {layer} keeps random weights; train before use" for layer in self.initial),
        ]


def read_checkpoint(path: str | os.PathLike) -> Record:
    """The weights of HRNet in a .pth or .safetensors file, with the official names; see `find_record`.

    Raises UserError if the file is missing, damaged, or not a checkpoint of one HRNet.
    """
    path = Path(path)
    values = _read_safetensors(path) if path.suffix == ".safetensors" else read_torch_file(path)
    try:
        return find_record(values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load
    except ImportError:
        raise UserError(f"{path} needs the library safetensors: pip install safetensors") from None
    try:
        return load(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"no file {path}; check the path") from None
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise UserError(f"{path} is damaged or not a safetensors file ({error}); download it again") from error


def convert(
    weights: dict[str, np.ndarray],
    skeleton: Skeleton | None = None,
    input_size: tuple[int, int] = (256, 256),
    peak: float = 1.0,
) -> tuple[keras.Model, PoseModelConfig, Accounting]:
    """A keypoint model (see `build_keypoint_model`) with the weights of a checkpoint.

    Args:
        weights: with the official code's names, see `read_checkpoint`.
        skeleton: the heatmaps' joints. By default those of the data set named in the file, else COCO_17 or MPII_16 by
            the number of heatmaps; HUMAN36M_17 for a file without heatmaps (ImageNet).
        input_size: (height, width).
        peak: height that the heatmaps' peaks of about 1 are scaled to, by a factor in the last layer.

    Raises:
        UserError: another kind of network, joints that are unknown, or a weight that is missing, unknown, not finite
            or of another shape (named).
    """
    variant = weight_names.find_variant(weights)
    has_heatmaps = "final_layer.weight" in weights
    notes = getattr(weights, "notes", ())
    if skeleton is None and has_heatmaps:
        dataset = getattr(weights, "dataset", None)
        skeleton = _published_skeleton(weights["final_layer.weight"], dataset)
        how = f"of {dataset}, according to the file" if dataset else "assumed from their number"
        notes = (*notes, f"joints: {skeleton.name}, {how}")
    skeleton = skeleton or HUMAN36M_17
    config = PoseModelConfig(
        variant=variant, skeleton=skeleton.to_dict(), input_size=input_size, soft_argmax_beta=OFFICIAL_BETA / peak
    )
    model = build_keypoint_model(config)
    hrnet = model.get_layer("hrnet")
    accounting = load_weights(hrnet, weights, variant)
    unused = getattr(weights, "unused", {}) | accounting.unused
    accounting = dataclasses.replace(accounting, unused=unused, notes=notes)
    if has_heatmaps:
        for variable in hrnet.get_layer("final_layer").weights:
            variable.assign(variable * peak)
    return with_official_cells(model) if has_heatmaps else model, config, accounting


def _published_skeleton(final_weight: np.ndarray, dataset: str | None) -> Skeleton:
    joints = final_weight.shape[0]
    if dataset:
        skeleton = get_skeleton(DATASETS[dataset]) if dataset in DATASETS else None
        if skeleton is None or skeleton.num_joints != joints:
            raise UserError(
                f"its {joints} heatmaps are for data set {dataset[:60]!r}; give their joints with --skeleton"
            )
        return skeleton
    if joints not in PUBLISHED_SKELETONS:
        raise UserError(f"the checkpoint has {joints} heatmaps, neither COCO's 17 nor MPII's 16; give --skeleton")
    return PUBLISHED_SKELETONS[joints]


def load_weights(hrnet: keras.Model, weights: dict[str, np.ndarray], variant: str) -> Accounting:
    """Copies every weight to the layer of its name.

    Raises UserError that names the weight or layer that does not match; the model is then unchanged.
    """
    layers = {layer.name: layer for layer in hrnet.layers if layer.weights}
    accounting = Accounting()
    values: dict[str, dict[str, np.ndarray]] = {}
    for name, array in weights.items():
        reason = weight_names.why_unused(name, variant)
        if reason:
            accounting.unused[name] = reason
            continue
        layer_name, weight = weight_names.layer_of(name)
        kinds = weight_names.CONV_WEIGHTS if array.ndim == 4 else weight_names.BATCH_NORM_WEIGHTS
        if layer_name == "final_layer":
            kinds = weight_names.CONV_WEIGHTS
        if layer_name not in layers or weight not in kinds:
            raise UserError(f"the checkpoint has {name}, which HRNet {variant} does not; it is another network")
        values.setdefault(layer_name, {})[kinds[weight]] = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
        accounting.used[name] = layer_name
    initial = tuple(name for name in layers if name not in values)
    if set(initial) - {"final_layer"}:
        raise UserError(f"the checkpoint lacks {initial[0]} ({len(initial)} layers in all); download it again")
    assignments = [pair for name in values for pair in _match(layers[name], values[name])]
    for variable, array in assignments:
        variable.assign(array)
    return Accounting(accounting.used, accounting.unused, initial)


def _match(layer: keras.layers.Layer, values: dict[str, np.ndarray]) -> list[tuple[keras.Variable, np.ndarray]]:
    """Pairs each variable of a layer with its values; raises UserError for one missing, misshapen or not finite."""
    pairs = []
    for variable in layer.weights:
        array = values.get(variable.name)
        if array is None:
            raise UserError(f"the checkpoint lacks the {variable.name} of {layer.name}; download it again")
        if array.shape != tuple(variable.shape):
            raise UserError(
                f"{layer.name}: the checkpoint's {variable.name} is {array.shape}, HRNet needs {tuple(variable.shape)}"
            )
        if not np.isfinite(array).all():
            raise UserError(f"{layer.name}: the checkpoint's {variable.name} holds NaN or inf; download it again")
        pairs.append((variable, array))
    return pairs


def with_official_cells(model: keras.Model) -> keras.Model:
    """The model with `keypoints_2d` shifted to the official targets' position in a heatmap cell (see `decoders`)."""
    outputs = dict(model.output)
    height, width = outputs["heatmaps"].shape[1:3]
    shift = OFFICIAL_CELL_CENTER - OWN_CELL_CENTER
    layer = keras.layers.Rescaling(1.0, offset=[shift / width, shift / height], name="official_cells")
    outputs["keypoints_2d"] = layer(outputs["keypoints_2d"])
    return keras.Model(model.input, outputs, name=model.name)
