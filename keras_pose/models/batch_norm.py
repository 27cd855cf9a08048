"""Batch normalisation of images by one fused kernel under TensorFlow, by `keras.ops` elsewhere.

Keras 3's own layer is built of some 20 small TensorFlow operations; HRNet-W32 has 290 of them, and a training step
traces, differentiates and optimises each. The fused kernel is one, and updates the running statistics as it goes.
"""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_pose")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation over the last axis of (B, H, W, C); the same variables as Keras' layer.

    The running variance is the unbiased one, n / (n - 1) times the batch's, as in PyTorch and in the fused kernel
    (Keras 3's layer keeps the biased one). Statistics are computed in float32 whatever the precision.

    With `synchronized` (as in Keras, TensorFlow alone) the statistics of training are of all replicas' images.
    """

    def __init__(self, momentum=0.9, epsilon=1e-5, **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)
        self.autocast = False

    def build(self, input_shape):
        if len(input_shape) != 4:
            raise ValueError(f"{self.name} normalises (B, H, W, C) images, got {tuple(input_shape)}")
        super().build(input_shape)

    def call(self, inputs, training=None):
        inputs = ops.cast(inputs, self.compute_dtype)
        training = bool(training) and self.trainable
        if keras.backend.backend() != "tensorflow":
            return self._composed(inputs, training)
        if training and self.synchronized and _replicas() > 1:
            return self._over_replicas(inputs)
        return self._fused_kernel(inputs, training)

    def _fused_kernel(self, inputs, training):
        import tensorflow as tf

        # The tape knows that of the oldest version's outputs the first alone is differentiated; for the others of later
        # versions it makes zeros, a sixth of the operations of HRNet's training step. The oldest takes float32 alone.
        first_version = training and inputs.dtype == tf.float32
        kernel = tf.raw_ops.FusedBatchNorm if first_version else tf.raw_ops.FusedBatchNormV3
        outputs, mean, variance, *_ = kernel(
            x=inputs,
            scale=self.gamma,
            offset=self.beta,
            mean=self.moving_mean,
            variance=self.moving_variance,
            epsilon=self.epsilon,
            exponential_avg_factor=1.0 - self.momentum,
            is_training=training,
        )
        if training:
            self.moving_mean.assign(mean)
            self.moving_variance.assign(variance)
        return outputs

    def _over_replicas(self, inputs):
        """Training by the statistics of all replicas, each of which holds as many images.

        Moments are taken about the running mean, so that the square of a large mean does not swallow the variance.
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

    def _composed(self, inputs, training):
        x = ops.cast(inputs, "float32")
        mean, variance = ops.convert_to_tensor(self.moving_mean), ops.convert_to_tensor(self.moving_variance)
        if training:
            batch_mean, batch_variance = ops.moments(x, axes=(0, 1, 2))
            count = x.shape[0] * x.shape[1] * x.shape[2]
            unbiased = batch_variance * (count / max(count - 1, 1))
            self.moving_mean.assign(mean * self.momentum + batch_mean * (1.0 - self.momentum))
            self.moving_variance.assign(variance * self.momentum + unbiased * (1.0 - self.momentum))
            mean, variance = batch_mean, batch_variance
        outputs = ops.batch_normalization(
            x, mean, variance, axis=-1, offset=self.beta, scale=self.gamma, epsilon=self.epsilon
        )
        return ops.cast(outputs, self.compute_dtype)


def _replicas() -> int:
    """How many replicas compute the same step as this one; 1 outside of a strategy."""
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1
