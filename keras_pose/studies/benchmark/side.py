"""The interface of a contestant in a speed contest; `keras_side` and `torch_side` implement it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

BATCH_FILE, WEIGHTS_FILE = "batch.npz", "weights.npz"
NUM_CHECKED = 2  # images whose heatmaps are compared


@dataclass(frozen=True)
class Spec:
    """The description of a contestant.

    Attributes:
        name: its name in tables.
        framework: `keras_pose`, `keras_fit` or `torch`.
        variant, input_size, precision: as the training flags.
        folder: contains the batch to learn, `batch.npz` (see `contest.write_batch`), and the initial weights,
            `weights.npz`, with the official code's names; without these, each contestant has its own random weights.
        cores: processors it may use; 0 means all.
        threads_per_operation: TensorFlow's; 0 means as many as processors.
        channels_last: PyTorch's memory format.
        compiler: the backend of `torch.compile`; empty for eager mode.
        writes_weights: whether this contestant writes `weights.npz`.
    """

    name: str
    framework: str
    variant: str
    input_size: tuple[int, int]
    precision: str
    folder: str
    cores: int = 0
    threads_per_operation: int = 0
    channels_last: bool = False
    compiler: str = ""
    writes_weights: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Spec":
        values = json.loads(text)
        return cls(**values | {"input_size": tuple(values["input_size"])})

    def batch(self) -> dict[str, np.ndarray]:
        """`image` (B, H, W, 3) uint8, `keypoints_2d`, ... as in docs/architecture.md, and the target `heatmaps`."""
        return dict(np.load(Path(self.folder, BATCH_FILE)))

    def weights(self) -> dict[str, np.ndarray] | None:
        path = Path(self.folder, WEIGHTS_FILE)
        return dict(np.load(path)) if path.is_file() else None

    @property
    def heatmaps_file(self) -> Path:
        """The file for the contestant's first heatmaps of `NUM_CHECKED` images, (N, H/4, W/4, J) float32."""
        return Path(self.folder, f"{self.name}.npy")


class Side:
    """The abilities of a contestant. `device`: `cpu` or `gpu`."""

    device = "cpu"

    def heatmaps(self) -> np.ndarray:
        """(B, H/4, W/4, J) from inference."""
        raise NotImplementedError

    def train(self, count: int) -> dict[str, float]:
        """Does training steps; returns the `loss` of the last and, if known, its `gradient_norm`."""
        raise NotImplementedError

    def infer(self, count: int) -> None:
        """Does inference steps."""
        raise NotImplementedError

    def matrix_share(self) -> float | None:
        """The share of convolutions and matrix products in the operations' time of a training step."""
        return None

    def device_peak_mib(self) -> float | None:
        """The peak memory of an accelerator; None on a CPU."""
        return None
