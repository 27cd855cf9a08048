"""The weights that a run starts from: those of another run, or a published backbone's."""

import json
from pathlib import Path

import keras

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton
from keras_pose.models import model_folder
from keras_pose.training.experiment import Experiment
from keras_pose.training.phases import transfer_weights
from keras_pose.weights import SHIPPED_WEIGHTS


def load_initial_weights(experiment: Experiment, model: keras.Model) -> None:
    """Puts what `init_from` or `pretrained` of `TrainConfig` names into `model`, and prints what stays untrained.

    Raises:
        UserError: a folder where a file is wanted or the reverse, weights that are missing, damaged or of another
            architecture.
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
        if info["model"]["variant"] != experiment.model.variant:
            raise UserError(
                f"--pretrained={source} is HRNet {info['model']['variant']}, the run's {experiment.model.variant}; "
                f"add --variant={info['model']['variant']}"
            )
        loaded = model_folder.load_model(source)
    joints = Skeleton.from_dict(info["skeleton"]).joint_names
    if "final_layer" in info.get("weights", {}).get("initial", ()):  # a classifier's: it has no heatmaps
        joints = ()
    same_joints = joints == experiment.model.get_skeleton().joint_names
    untrained = transfer_weights(loaded, model, str(source), same_joints)
    variant = info.get("model", {}).get("variant", experiment.model.variant)
    widened = f", HRNet {variant}, widened" if variant != experiment.model.variant else ""
    print(f"weights from {source}{widened}" + (f"; untrained: {', '.join(untrained)}" if untrained else ""))


def _load_run(folder: Path) -> tuple[keras.Model, dict]:
    if folder.is_file():
        raise UserError(
            f"--init_from={folder} is a file; name a run's folder, or give a converted .keras file to --pretrained"
        )
    return model_folder.load_run(folder)


def _read_conversion(path: Path) -> dict:
    """What `keras_pose.models.pretrained` wrote beside a .keras file."""
    if path.is_dir():
        raise UserError(
            f"--pretrained={path} is a folder; name a .keras file that keras_pose.models.pretrained has written, "
            "or give a run's folder to --init_from"
        )
    if not path.is_file():
        raise UserError(f"--pretrained={path}: there is no such file; convert one by keras_pose.models.pretrained")
    sidecar = path.with_name(path.name + ".json")
    try:
        info = json.loads(sidecar.read_text())
        info["weights"]["initial"], info["model"]["variant"], info["skeleton"]["joint_names"]  # all that is used
        return info
    except FileNotFoundError:
        raise UserError(
            f"--pretrained={path} lacks {sidecar.name}; copy both files of the conversion, "
            "or give a run's folder to --init_from"
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{sidecar} is damaged ({error!r}); convert the checkpoint again") from error
