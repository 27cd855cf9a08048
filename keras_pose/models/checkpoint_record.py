"""Unpacks what training frameworks wrap around weights: containers, prefixes, averaged copies, and preprocessing.

MMPose, Lightning, DataParallel, timm and the official code name the weights of HRNet differently. `find_record` finds
the network in any of them and converts it to the official code's input: RGB with ImageNet's mean and standard
deviation. If the file does not describe its images, such input is assumed, and a note reports it.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.models.hrnet import IMAGENET_MEAN, IMAGENET_STD

# A weight that every trunk has and no other part of a network.
_ANCHOR = "transition1.0.0.weight"
# If a file contains a network more than once, the copy in the first of these containers is used.
_CONTAINERS = ("best_state_dict", "state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
_AVERAGED = re.compile(r"(^|[._])(ema|swa|avg|averaged?|averaging|shadow|polyak)([._]|\d|$)")
# Prefixes of the heatmap layer beside a trunk, as in MMPose 1.x, in 0.x, and with the official code's names.
_HEADS = ("head.", "keypoint_head.", "")
_DEPTH = 8
_LONGEST_CONFIG = 1 << 20
_MOST_PARTS = 10_000

# MMPose's names for data sets, by the skeleton of their heatmaps.
DATASETS = {
    "coco": "coco_17",
    "ochuman": "coco_17",
    "mpii": "mpii_16",
    "h36m": "human36m_17",
    "human36m": "human36m_17",
}


@dataclass(frozen=True)
class Preprocessing:
    """The file's description of its images and heatmaps; None for what it does not mention.

    `mean` and `std` (3,) are on a scale of 0 to 255, in the channel order of the network's input: RGB if `is_rgb`, else
    BGR. `is_udp` is whether the heatmaps follow UDP. `dataset` is the data set of the joints.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    is_rgb: bool | None = None
    is_udp: bool | None = None
    dataset: str | None = None


class Record(dict):
    """A network's weights with the official names, for the official input.

    Attributes:
        unused: the rest of the file, by name, with the reason.
        notes: lines to print: which weights were taken, what was converted, what is assumed.
        dataset: the data set of the heatmaps' joints, if the file names it.
    """

    def __init__(
        self,
        weights: dict[str, np.ndarray],
        unused: dict[str, str],
        notes: tuple[str, ...] = (),
        dataset: str | None = None,
    ):
        super().__init__(weights)
        self.unused, self.notes, self.dataset = unused, notes, dataset


@dataclass(frozen=True)
class _Network:
    """One copy of HRNet: the path of the dict it is in, the prefix of its trunk's names, and that dict of arrays."""

    container: str
    prefix: str
    group: dict[str, np.ndarray]

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.container, self.prefix and f"{self.prefix}*"))) or "the file's own names"


def find_record(values) -> Record:
    """Finds HRNet in the content of a checkpoint file.

    Raises:
        UserError: there are no named weights, no names match (the message shows some), two networks are equally
            eligible, or the preprocessing or the heatmaps cannot be converted.
    """
    groups = list(_groups(values, "", _DEPTH, set()))
    if not groups:
        raise UserError("it holds no named weights; name the file of an HRNet's state_dict")
    networks = [
        _Network(container, name.removesuffix(_ANCHOR), group)
        for container, group in groups
        for name in group
        if name == _ANCHOR or name.endswith("." + _ANCHOR)
    ]
    if not networks:
        raise UserError(f"it is not an HRNet: it has no convolution {_ANCHOR}; its names are {_sample(groups)}")
    network, notes = _choose(networks, values)
    weights, unused = _official_names(network, [other for other in networks if other is not network])
    preprocessing = read_preprocessing(values)
    weights, converted = _to_official_input(weights, preprocessing)
    return Record(weights, unused, (*notes, *converted), preprocessing.dataset)


