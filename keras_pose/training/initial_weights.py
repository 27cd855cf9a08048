"""The initial weights of a run: from another run, or from a published backbone."""

from pathlib import Path

import keras

from keras_pose.core.errors import UserError
from keras_pose.io.model_info import ModelInfo, sidecar_path
from keras_pose.models import model_folder
from keras_pose.training.experiment import Experiment
from keras_pose.training.phases import FINAL_LAYER, transfer_weights
from keras_pose.weights import SHIPPED_WEIGHTS


def load_initial_weights(experiment: Experiment, model: keras.Model) -> None:
    """Loads the weights named by `init_from` or `pretrained` into `model`, and prints what stays untrained.

    Raises:
        UserError: a folder was given instead of a file or the reverse; the weights are missing, damaged or of another
            architecture; or `init_without` names something that the model does not have.
    """
    train = experiment.train
    if not (train.init_from or train.pretrained):
        return
    source = Path(train.init_from or train.pretrained)
    if train.init_from:
        source = SHIPPED_WEIGHTS.get(train.init_from, source)
        loaded, info = _load_run(source)
    else:
        info = _read_conversion(source)
        variant = info.model["variant"]
        if variant != experiment.model.variant:
            raise UserError(
                f"--pretrained={source} is HRNet {variant}, the run has {experiment.model.variant}; "
                f"add --variant={variant}"
            )
        loaded = model_folder.load_model(source)
    joints = info.skeleton.joint_names
    if FINAL_LAYER in info.weights.get("initial", ()):  # from a classifier, which has no heatmaps
        joints = ()
    same_joints = joints == experiment.model.get_skeleton().joint_names
    untrained = transfer_weights(loaded, model, str(source), same_joints, train.init_without)
    variant = info.model.get("variant", experiment.model.variant)
    widened = f", HRNet {variant}, widened" if variant != experiment.model.variant else ""
    print(f"weights from {source}{widened}" + (f"; untrained: {', '.join(untrained)}" if untrained else ""))


def _load_run(folder: Path) -> tuple[keras.Model, ModelInfo]:
    if folder.is_file():
        raise UserError(
            f"--init_from={folder} is a file; name a run's folder, or give a converted .keras file to --pretrained"
        )
    return model_folder.load_run(folder)


def _read_conversion(path: Path) -> ModelInfo:
    """Reads what `keras_pose.models.pretrained` wrote beside a .keras file."""
    if path.is_dir():
        raise UserError(
            f"--pretrained={path} is a folder; name a .keras file written by keras_pose.models.pretrained, "
            "or give a run's folder to --init_from"
        )
    if not path.is_file():
        raise UserError(f"--pretrained={path}: there is no such file; convert one with keras_pose.models.pretrained")
    sidecar = sidecar_path(path)
    info = ModelInfo.read(
        sidecar,
        missing=f"--pretrained={path} lacks {sidecar.name}; copy both files of the conversion, "
        "or give a run's folder to --init_from",
        remedy="convert the checkpoint again",
    )
    if "initial" not in info.weights or "variant" not in info.model:
        raise UserError(f"{sidecar} is damaged (it names no weights or no variant); convert the checkpoint again")
    return info
