"""The finder in training: its network, the moving average of its weights, its optimizer and its training step."""

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_pose import __version__
from keras_pose.io.finder_info import FinderInfo
from keras_pose.losses.centers import box_loss, center_loss
from keras_pose.models import finder, model_folder
from keras_pose.models.precision import fastest_precision, layer_precision
from keras_pose.training.experiment import OptimizerConfig
from keras_pose.training.muon import make_optimizer

CLIP_NORM, MUON_FACTOR = 5.0, 8.0
BOX_WEIGHT = 1.0
PART = 32  # scenes per forward pass in validation
READY_BATCHES = 4  # batches composed ahead of the training step
Batch = dict[str, np.ndarray]


class Learner:
    """A finder in training, on batches of `image` (B, S, S, 3) uint8 and the maps of `keras_pose.finding.targets`."""

    stride = finder.STRIDE

    def __init__(self, size: int, precision: str, threads_per_operation: int, seed: int):
        """Builds the network.

        Args:
            size: side of the square input in pixels.
            precision: a layer precision, or `auto` for the fastest on this hardware.
            threads_per_operation: 0 leaves the number to TensorFlow, which uses all processors.
            seed: of the initial weights.
        """
        keras.utils.set_random_seed(seed)
        if threads_per_operation:
            tf.config.threading.set_intra_op_parallelism_threads(threads_per_operation)
        self._size = size
        with layer_precision(fastest_precision() if precision == "auto" else precision):
            self._model = finder.build_finder(size)
        self._average = finder.build_finder(size)  # in float32, because this is what `save` writes
        self._average.set_weights(self._model.get_weights())
        self._optimizer = make_optimizer(
            self._model.trainable_variables, OptimizerConfig(name="muon", muon_factor=MUON_FACTOR, clip_norm=CLIP_NORM)
        )

    def start_from(self, folder: Path) -> list[str]:
        """Copies the weights of a finder's run or of a pose model's HRNet; returns the layers that stay untrained."""
        untrained = finder.start_from(self._model, model_folder.load_model(folder / model_folder.MODEL))
        self._optimizer.take_up()
        self._average.set_weights(self._model.get_weights())
        return untrained

    def prefetched(self, batches: Iterator[Batch], count: int) -> tf.data.Dataset:
        """The next `count` batches, composed in another thread while the training step runs."""
        first = next(batches)
        signature = {name: tf.TensorSpec(values.shape, values.dtype) for name, values in first.items()}

        def all_batches():
            yield first
            yield from batches

        data = tf.data.Dataset.from_generator(all_batches, output_signature=signature)
        return data.take(count).prefetch(READY_BATCHES)

    def step(self, batch: Batch, learning_rate: float, momentum: float) -> dict[str, float]:
        """Runs one training step and returns its losses; `momentum` is the share that the averaged weights keep."""
        values = self._step(batch, *tf.constant([learning_rate, momentum], tf.float32))
        return {name: float(value) for name, value in values.items()}

    @tf.function(reduce_retracing=True)
    def _step(self, batch, learning_rate, momentum):
        with tf.GradientTape() as tape:
            losses = _losses(batch, self._model(tf.cast(batch["image"], tf.float32), training=True))
            loss = losses["center_loss"] + BOX_WEIGHT * losses["box_loss"]
        gradients = tape.gradient(loss, self._model.trainable_variables)
        self._optimizer.apply(self._optimizer.flatten(gradients), learning_rate)
        for kept, now in zip(self._average.variables, self._model.variables, strict=True):
            kept.assign(momentum * kept + (1 - momentum) * now)
        return losses

    def losses(self, batch: Batch) -> dict[str, float]:
        """The losses of the averaged weights on a batch."""
        images = batch["image"].astype(np.float32)
        parts = [self._average(images[i : i + PART], training=False) for i in range(0, len(images), PART)]
        outputs = {name: tf.concat([part[name] for part in parts], 0) for name in parts[0]}
        return {name: float(value) for name, value in _losses(batch, outputs).items()}

    def save(self, output: Path, metrics: dict) -> None:
        """Writes the averaged weights: model.keras, and model.json with `metrics`."""
        size, versions = (self._size, self._size), {"keras_pose": __version__}
        info = FinderInfo(input_size=size, stride=self.stride, versions=versions, metrics=metrics)
        model_folder.write_model(output, self._average, info)


def _losses(batch: Batch, outputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {
        "center_loss": center_loss(batch["centers"], batch["center_weight"], outputs["centers"]),
        "box_loss": box_loss(batch["boxes"], batch["box_weight"], outputs["boxes"]),
    }
