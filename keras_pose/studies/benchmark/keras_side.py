"""The Keras contestants: this project's own step, and plain Keras `fit`."""

import tempfile

import keras
import numpy as np
import tensorflow as tf

from keras_pose.data.augment import AugmentConfig
from keras_pose.models.batch_norm import FusedBatchNormalization
from keras_pose.models.hrnet_checkpoint import load_weights
from keras_pose.models.pose_model import PoseModelConfig
from keras_pose.models.precision import layer_precision
from keras_pose.studies.benchmark import kernels
from keras_pose.studies.benchmark.side import Side, Spec
from keras_pose.studies.benchmark.training_step import LEARNING_RATE, make_steps
from keras_pose.training import distribution, phases
from keras_pose.training.experiment import DataConfig, Experiment, PhaseConfig, TrainConfig

PROFILED_STEPS = 3


class _KerasSide(Side):
    """Shared by both: the network with its initial weights, and inference. On one device by default."""

    def __init__(self, spec: Spec, strategy: tf.distribute.Strategy | None = None):
        if spec.threads_per_operation:
            tf.config.threading.set_intra_op_parallelism_threads(spec.threads_per_operation)
        self.spec, self.batch = spec, spec.batch()
        self.device = "gpu" if tf.config.list_physical_devices("GPU") else "cpu"
        self.strategy = strategy or distribution.make_strategy("one_device")
        self.experiment = Experiment(
            output="",
            model=PoseModelConfig(variant=spec.variant, input_size=spec.input_size),
            train=TrainConfig((PhaseConfig("hrnet", 1),), precision=spec.precision),
            data=DataConfig(batch_size=len(self.batch["image"]) * self.strategy.num_replicas_in_sync),
            augment=AugmentConfig(brightness=0, contrast=0, saturation=0, flip=0),
        )
        self.images = tf.constant(self.batch["image"])
        with layer_precision(spec.precision), self.strategy.scope():
            self.phase = phases.Phase("hrnet", phases.build_model(self.experiment, {}))
            self.hrnet = self._network(self.phase.model.get_layer("hrnet"))
            weights = spec.weights()
            if weights:
                load_weights(self.hrnet, weights, spec.variant)
            self._prepare()

        @tf.function(autograph=False)
        def infer(images):
            return self.hrnet(tf.cast(images, tf.float32), training=False)

        self._infer = infer

    def _network(self, hrnet: keras.Model) -> keras.Model:
        return hrnet

    def _prepare(self) -> None:
        """Prepares training, under the strategy."""

    def heatmaps(self) -> np.ndarray:
        return self._infer(self.images).numpy()

    def infer(self, count: int) -> None:
        for _ in range(count):
            self._infer(self.images).numpy()

    def matrix_share(self) -> float | None:
        if self.device == "gpu":
            return None  # on a GPU, operations only launch kernels
        with tempfile.TemporaryDirectory() as directory:
            tf.profiler.experimental.start(directory)
            self.train(PROFILED_STEPS)
            tf.profiler.experimental.stop()
            return kernels.matrix_share(kernels.operation_times(directory))

    def device_peak_mib(self) -> float | None:
        if self.device == "cpu":
            return None
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] / (1 << 20)


class KerasPoseSide(_KerasSide):
    """The step of `keras_pose.train`, without augmentation."""

    def _prepare(self) -> None:
        (self._step,) = make_steps(self.strategy, self.phase, self.experiment)
        self._inputs = {name: tf.constant(value) for name, value in self.batch.items() if name != "heatmaps"}
        self._done = 0

    def train(self, count: int) -> dict[str, float]:
        for _ in range(count):
            result = self._step(self._inputs, tf.constant(self._done), tf.constant(1.0))
            values = {name: float(result[name]) for name in ("loss", "gradient_norm")}
            self._done += 1
        return values


class _LastLoss(keras.callbacks.Callback):
    loss = 0.0

    def on_train_batch_end(self, batch, logs=None):
        self.loss = logs["loss"]


class KerasFitSide(_KerasSide):
    """The same network with Keras' own batch norm, trained by `fit` with Keras' Adam."""

    def _network(self, hrnet: keras.Model) -> keras.Model:
        return keras.models.clone_model(hrnet, clone_function=_plain)

    def _prepare(self) -> None:
        self.hrnet.compile(keras.optimizers.Adam(LEARNING_RATE), "mse")
        self._data = tf.data.Dataset.from_tensors((self.batch["image"], self.batch["heatmaps"])).repeat()

    def train(self, count: int) -> dict[str, float]:
        last = _LastLoss()
        self.hrnet.fit(self._data, steps_per_epoch=count, verbose=0, callbacks=[last])
        return {"loss": float(last.loss) * float(np.prod(self.hrnet.output_shape[1:3]))}  # a mean to a sum over cells


def _plain(layer):
    """Keras' own layer instead of the fused one."""
    if not isinstance(layer, FusedBatchNormalization):
        return layer.__class__.from_config(layer.get_config())
    return keras.layers.BatchNormalization(momentum=layer.momentum, epsilon=layer.epsilon, name=layer.name)
