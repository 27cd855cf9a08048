"""Runs a model on a split and scores it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.core.progress import progress
from keras_pose.core.skeleton import Skeleton
from keras_pose.data import pipeline
from keras_pose.data.dataset import DatasetInfo, naming_broken_shards
from keras_pose.evaluation import scores as scoring
from keras_pose.evaluation.predictions import BatchPredictor, to_skeleton, with_decoder, with_flip_test
from keras_pose.io.model_info import OWN_CELL_CENTER
from keras_pose.models.decoders import HeatmapDecoder

PLACES, SAMPLES_EACH = ("best", "median", "worst"), 3  # samples to keep


@dataclass(frozen=True)
class Sample:
    """One example with its prediction.

    `place` is best, median or worst. `example` is one row of a batch, and `predicted` of the outputs, in the data set's
    skeleton. `error` is the mean over the joints, in `unit`.
    """

    place: str
    example: dict
    predicted: dict
    error: float
    unit: str


@dataclass(frozen=True)
class EvaluationResult:
    """The result of `evaluate_model`.

    Attributes:
        dataset, model: what was evaluated, as values for JSON.
        skeleton, image_size: of the data set.
        scores: from `score_batch`, one row per example.
        actions: (N,) strings.
        outputs: names of what the model predicts: `keypoints_2d`, `pose_3d` ...
        samples: best, median and worst by 3D error, or by 2D error if there is no 3D; empty without images.
    """

    split: str
    dataset: dict
    model: dict
    skeleton: Skeleton
    image_size: tuple[int, int] | None
    scores: dict[str, np.ndarray]
    actions: np.ndarray
    outputs: frozenset[str]
    samples: tuple[Sample, ...]

    @property
    def count(self) -> int:
        return len(self.actions)

    def summary(self, rows=slice(None)) -> dict:
        """The metrics over all or some examples; a metric is None if nothing is labeled or predicted for it."""
        return {name: scoring.mean(self.scores[key][rows]) for name, key in scoring.SUMMARY.items()}

    def per_joint(self) -> dict[str, dict]:
        """The metrics of each joint."""
        return {
            joint: {name: scoring.mean(self.scores[key][:, j]) for name, key in scoring.PER_JOINT.items()}
            for j, joint in enumerate(self.skeleton.joint_names)
        }

    def per_action(self) -> dict[str, dict]:
        """The metrics of each action, with its `count`."""
        rows = {str(action): self.actions == action for action in sorted(set(self.actions))}
        return {action: {"count": int(these.sum())} | self.summary(these) for action, these in rows.items()}

    def per_posture(self) -> dict[str, dict]:
        """The metrics of upright people and of the others, each with its `count`.

        Examples whose labels do not show the posture are in neither.
        """
        rows = {"upright": self.scores["upright"] == 1, "not upright": self.scores["upright"] == 0}
        return {name: {"count": int(these.sum())} | self.summary(these) for name, these in rows.items()}

    def to_dict(self) -> dict:
        """The content of evaluation.json."""
        about = {"split": self.split, "count": self.count, "dataset": self.dataset, "model": self.model}
        parts = {"joint": self.per_joint(), "action": self.per_action(), "posture": self.per_posture()}
        return about | self.summary() | {f"per_{name}": part for name, part in parts.items()}


def evaluate_model(
    predict: BatchPredictor,
    skeleton: Skeleton,
    dataset: DatasetInfo,
    split: str = "test",
    batch_size: int = 32,
    flip_test: bool = False,
    decoder: HeatmapDecoder | None = None,
    name: str = "model",
    flip_tested: bool = False,
) -> EvaluationResult:
    """Runs a model on a split and scores it.

    Predictions are mapped to the data set's skeleton by joint name (`map_joints`); only joints in both are scored. For
    the mean-pose error, the constant prediction is the mean of the data set's training split.

    Args:
        predict: see `batch_predictor`.
        skeleton: of the predictions.
        flip_test: average with the prediction for the mirrored image.
        decoder: reads `keypoints_2d` from the `heatmaps` of `heatmap_predictor`, after the flip test; None keeps the
            model's own.
        name: of the model, for the report.
        flip_tested: whether `predict` already does the flip test; `flip_test` is then only reported.

    Raises:
        UserError: images do not fit the model, predictions are NaN, or a shard is broken.
    """
    if flip_test and not flip_tested:
        cell_center = decoder.cell_center if decoder else OWN_CELL_CENTER
        predict = with_flip_test(predict, skeleton, cell_center, dataset.skeleton)
    if decoder:
        predict = with_decoder(predict, decoder)
    mean_pose_mm = _training_mean_pose(dataset)

    def batches(skip: int = 0):
        return pipeline.make_batches(
            dataset, split, batch_size, training=False, skip_batches=skip, with_metadata=True
        ).as_numpy_iterator()

    def predict_batch(batch: dict) -> dict:
        return to_skeleton(predict(batch), skeleton, dataset.skeleton)

    @lru_cache  # samples often share a batch
    def read_again(index: int) -> tuple[dict, dict]:
        batch = next(batches(skip=index))
        return batch, predict_batch(batch)

    def one_row(row: int) -> tuple[dict, ...]:
        return tuple({k: v[row % batch_size] for k, v in part.items()} for part in read_again(row // batch_size))

    parts, actions, outputs = [], [], set()
    total = math.ceil(dataset.count(split) / batch_size)
    with naming_broken_shards(dataset):
        for batch in progress(batches(), total, "batch", description=f"evaluate {split}"):
            predicted = predict_batch(batch)
            outputs |= set(predicted)
            parts.append(scoring.score_batch(batch, predicted, dataset.skeleton, dataset.crop_size, mean_pose_mm))
            actions.extend(action.decode() for action in batch["action"])
    scores = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return EvaluationResult(
        split=split,
        dataset={"spec": dataset.spec, "manifest_hash": dataset.manifest_hash, "skeleton": dataset.skeleton.name},
        model={"name": name, "skeleton": skeleton.name, "flip_test": flip_test, "decoder": decoder and decoder.name},
        skeleton=dataset.skeleton,
        image_size=dataset.image_size,
        scores=scores,
        actions=np.array(actions),
        outputs=frozenset(outputs),
        samples=_choose_samples(scores, one_row) if dataset.image_size else (),
    )


def _training_mean_pose(dataset: DatasetInfo) -> np.ndarray | None:
    """(J, 3) mm; None if the data set has no training split."""
    try:
        return np.array(dataset.statistics["pose_3d_mean"], np.float32)
    except UserError:
        return None


def _choose_samples(scores: dict, one_row: Callable[[int], tuple[dict, ...]]) -> tuple[Sample, ...]:
    """The best, median and worst examples; `one_row` returns an example and its prediction by row."""
    has_3d = not np.isnan(scores["error_mm"]).all()
    key, unit = ("error_mm", "mm") if has_3d else ("error_px", "px")
    errors = np.array([np.nan if (value := scoring.mean(row)) is None else value for row in scores[key]])
    order = [int(row) for row in np.argsort(errors) if not np.isnan(errors[row])]
    middle = max(0, (len(order) - SAMPLES_EACH) // 2)
    chosen = (order[:SAMPLES_EACH], order[middle : middle + SAMPLES_EACH], order[::-1][:SAMPLES_EACH])
    return tuple(
        Sample(place, *one_row(row), float(errors[row]), unit)
        for place, rows in zip(PLACES, chosen, strict=True)
        for row in rows
    )
