"""The whole configuration of a run as frozen dataclasses; `keras_pose.flags` builds it from the command line."""

import math
from dataclasses import asdict, dataclass, field

from keras_pose.core.errors import UserError, unknown_name
from keras_pose.data.augment import AugmentConfig
from keras_pose.data.pipeline import SHARD_BY
from keras_pose.losses import LossConfig
from keras_pose.models.pose_model import PoseModelConfig
from keras_pose.training.schedule import SCHEDULES

PHASES = ("hrnet", "lifter", "e2e")
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")
OPTIMIZERS = ("adam", "muon")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclass(frozen=True)
class DataConfig:
    """Where the examples come from.

    Attributes:
        dataset: what `keras_pose.data.dataset.open_dataset` takes.
        batch_size: of the whole, global batch.
        passes: how often an epoch goes over the training split.
        shard_by, data_service: see `keras_pose.data.pipeline.make_batches`; validation is decoded by the trainers.
    """

    dataset: str = "embedded"
    batch_size: int = 32
    passes: int = 1
    shard_by: str = "examples"
    data_service: str = ""

    def __post_init__(self):
        if self.shard_by not in SHARD_BY:
            raise unknown_name("way to share data out", self.shard_by, SHARD_BY)
        _check(self.batch_size >= 1, f"batch size is {self.batch_size}; give at least 1")
        _check(self.passes >= 1, f"an epoch has {self.passes} passes over the data; give at least 1")


@dataclass(frozen=True)
class PhaseConfig:
    """One phase of training.

    Attributes:
        name: `hrnet` trains the backbone on L_joint2D, `lifter` the encoder and decoder on labelled 2D keypoints,
            `e2e` everything together.
        flip: probability of mirroring; the other augmentations are the run's.
    """

    name: str
    epochs: int
    learning_rate: float = 1e-3
    flip: float = 0.0

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
    """The optimizer and its learning rate.

    Attributes:
        name: `adam` for all, or `muon` for the backbone's convolutions, see `keras_pose.training.muon`.
        schedule: a row of `keras_pose.training.schedule.SCHEDULES`.
        warmup_steps: steps of linear growth at the start of every phase.
        step_epochs: epochs of a phase after which schedule `step` multiplies the rate by `step_factor`.
        clip_norm: largest norm of the whole gradient; 0 leaves it.
        ema: decay of the moving average of the weights, which is then what is validated and saved; 0 keeps none.
        discriminator_learning_rate: of the critic of the adversarial prior, constant.
        muon_factor: a step of Muon moves a kernel by this times the learning rate, as a share of the kernel's norm.
    """

    name: str = "adam"
    schedule: str = "constant"
    warmup_steps: int = 0
    step_epochs: tuple[int, ...] = ()
    step_factor: float = 0.1
    clip_norm: float = 0.0
    ema: float = 0.0
    discriminator_learning_rate: float = 1e-3
    muon_factor: float = 20.0
    muon_momentum: float = 0.9
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7

    def __post_init__(self):
        if self.name not in OPTIMIZERS:
            raise unknown_name("optimizer", self.name, OPTIMIZERS)
        _check(self.muon_factor > 0, f"factor of Muon's steps is {self.muon_factor}; give a positive number")
        if self.schedule not in SCHEDULES:
            raise unknown_name("learning-rate schedule", self.schedule, SCHEDULES)
        _check(
            (self.schedule == "step") == bool(self.step_epochs),
            "--schedule=step and --step_epochs belong together; give both, or neither",
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
    """How training runs.

    Attributes:
        phases: one after the other; each goes on with the weights of the one before.
        log_steps: steps between two lines of metrics.jsonl.
        checkpoint_steps: steps between two checkpoints within an epoch; 0 writes them after epochs alone.
        init_from: a run folder, or the name of shipped weights, that training starts from; empty starts afresh.
        pretrained: a .keras file of `keras_pose.models.pretrained` whose backbone training starts from, instead.
        accumulate_steps: parts that a device computes its share of a batch in, one after the other; the update is one.
        sync_batch_norm: whether batch norm sees the global batch, not each device its share.
        jit_compile: whether XLA compiles the network's forward and backward pass.
        threads_per_operation: threads that share one operation on a CPU; 0 takes all processors. Few leave room for
            HRNet's branches to run beside each other.
    """

    phases: tuple[PhaseConfig, ...]
    seed: int = 0
    strategy: str = "auto"
    precision: str = "float32"
    log_steps: int = 20
    checkpoint_steps: int = 0
    init_from: str = ""
    pretrained: str = ""
    accumulate_steps: int = 1
    sync_batch_norm: bool = False
    jit_compile: bool = False
    threads_per_operation: int = 0

    def __post_init__(self):
        names = [phase.name for phase in self.phases]
        _check(len(names) > 0, f"no phase to train; choose from {', '.join(PHASES)}")
        _check(len(set(names)) == len(names), f"phases {','.join(names)} repeat; list each once")
        if self.strategy not in STRATEGIES:
            raise unknown_name("strategy", self.strategy, STRATEGIES)
        if self.precision not in PRECISIONS:
            raise unknown_name("precision", self.precision, PRECISIONS)
        _check(
            not (self.init_from and self.pretrained),
            "training starts from a run (--init_from) or from a converted backbone (--pretrained); give one of them",
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
    """Everything that a run depends on; `output` is its folder."""

    output: str
    model: PoseModelConfig
    train: TrainConfig
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=lambda: AugmentConfig(flip=0.0))
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self):
        _check(
            self.kind != "keypoints" or not self.loss.adversarial_weight,
            "--adversarial_weight judges 3D poses, and phase hrnet makes none; "
            "leave it out, or add phase lifter or e2e to --phases",
        )
        _check(
            self.kind != "lifter" or self.optimizer.name != "muon",
            "--optimizer=muon moves the backbone's convolutions, and phase lifter has none; "
            "leave it out, or add phase hrnet or e2e to --phases",
        )

    @property
    def kind(self) -> str:
        """What the run trains: `keypoints`, `lifter`, or `pose` for the whole model."""
        names = {phase.name for phase in self.train.phases}
        return {frozenset({"hrnet"}): "keypoints", frozenset({"lifter"}): "lifter"}.get(frozenset(names), "pose")

    def to_dict(self) -> dict:
        """Values that JSON can hold."""
        return asdict(self)


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)
