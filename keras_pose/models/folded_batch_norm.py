"""Batch normalization of bfloat16 images on CPUs, with neighboring pixels folded into channels.

For bfloat16, oneDNN has a fast kernel only if the number of channels is a multiple of 16, and w20_small has 20 and 40.
Four neighboring pixels of 20 channels become one pixel of 80, which the fast kernel supports. The statistics of the
folded channels give those of the channels: the mean is the mean of the means, the variance is the mean of the variances
plus the variance of the means. With these given, the kernel normalizes and differentiates as in inference; the
derivative through the statistics is added here. Up to rounding, the results equal those of one fused kernel
(`tensorflow_speed.normalize_at_once`).

`keras_pose.models.tensorflow_speed` calls this and has the switch.
"""

import math
from dataclasses import dataclass

import keras
import tensorflow as tf

VECTOR = 16  # channels that oneDNN's kernels of batch normalization handle at once


def pixels_to_fold(images: tf.Tensor) -> int:
    """How many pixels of (B, H, W, C) to fold into one; 1 where that is not possible or gains nothing."""
    height, width, channels = images.shape[1:]
    fold = VECTOR // math.gcd(channels, VECTOR)
    fits = height is not None and width is not None and height * width % fold == 0
    is_slow = images.dtype == tf.bfloat16 and not tf.config.list_physical_devices("GPU")
    return fold if fits and is_slow else 1


def normalize_folded(images: tf.Tensor, layer: keras.layers.BatchNormalization, training: bool, fold: int) -> tf.Tensor:
    """Batch normalization of (B, H, W, C); in training it also updates the layer's statistics.

    Args:
        layer: holds gamma, beta, the running statistics, their momentum, and epsilon.
        fold: from `pixels_to_fold`, larger than 1.

    Returns:
        The normalized images, with the shape and type of `images`. The running variance is unbiased, as in the fused
        kernel.
    """
    gamma, beta, running_mean, running_variance = (
        tf.convert_to_tensor(values) for values in (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
    )
    if not training:
        folded = _Folded(images, fold)
        return folded.back(folded.affine(gamma, beta, running_mean, running_variance, layer.epsilon))
    outputs, mean, variance = _normalize_by_own_statistics(images, gamma, beta, layer.epsilon, fold)
    count = _pixels(images)
    unbiased = variance * count / tf.maximum(count - 1.0, 1.0)
    layer.moving_mean.assign(running_mean * layer.momentum + mean * (1.0 - layer.momentum))
    layer.moving_variance.assign(running_variance * layer.momentum + unbiased * (1.0 - layer.momentum))
    return outputs


def _normalize_by_own_statistics(images, gamma, beta, epsilon: float, fold: int):
    """The normalized images, and their mean and biased variance, (C,) each; no gradient flows through the last two."""

    @tf.custom_gradient
    def normalize(images, gamma, beta):
        folded = _Folded(images, fold)
        mean, variance = folded.moments()
        outputs = folded.back(folded.affine(gamma, beta, mean, variance, epsilon))

        def gradient(upstream, *_):
            direct, d_gamma, d_beta = folded.gradient(upstream, gamma, mean, variance, epsilon)
            by_deviation, count = tf.math.rsqrt(variance + epsilon), _pixels(images)
            slope, shift = -gamma * d_gamma * by_deviation**2 / count, -gamma * d_beta * by_deviation / count
            through_statistics = folded.affine(slope, shift, mean, tf.ones_like(mean), 0.0)
            return folded.back(direct + through_statistics), d_gamma, d_beta

        return (outputs, mean, variance), gradient

    return normalize(images, gamma, beta)


def _pixels(images: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.size(images) // images.shape[-1], tf.float32)


@dataclass
class _Folded:
    """(B, H, W, C) images as (B, 1, H W / fold, fold C), and oneDNN's kernels on them with vectors of (C,)."""

    images: tf.Tensor
    fold: int

    def __post_init__(self):
        height, width, self.channels = self.images.shape[1:]
        self.shape = (-1, 1, height * width // self.fold, self.fold * self.channels)
        self.pixels = tf.reshape(self.images, self.shape)

    def back(self, pixels: tf.Tensor) -> tf.Tensor:
        return tf.reshape(pixels, tf.shape(self.images))

    def repeat(self, values: tf.Tensor) -> tf.Tensor:
        return tf.tile(values, [self.fold])

    def average(self, values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.reshape(values, (self.fold, self.channels)), 0)

    def moments(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and biased variance of each channel."""
        ones, none = tf.ones(self.fold * self.channels), tf.zeros(0)
        _, means, unbiased, *_ = tf.raw_ops.FusedBatchNormV3(
            x=self.pixels, scale=ones, offset=0.0 * ones, mean=none, variance=none, is_training=True
        )
        count = _pixels(self.images) / self.fold
        mean = self.average(means)
        return mean, self.average(unbiased * (count - 1.0) / count + tf.square(means - self.repeat(mean)))

    def affine(self, scale, offset, mean, variance, epsilon: float) -> tf.Tensor:
        """scale (pixels - mean) / sqrt(variance + epsilon) + offset, for the folded pixels."""
        values = (self.repeat(each) for each in (scale, offset, mean, variance))
        names = ("scale", "offset", "mean", "variance")
        return tf.raw_ops.FusedBatchNormV3(
            x=self.pixels, epsilon=epsilon, is_training=False, **dict(zip(names, values, strict=True))
        )[0]

    def gradient(self, upstream, scale, mean, variance, epsilon: float) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Derivatives of `affine` with respect to the pixels, `scale` and `offset`, the statistics held constant."""
        pixels, d_scale, d_offset, *_ = tf.raw_ops.FusedBatchNormGradV3(
            y_backprop=tf.reshape(upstream, self.shape),
            x=self.pixels,
            scale=self.repeat(scale),
            reserve_space_1=self.repeat(mean),
            reserve_space_2=self.repeat(variance),
            reserve_space_3=tf.zeros(0),
            epsilon=epsilon,
            is_training=False,
        )
        return pixels, self.fold * self.average(d_scale), self.fold * self.average(d_offset)