def _groups(values, path: str, depth: int, seen: set[int]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """All dicts with arrays in a file, nested at most `depth` deep, each with the path of keys that leads to it."""
    if not isinstance(values, dict) or id(values) in seen or depth == 0:
        return
    seen.add(id(values))
    arrays = {str(name): array for name, array in values.items() if isinstance(array, np.ndarray)}
    if arrays:
        yield path, arrays
    for name, value in values.items():
        yield from _groups(value, f"{path}.{name}".lstrip("."), depth - 1, seen)


def _sample(groups: list[tuple[str, dict[str, np.ndarray]]]) -> str:
    """A few names from the largest group, for an error message."""
    container, group = max(groups, key=lambda pair: len(pair[1]))
    names = list(group)
    shown = names if len(names) <= 6 else [*names[:3], "...", *names[-3:]]
    text = ", ".join(name if name == "..." else repr(name)[1:-1][:80] for name in shown)
    return f"{text} ({len(names)}{f' in {container[:80]}' if container else ''})"


# --- which copy ------------------------------------------------------------------------------------------------


def _choose(networks: list[_Network], values: dict) -> tuple[_Network, tuple[str, ...]]:
    """The copy to use, and notes about it; averaged weights are preferred to raw ones."""
    averaged = [network for network in networks if _is_averaged(network, values)]
    chosen = averaged or networks
    ranks = [_rank(network) for network in chosen]
    best = [network for network, rank in zip(chosen, ranks, strict=True) if rank == min(ranks)]
    if len(best) > 1:
        names = " and ".join(network.name[:120] for network in best[:2])
        raise UserError(f"it contains more than one HRNet, {names}; save the state_dict of the one you want")
    (network,) = best
    notes = [f"weights: {network.name}"]
    if averaged:
        raw = [other.name for other in networks if other not in averaged]
        notes = [f"weights: averaged ones, {network.name}" + (f"; not the raw ones, {', '.join(raw)}" if raw else "")]
    return network, tuple(notes)


def _is_averaged(network: _Network, values: dict) -> bool:
    """Whether weights are a running average over training.

    MMEngine's EMAHook and Lightning's WeightAveraging swap the two when saving: `state_dict` has the averaged weights,
    and `ema_state_dict` or `current_model_state` the raw ones.
    """
    meta = values.get("meta") if isinstance(values.get("meta"), dict) else {}
    exchanged = "mmengine_version" in meta or "message_hub" in values
    if exchanged and isinstance(values.get("ema_state_dict"), dict):
        return network.container == "state_dict"
    if "averaging_state" in values and "current_model_state" in values:
        return network.container == "state_dict"
    if "n_averaged" in network.group:  # torch.optim.swa_utils.AveragedModel
        return True
    return bool(_AVERAGED.search(network.container.lower()) or _AVERAGED.search(network.prefix.lower()))


def _rank(network: _Network) -> int:
    parts = [part for part in network.container.split(".") if part in _CONTAINERS]
    return _CONTAINERS.index(parts[0]) if parts else len(_CONTAINERS)


# --- names -----------------------------------------------------------------------------------------------------


def _official_names(network: _Network, others: list[_Network]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The weights of trunk and heatmap layer with the official names, and the unused weights with the reasons."""
    weights, unused = {}, {}
    head = _head(network)
    for other in others:
        names = [name for name in other.group if name.startswith(other.prefix) and other.group is not network.group]
        unused |= {f"{other.name}: {name}": f"another copy of the network, {other.name}" for name in names}
    copies = [network, *(other for other in others if other.group is network.group)]
    for name, array in network.group.items():
        owners = [copy for copy in copies if name.startswith(copy.prefix)]
        owner = max(owners, key=lambda copy: len(copy.prefix), default=None)
        if head is not None and name.startswith(f"{head}final_layer."):
            weights[name.removeprefix(head)] = array
        elif owner is network:
            weights[name.removeprefix(network.prefix)] = array
        elif owner:
            unused[name] = f"another copy of the network, {owner.name}"
        elif re.match(r"(module\.)?ema_\w+$", name):
            unused[name] = "raw weights of MMCV's EMAHook, which swaps them with the averaged ones"
        elif name == "n_averaged":
            unused[name] = "counts averaged steps"
        else:
            why = "a head that is not a single convolution to heatmaps" if "head" in name else "not part of HRNet"
            unused[name] = f"{why}, {name.split('.')[0]}.*"
    return weights, unused


def _head(network: _Network) -> str | None:
    """The prefix of the heatmap layer beside a trunk; None without a head, or if the head has more than that layer."""
    if not re.search(r"(^|\.)backbone\.$", network.prefix):
        return None
    root = network.prefix.removesuffix("backbone.")
    for head in _HEADS:
        inside = {n for n in network.group if n.startswith(f"{root}{head}") and (head or "final_layer" in n)}
        inside = {name.removeprefix(f"{root}{head}") for name in inside}
        if "final_layer.weight" in inside and inside <= {"final_layer.weight", "final_layer.bias"}:
            return root + head
    return None


# --- what the file says of its images ----------------------------------------------------------------------------


def _to_official_input(weights: dict, said: Preprocessing) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The weights for RGB images with ImageNet's normalization, and notes; raises UserError if not convertible.

    The first convolution can absorb another channel order and other standard deviations. It cannot absorb another mean,
    because it pads with zeros, which represent the mean.
    """
    if said.is_udp:
        raise UserError(
            "its configuration uses UDP's heatmaps, whose cells are shifted from the official ones; convert a "
            "checkpoint that was trained without UDP"
        )
    if said.mean is None:
        return weights, ("assumed, because the file does not say: RGB images, ImageNet's mean and std, no UDP",)
    is_rgb = said.mean[0] >= said.mean[2] if said.is_rgb is None else said.is_rgb  # ImageNet's mean is highest in red
    order = [0, 1, 2] if is_rgb else [2, 1, 0]
    channels = "RGB" if is_rgb else "BGR"
    mean, std = np.array(said.mean)[order], np.array(said.std)[order]
    own_mean, own_std = 255 * np.array(IMAGENET_MEAN), 255 * np.array(IMAGENET_STD)
    if np.abs(mean - own_mean).max() > 0.5 or std.min() <= 0:
        numbers = ", ".join(f"{value:g}" for value in said.mean)
        raise UserError(
            f"its images have the mean {numbers} ({channels}), not ImageNet's, which cannot be "
            "converted; train it with ImageNet's mean"
        )
    notes = [f"images according to the file: {channels}, ImageNet's mean"]
    if said.is_rgb is None:
        notes.append(f"assumed from the order of the file's means: {channels}")
    if said.is_udp is None:
        notes.append("assumed, because the file does not say: no UDP")
    scale = own_std / std
    if not is_rgb or np.abs(scale - 1).max() > 0.01:
        notes.append("converted: the first convolution now takes RGB with ImageNet's std")
        first = weights.get("conv1.weight")
        if first is not None and first.ndim == 4 and first.shape[1] == 3:
            weights = weights | {"conv1.weight": (first[:, order] * scale[:, None, None]).astype(first.dtype)}
    return weights, tuple(notes)


def read_preprocessing(values) -> Preprocessing:
    """Reads the configurations that MMPose (`meta`) and Lightning (`hyper_parameters`) store in a checkpoint."""
    if not isinstance(values, dict):
        return Preprocessing()
    meta = values.get("meta") if isinstance(values.get("meta"), dict) else {}
    hyper = values.get("hyper_parameters", values.get("hparams"))
    config = {}
    for part in (meta.get("cfg"), meta.get("config"), values.get("cfg"), values.get("config"), hyper):
        config |= _plain_config(part)
    steps = list(_dicts(config, set()))
    udp = [
        step for step in steps if step.get("use_udp") or step.get("type") in ("UDPHeatmap", "TopDownGenerateTargetUDP")
    ]
    said = [step for step in steps if "use_udp" in step or "Heatmap" in str(step.get("type", "")) or "codec" in step]
    mean, std, is_rgb = _normalisation(steps)
    return Preprocessing(mean, std, is_rgb, bool(udp) if udp or said else None, _dataset(meta, config))


def _normalisation(steps: list[dict]) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None, bool | None]:
    """Mean, standard deviation and whether the input is RGB, from the first step that has the first two."""
    read_bgr = any(step.get("channel_order") == "bgr" for step in steps if "Load" in str(step.get("type", "")))
    for step in steps:
        mean, std = _three(step.get("mean")), _three(step.get("std"))
        if mean is None or std is None:
            continue
        if max(*mean, *std) <= 1.0:  # the images are in [0, 1]
            mean, std = (tuple(255 * v for v in values) for values in (mean, std))
        if "bgr_to_rgb" in step or "rgb_to_bgr" in step:
            is_rgb = bool(step.get("bgr_to_rgb"))
        elif "to_rgb" in step:
            is_rgb = bool(step["to_rgb"])
        elif step.get("type") == "PoseDataPreprocessor":
            is_rgb = False  # MMPose reads BGR and converts only if told to
        elif step.get("type") == "NormalizeTensor":
            is_rgb = not read_bgr
        else:
            is_rgb = None
        return mean, std, is_rgb
    return None, None, None


def _three(values) -> tuple[float, ...] | None:
    numbers = isinstance(values, list | tuple) and len(values) == 3
    if not numbers or not all(isinstance(v, int | float) and np.isfinite(v) for v in values):
        return None
    return tuple(float(v) for v in values)


def _dataset(meta: dict, config: dict) -> str | None:
    """The data set of the joints in lower case: MMPose 1.x's `dataset_meta`, or a configuration's `dataset_type`."""
    said = meta.get("dataset_meta")
    names = [said.get("dataset_name")] if isinstance(said, dict) else []
    names += [step.get(key) for step in _dicts(config, set()) for key in ("dataset_name", "dataset_type")]
    names = [name for name in names if isinstance(name, str) and name]
    if not names:
        return None
    name = re.sub(r"^(topdown|bottomup|body3d|animal)|dataset$", "", names[0].lower())
    return re.sub(r"dataset$", "", name)


def _dicts(value, seen: set[int]) -> Iterator[dict]:
    """All dicts in nested lists and dicts, each once."""
    if not isinstance(value, dict | list | tuple) or id(value) in seen or len(seen) > _MOST_PARTS:
        return
    seen.add(id(value))
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value:
        yield from _dicts(part, seen)


def _plain_config(config) -> dict:
    """A configuration as nested dicts, from a dict or the text of an MMCV Python file; only its literals are read."""
    if isinstance(config, dict):
        return {str(name): value for name, value in config.items()}
    if not isinstance(config, str) or len(config) > _LONGEST_CONFIG:
        return {}
    found: dict[str, object] = {}
    try:
        for statement in ast.parse(config).body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                found[statement.targets[0].id] = _literal(statement.value, found)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return {}
    return found


def _literal(node: ast.expr, names: dict[str, object]):
    """The value of literals, `dict(...)`, fractions and earlier names; None for anything else. Nothing is run."""
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return names.get(node.id)
        case ast.List() | ast.Tuple():
            return [_literal(part, names) for part in node.elts]
        case ast.Dict():
            keys = [_literal(key, names) if key else None for key in node.keys]
            return {str(k): _literal(v, names) for k, v in zip(keys, node.values, strict=True)}
        case ast.Call(func=ast.Name(id="dict")):
            return {keyword.arg: _literal(keyword.value, names) for keyword in node.keywords if keyword.arg}
        case ast.BinOp(op=ast.Div()):
            left, right = _literal(node.left, names), _literal(node.right, names)
            numbers = isinstance(left, int | float) and isinstance(right, int | float) and right
            return left / right if numbers else None
        case ast.UnaryOp(op=ast.USub()):
            value = _literal(node.operand, names)
            return -value if isinstance(value, int | float) else None
        case ast.Subscript(slice=ast.Constant()):
            value = _literal(node.value, names)
            return value.get(str(node.slice.value)) if isinstance(value, dict) else None
    return None
