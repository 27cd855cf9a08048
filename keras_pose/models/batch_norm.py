"""Batch normalization of images with PyTorch's running variance, in one fused kernel under TensorFlow.

Keras 3's own layer consists of about 20 small TensorFlow operations. HRNet-W32 has 290 such layers, and a training step
must trace, differentiate and optimize them all. `keras_pose.models.tensorflow_speed` has the kernel and its switch.
"""

import keras
from keras import ops

from keras_pose.models.tensorflow_speed import normalize_batch, tricks_are_on


@keras.saving.register_keras_serializable(package="keras_pose")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization over the last axis of (B, H, W, C), with the same variables as Keras' layer.

    The running variance is unbiased, n / (n - 1) times the batch's, as in PyTorch and in the fused kernel (Keras 3's
    layer keeps the biased one). Statistics are computed in float32 in every precision. With `synchronized` (as in
    Keras, only under TensorFlow), training statistics cover the images of all replicas.

    Raises:
        ValueError: when it is built for inputs that are not (B, H, W, C).
    """

    def __init__(self, momentum=0.9, epsilon=1e-5, **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)
        self.autocast = False

    def build(self, input_shape):
        if len(input_shape) != 4:
            raise ValueError(f"{self.name} normalizes (B, H, W, C) images, got {tuple(input_shape)}")
        super().build(input_shape)

    def call(self, inputs, training=None):
        inputs = ops.cast(inputs, self.compute_dtype)
        training = bool(training) and self.trainable
        if not tricks_are_on():
            return self._by_keras(inputs, training)
        if training and self.synchronized and _replicas() > 1:
            return self._over_replicas(inputs)
        return normalize_batch(inputs, self, training)

    def _by_keras(self, inputs, training):
        """Keras' own layer, with the running variance corrected to be unbiased."""
        before = ops.convert_to_tensor(self.moving_variance) * self.momentum
        outputs = super().call(inputs, training=training)
        if training:
            replicas = _replicas() if self.synchronized else 1
            count = replicas * ops.cast(ops.prod(ops.shape(inputs)[:3]), "float32")
            biased = ops.convert_to_tensor(self.moving_variance) - before  # the batch's contribution
            self.moving_variance.assign(before + biased * count / ops.maximum(count - 1.0, 1.0))
        return outputs

    def _over_replicas(self, inputs):
        """Training with the statistics of all replicas, which hold equally many images each.

        Moments are taken about the running mean, which keeps the square of a large mean from swamping the variance.
        """
        import tensorflow as tf

        context, replicas = tf.distribute.get_replica_context(), _replicas()
        x = tf.cast(inputs, tf.float32)
        shift = tf.convert_to_tensor(self.moving_mean)
        shifted = x - shift
        moments = tf.stack([tf.reduce_mean(shifted, (0, 1, 2)), tf.reduce_mean(tf.square(shifted), (0, 1, 2))])
        first, second = tf.unstack(context.all_reduce(tf.distribute.ReduceOp.SUM, moments) / replicas)
        mean, variance = shift + first, tf.maximum(second - tf.square(first), 0.0)
        count = tf.cast(replicas * tf.reduce_prod(tf.shape(x)[:3]), tf.float32)
        unbiased = variance * count / tf.maximum(count - 1.0, 1.0)
        self.moving_mean.assign(shift * self.momentum + mean * (1.0 - self.momentum))
        self.moving_variance.assign(self.moving_variance * self.momentum + unbiased * (1.0 - self.momentum))
        outputs = tf.nn.batch_normalization(x, mean, variance, self.beta, self.gamma, self.epsilon)
        return tf.cast(outputs, self.compute_dtype)


def _replicas() -> int:
    """The number of replicas that compute this step; 1 outside a strategy."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1
