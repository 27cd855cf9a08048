"""The whole configuration of a run as frozen dataclasses; `keras_pose.flags` builds it from the command line.

Each class raises UserError for values that are out of range or exclude each other.
"""

import math
from dataclasses import MISSING, asdict, dataclass, field

from keras_pose.core.errors import UserError, unknown_name
from keras_pose.core.options import option
from keras_pose.data.augment import AugmentConfig
from keras_pose.data.pipeline import SHARD_BY
from keras_pose.losses import LossConfig
from keras_pose.models.pose_model import PoseModelConfig
from keras_pose.models.precision import PRECISIONS

PHASES = ("hrnet", "lifter", "e2e")
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")
OPTIMIZERS = ("adam", "muon")
SCHEDULES = ("constant", "cosine", "step")


@dataclass(frozen=True)
class DataConfig:
    """The source of the examples; see `keras_pose.data.dataset.open_dataset` and `keras_pose.data.pipeline`."""

    dataset: str = option(
        "embedded",
        "embedded, a folder (also gs://...), a pattern of folders or of shards, or a weighted mix a:0.7,b:0.3.",
    )
    batch_size: int = option(32, "Examples per step, over all devices together.")
    passes: int = option(1, "Passes over the training data per epoch.")
    shard_by: str = option(
        "examples",
        "What each worker gets: a share of the examples (all read the same files), or a share of the files.",
        choices=SHARD_BY,
    )
    data_service: str = option("", "grpc://HOST:PORT of keras_pose.data.service, to decode on other machines.")

    def __post_init__(self):
        if self.shard_by not in SHARD_BY:
            raise unknown_name("way to divide the data", self.shard_by, SHARD_BY)
        _check(self.batch_size >= 1, f"batch size is {self.batch_size}; give at least 1")
        _check(self.passes >= 1, f"passes per epoch is {self.passes}; give at least 1")


