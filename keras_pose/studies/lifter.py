"""Both sides of the lifter study: the cost of a finished run, and the published baseline at that cost."""

import json
import math
from pathlib import Path

from keras_pose.core.errors import UserError
from keras_pose.data.dataset import DatasetInfo
from keras_pose.evaluation.predictions import with_detector_errors
from keras_pose.evaluation.result import evaluate_model
from keras_pose.io import atomic
from keras_pose.models import model_folder
from keras_pose.studies import martinez
from keras_pose.training import run_folder

COST = "cost.json"


def write_cost(folder: Path) -> tuple[float, int]:
    """Records the cost of a finished run; returns its seconds of processor time and its width."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    seconds = sum(line["processor_seconds"] for line in lines if line["kind"] == "epoch")
    model, info = model_folder.load_run(folder)
    if info.kind != "lifter":
        raise UserError(f"{folder} is not a lifter; give --recipe a flag file with only --phases=lifter")
    parameters = _count(model.get_layer("encoder").trainable_weights)
    atomic.write_json(folder / COST, {"processor_seconds": seconds, "parameters": parameters})
    return seconds, info.model["width"]


def _count(weights: list) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def baseline_is_finished(folder: Path, asked: dict) -> bool:
    """Whether the baseline in `folder` is finished.

    Raises UserError if it was trained with other values than those of `asked`, such as other data or noise.
    """
    if not (folder / run_folder.EVALUATION).is_file():
        return False
    cost = json.loads((folder / COST).read_text())
    changed = [name for name, value in asked.items() if cost.get(name, value) != value]
    if changed:
        raise UserError(
            f"{folder} was trained with another {changed[0]} ({cost[changed[0]]}, now {asked[changed[0]]}); "
            "delete it, or choose another --output"
        )
    return True


def train_baseline(
    dataset: DatasetInfo, folder: Path, width: int, processor_seconds: float, noise: float, seed: int
) -> None:
    """Trains the baseline for the given processor time, and writes its cost and its test scores to `folder`."""
    views = martinez.read_views(dataset, "train")
    model, examples = martinez.fit_martinez(views, width, processor_seconds, noise, seed)

    def predict(batch: dict) -> dict:
        affines = martinez.picture_affines(batch["intrinsics"], batch["image_size"])
        seen = {"pose_3d": batch["keypoints_2d"], "pose_3d_noisy": with_detector_errors(batch["keypoints_2d"])}
        return {
            name: model(martinez.to_picture(points, affines), training=False).numpy() for name, points in seen.items()
        }

    result = evaluate_model(predict, dataset.skeleton, dataset, "test", martinez.READ_AT_ONCE, name="martinez")
    parameters = _count(model.trainable_weights)
    asked = {"processor_seconds": processor_seconds, "width": width, "noise": noise, "data": dataset.manifest_hash}
    cost = asked | {"parameters": parameters, "examples": examples}
    atomic.write_json(folder / COST, cost)
    atomic.write_json(folder / run_folder.EVALUATION, result.to_dict())
