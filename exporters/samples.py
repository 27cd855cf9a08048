"""Real samples of a run's data, for calibration and for parity."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.data import pipeline
from keras_pose.data.dataset import DatasetInfo, naming_broken_shards, open_dataset
from keras_pose.io.model_info import ModelInfo

BATCH = 16


@dataclass(frozen=True)
class Samples:
    """Labeled examples; `image` is (N, H, W, 3) uint8, or None if the data has no images.

    The rest is as in a batch: `keypoints_2d` (N, J, 2) in [0, 1], `pose_3d` (N, J, 3) mm, `pose_3d_valid` (N, J).
    """

    image: np.ndarray | None
    keypoints_2d: np.ndarray
    pose_3d: np.ndarray
    pose_3d_valid: np.ndarray

    def __len__(self) -> int:
        return len(self.keypoints_2d)

    def batches(self, name: str) -> Iterator[np.ndarray]:
        """`image` or `keypoints_2d` in batches of at most 16."""
        values = getattr(self, name)
        for start in range(0, len(values), BATCH):
            yield values[start : start + BATCH]


def load_samples(dataset: str, splits: tuple[str, ...], count: int, info: ModelInfo, pictures: bool) -> Samples:
    """The first `count` examples (0: all) of the first split in `splits` that any part of the data set has.

    Args:
        info: of the run that needs them.
        pictures: whether the model needs images.

    Raises:
        UserError: no such split, a different size or skeleton than the run's, or missing images.
    """
    data = _fitting(open_dataset(dataset), info, pictures)
    manifests = [manifest for _, manifest in data.folders]
    split = next((name for name in splits if any(m.splits.get(name) for m in manifests)), splits[0])
    total = data.count(split)
    count = min(count, total) or total
    with naming_broken_shards(data):
        batches = list(pipeline.make_batches(data, split, BATCH, training=False).take(-(-count // BATCH)))
    columns = {name: np.concatenate([batch[name].numpy() for batch in batches])[:count] for name in batches[0]}
    labels = (columns[name] for name in ("keypoints_2d", "pose_3d", "pose_3d_valid"))
    return Samples(columns["image"] if pictures else None, *labels)


def _fitting(data: DatasetInfo, info: ModelInfo, pictures: bool) -> DatasetInfo:
    """The data at the model's size; raises UserError if they do not fit the model."""
    if data.skeleton != info.skeleton:
        raise UserError(
            f"{data.spec} has skeleton {data.skeleton.name}, the model has {info.skeleton.name}; name other data"
        )
    return data.at_size(info.input_size) if pictures else data
