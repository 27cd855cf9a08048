"""What a contestant of a speed contest is, and what it can do: `keras_side` and `torch_side` have them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

BATCH_FILE, WEIGHTS_FILE = "batch.npz", "weights.npz"
NUM_CHECKED = 2  # images whose heatmaps are compared


@dataclass(frozen=True)
class Spec:
    """What a contestant is.

    Attributes:
        name: how tables call it.
        framework: `keras_pose`, `keras_fit` or `torch`.
        variant, input_size, precision: as the training flags.
        folder: has the batch to learn, `batch.npz` (see `contest.write_batch`), and the initial weights,
            `weights.npz`, named as in the official code; without these each contestant draws its own.
        cores: processors that it may use; 0 leaves all.
        threads_per_operation: TensorFlow's; 0 takes as many as there are processors.
        channels_last: PyTorch's memory format.
        compiler: the backend of `torch.compile`; empty runs eagerly.
        writes_weights: whether this one writes `weights.npz`.
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
        """`image` (B, H, W, 3) uint8, `keypoints_2d`, ... as in docs/architecture.md, and `heatmaps` to learn."""
        return dict(np.load(Path(self.folder, BATCH_FILE)))

    def weights(self) -> dict[str, np.ndarray] | None:
        path = Path(self.folder, WEIGHTS_FILE)
        return dict(np.load(path)) if path.is_file() else None

    @property
    def heatmaps_file(self) -> Path:
        """Where the contestant's first heatmaps of `NUM_CHECKED` images go, (N, H/4, W/4, J) float32."""
        return Path(self.folder, f"{self.name}.npy")


class Side:
    """What a contestant can do. `device`: `cpu` or `gpu`."""

    device = "cpu"

    def heatmaps(self) -> np.ndarray:
        """(B, H/4, W/4, J) by inference."""
        raise NotImplementedError

    def train(self, count: int) -> dict[str, float]:
        """Does steps of training; returns the `loss`, and where it is known the `gradient_norm`, of the last."""
        raise NotImplementedError

    def infer(self, count: int) -> None:
        """Does steps of inference."""
        raise NotImplementedError

    def matrix_share(self) -> float | None:
        """The share of a training step's operations' time that convolutions and matrix products take."""
        return None

    def device_peak_mib(self) -> float | None:
        """The peak of an accelerator's memory; None on a CPU."""
        return None