@dataclass(frozen=True)
class PhaseConfig:
    """One phase of training.

    Attributes:
        name: `hrnet` trains the backbone on L_joint2D, `lifter` the encoder and decoder on labeled 2D keypoints,
            `e2e` everything together.
    """

    name: str
    epochs: int = option(MISSING, "Epochs of phase {phase}.")
    learning_rate: float = option(1e-3, "Learning rate of phase {phase}.")
    flip: float = option(0.0, "Probability of mirroring an example in phase {phase}, from 0 to 1.")

    def __post_init__(self):
        if self.name not in PHASES:
            raise unknown_name("phase", self.name, PHASES)
        _check(self.epochs >= 1, f"phase {self.name} has {self.epochs} epochs; give at least 1, or leave it out")
        _check(
            0 < self.learning_rate < math.inf,
            f"learning rate of {self.name} is {self.learning_rate}; give a positive number",
        )
        _check(0 <= self.flip <= 1, f"flip of {self.name} is {self.flip}; give --{self.name}_flip a number from 0 to 1")


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer and its learning rate."""

    name: str = option(
        "adam",
        "adam for everything, or muon for the backbone's convolutions and adam for the rest.",
        choices=OPTIMIZERS,
        flag="optimizer",
    )
    schedule: str = option("constant", "Learning-rate schedule within each phase.", choices=SCHEDULES)
    warmup_steps: int = option(0, "Steps of linear warm-up at the start of every phase.")
    step_epochs: tuple[int, ...] = option((), "With --schedule=step: epochs after which the learning rate drops.")
    step_factor: float = option(0.1, "With --schedule=step: factor applied to the learning rate at each drop.")
    clip_norm: float = option(0.0, "Clip the norm of the whole gradient to this; 0 disables clipping.")
    ema: float = option(
        0.0, "Decay of the moving average of the weights, which is validated and saved instead; 0 disables it."
    )
    discriminator_learning_rate: float = option(
        1e-3, "With --adversarial_weight: the discriminator's learning rate, constant."
    )
    muon_factor: float = option(
        20.0,
        "With --optimizer=muon: the size of a kernel's step relative to its norm, as a multiple of the learning rate.",
    )
    muon_momentum: float = 0.9
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7

    def __post_init__(self):
        if self.name not in OPTIMIZERS:
            raise unknown_name("optimizer", self.name, OPTIMIZERS)
        _check(self.muon_factor > 0, f"Muon's factor is {self.muon_factor}; give a positive number")
        if self.schedule not in SCHEDULES:
            raise unknown_name("learning-rate schedule", self.schedule, SCHEDULES)
        _check(
            (self.schedule == "step") == bool(self.step_epochs),
            "--schedule=step and --step_epochs must be used together; give both, or neither",
        )
        _check(
            0 < self.step_factor < math.inf, f"factor of --schedule=step is {self.step_factor}; give a positive number"
        )
        _check(self.warmup_steps >= 0, f"warm-up is {self.warmup_steps} steps; give 0 or more")
        _check(self.clip_norm >= 0, f"gradient clipping is {self.clip_norm}; give a positive norm, or 0 for none")
        _check(
            self.discriminator_learning_rate > 0,
            f"learning rate of the discriminator is {self.discriminator_learning_rate}; give a positive number",
        )
        _check(0 <= self.ema < 1, f"EMA decay is {self.ema}; give a number below 1 such as 0.999, or 0 for none")


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The phases run in order; each starts with the weights of the previous one."""

    phases: tuple[PhaseConfig, ...] = option(
        MISSING,
        "Phases in this order: hrnet (the backbone's heatmaps), lifter (2D to 3D, from labeled 2D), e2e (everything).",
        flag_default=("hrnet", "e2e"),
    )
    seed: int = option(0, "Seed of all randomness.")
    strategy: str = option(
        "auto", "Devices; auto: the workers in TF_CONFIG, else all GPUs, else one device.", choices=STRATEGIES
    )
    precision: str = option(
        "float32",
        "Precision of the backbone; auto: mixed_bfloat16 if the hardware supports it, else float32.",
        choices=("auto", *PRECISIONS),
    )
    log_steps: int = option(20, "Steps between lines of metrics.jsonl.")
    checkpoint_steps: int = option(0, "Steps between checkpoints within an epoch; 0: only after epochs.")
    init_from: str = option(
        "",
        "Start from the weights of this run folder, or from shipped weights by name; a narrower backbone is widened.",
    )
    init_without: tuple[str, ...] = option(
        (),
        "Parts (encoder) and layers of parts (hrnet/final_layer) that --init_from or --pretrained leaves random.",
    )
    pretrained: str = option("", "Start the backbone from this .keras file, written by keras_pose.models.pretrained.")
    accumulate_steps: int = option(1, "Number of parts in which each device computes its batch, to save memory.")
    sync_batch_norm: bool = option(False, "Compute batch norm over the global batch, not per device.")
    jit_compile: bool = option(False, "Compile the network's forward and backward pass with XLA.")
    threads_per_operation: int = option(
        0, "Threads per operation; 0 uses all processors, 1 suits small networks, as in e2e.flags."
    )
    speed_tricks: bool = option(
        True, "If off, train with stock Keras layers and optimizers, which is slower (models/tensorflow_speed.py)."
    )

    def __post_init__(self):
        names = [phase.name for phase in self.phases]
        _check(len(names) > 0, f"no phase to train; choose from {', '.join(PHASES)}")
        _check(len(set(names)) == len(names), f"phases {','.join(names)} contain duplicates; list each once")
        if self.strategy not in STRATEGIES:
            raise unknown_name("strategy", self.strategy, STRATEGIES)
        if self.precision not in PRECISIONS:
            raise unknown_name("precision", self.precision, PRECISIONS)
        _check(
            not (self.init_from and self.pretrained),
            "--init_from (a run) and --pretrained (a converted backbone) are mutually exclusive; give one of them",
        )
        _check(0 <= self.seed < 2**31, f"seed is {self.seed}; give a whole number from 0 to 2147483647")
        _check(self.log_steps >= 1, f"log interval is {self.log_steps} steps; give at least 1")
        _check(self.checkpoint_steps >= 0, f"checkpoint interval is {self.checkpoint_steps} steps; give 0 or more")
        _check(
            self.accumulate_steps >= 1, f"a batch has {self.accumulate_steps} parts; give --accumulate_steps=1 or more"
        )
        _check(
            self.threads_per_operation >= 0,
            f"an operation has {self.threads_per_operation} threads; give --threads_per_operation=1 or more, 0 for all",
        )


@dataclass(frozen=True)
class Experiment:
    """Everything a run depends on."""

    output: str = option(MISSING, "Folder for the run: model, curves, checkpoints.", flag_default="runs/train")
    model: PoseModelConfig
    train: TrainConfig
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=lambda: AugmentConfig(flip=0.0))
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self):
        _check(
            self.kind != "keypoints" or not self.loss.adversarial_weight,
            "--adversarial_weight needs 3D poses, which phase hrnet does not predict; "
            "leave it out, or add phase lifter or e2e to --phases",
        )
        _check(
            self.kind != "lifter" or self.optimizer.name != "muon",
            "--optimizer=muon trains the backbone's convolutions, which phase lifter does not have; "
            "leave it out, or add phase hrnet or e2e to --phases",
        )

    @property
    def kind(self) -> str:
        """What the run trains: `keypoints`, `lifter`, or `pose` for the whole model."""
        names = {phase.name for phase in self.train.phases}
        return {frozenset({"hrnet"}): "keypoints", frozenset({"lifter"}): "lifter"}.get(frozenset(names), "pose")

    def to_dict(self) -> dict:
        """Values for JSON."""
        return asdict(self)


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)
