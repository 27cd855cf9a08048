"""Augmentation of a batch on the device. Pixels, 2D, 3D, masks and camera move together; randomness is an argument."""

from dataclasses import asdict, dataclass, fields

import keras
import numpy as np
from keras import ops

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton
from keras_pose.data import augment_ops

LARGEST = {"rotation_deg": 180.0, "blur_px": 10.0, "hue": 0.5}  # of what may be more or less than 1


@dataclass(frozen=True)
class AugmentConfig:
    """How much of each; 0 switches one off. Defaults are the paper's: colour jitter and flip.

    Attributes:
        brightness: largest shift, in shares of 255.
        contrast: largest change of the factor 1, about the image's mean grey.
        saturation: largest change of the factor 1, about each pixel's grey.
        hue: largest turn of the colour circle, in turns; 0.5 gives every colour.
        flip: probability of mirroring left to right.
        rotation_deg: largest turn, either way.
        scale: largest change of the factor 1; above it people grow.
        translation: largest shift along each axis, in shares of the image.
        cut_out: largest side of a grey rectangle, in shares of the image.
        blur_px: sigma of a Gaussian blur; each image gets a share of it from none to all.
        noise: largest standard deviation of per-pixel noise, in shares of 255.
        keypoint_noise: standard deviation of a detector's error, in shares of the crop (see `augment_ops.disturb`):
            what a lifter sees in place of the labels.
    """

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.0
    flip: float = 0.5
    rotation_deg: float = 0.0
    scale: float = 0.0
    translation: float = 0.0
    cut_out: float = 0.0
    blur_px: float = 0.0
    noise: float = 0.0
    keypoint_noise: float = 0.0

    def __post_init__(self):
        for field in fields(self):
            value, largest = getattr(self, field.name), LARGEST.get(field.name, 1.0)
            if not 0 <= value <= largest:
                raise UserError(f"augmentation {field.name} is {value}; give a number from 0 to {largest:g}")
        if self.scale == 1.0:
            raise UserError("augmentation scale is 1, which shrinks people to nothing; give a number below 1")

    @property
    def resamples(self) -> bool:
        """Whether images are resampled: rotation, scale and translation together are one affine."""
        return bool(self.rotation_deg or self.scale or self.translation)

    @property
    def is_off(self) -> bool:
        """Whether nothing is changed at all."""
        return not any(asdict(self).values())


class _GivenSeed(keras.random.SeedGenerator):
    """Hands `keras.random` a seed that is a tensor, which it does not take by itself; holds no state."""

    def __init__(self, seed):
        self.seed = ops.cast(seed, "int32" if keras.backend.backend() == "tensorflow" else "uint32")

    def next(self, ordered=True):
        return self.seed


@keras.saving.register_keras_serializable(package="keras_pose")
class Augmentation(keras.layers.Layer):
    """`augment(batch, seed)`: a batch (docs/architecture.md) in, the augmented batch out, its image float32 0..255.

    The same seed, an int32 pair, gives the same batch, eagerly, in a graph and in tf.data. Each example draws its own
    numbers, and the same ones whichever of the augmentations are on. Keys that it does not know pass through. With
    `keypoint_noise` the batch gets `seen_keypoints_2d` besides: the labels stay as they are.
    """

    def __init__(self, config: AugmentConfig | dict, skeleton: Skeleton | dict, **kwargs):
        kwargs |= {"dtype": "float32", "autocast": False}
        super().__init__(**kwargs)
        self.config = AugmentConfig(**config) if isinstance(config, dict) else config
        self.skeleton = Skeleton.from_dict(skeleton) if isinstance(skeleton, dict) else skeleton

    def call(self, batch, seed):
        if self.config.is_off:
            return {**batch, "image": ops.cast(batch["image"], "float32")}
        shape = (ops.shape(batch["image"])[0], 14)
        draws = ops.unstack(keras.random.uniform(shape, seed=_GivenSeed(seed)), 14, axis=1)  # 14 of (B,) in [0, 1)
        batch = self._move(batch, draws[:5])
        image = self._colour(batch["image"], draws[5:8], seed)
        image = self._degrade(image, draws[8:], seed)
        if self.config.keypoint_noise:
            own_seed = _GivenSeed(seed + np.array([2_000_003, 0], "int32"))
            errors = keras.random.normal((*ops.shape(batch["keypoints_2d"])[:2], 3), seed=own_seed)
            seen = augment_ops.disturb(batch["keypoints_2d"], self.config.keypoint_noise, errors)
            batch = {**batch, "seen_keypoints_2d": seen}
        return {**batch, "image": ops.clip(image, 0.0, 255.0)}

    def _move(self, batch, draws):
        config = self.config
        if config.flip:
            batch = augment_ops.mirror(batch, draws[0] < config.flip, self.skeleton)
        batch = {**batch, "image": ops.cast(batch["image"], "float32")}  # late, for bytes are mirrored faster
        if config.resamples:
            rotation_deg = _between(draws[1], config.rotation_deg)
            scale = 1.0 + _between(draws[2], config.scale)
            shift = _between(ops.stack(draws[3:5], axis=-1), config.translation)  # (B, 2)
            batch = augment_ops.transform(batch, rotation_deg, scale, shift)
        return batch

    def _colour(self, image, draws, seed):
        config, hue = self.config, None
        if not (config.brightness or config.contrast or config.saturation or config.hue):
            return image
        if config.hue:
            own_seed = _GivenSeed(seed + np.array([3_000_017, 0], "int32"))
            hue = _between(keras.random.uniform(ops.shape(draws[0]), seed=own_seed), config.hue)
        return augment_ops.adjust_colour(
            image,
            _between(draws[0], config.brightness),
            1.0 + _between(draws[1], config.contrast),
            1.0 + _between(draws[2], config.saturation),
            hue,
        )

    def _degrade(self, image, draws, seed):
        config = self.config
        if config.blur_px:
            image = augment_ops.blur(image, config.blur_px, draws[0])
        if config.noise:
            own_seed = _GivenSeed(seed + np.array([1_000_003, 0], "int32"))
            noise = keras.random.normal(ops.shape(image), seed=own_seed)
            image = image + noise * ops.reshape(draws[1] * config.noise * 255.0, (-1, 1, 1, 1))
        if config.cut_out:
            center, size = ops.stack(draws[2:4], axis=-1), ops.stack(draws[4:6], axis=-1) * config.cut_out
            image = augment_ops.cut_out(image, center, size)
        return image

    def compute_output_spec(self, batch, seed):
        result = {**batch, "image": keras.KerasTensor(batch["image"].shape, "float32")}
        if self.config.keypoint_noise:
            result["seen_keypoints_2d"] = keras.KerasTensor(batch["keypoints_2d"].shape, "float32")
        return result

    def get_config(self):
        return {**super().get_config(), "config": asdict(self.config), "skeleton": self.skeleton.to_dict()}


def _between(draw, limit: float):
    """[0, 1) to [-limit, limit)."""
    return (2.0 * draw - 1.0) * limit


def build_augmentation(config: AugmentConfig, skeleton: Skeleton) -> Augmentation:
    """The layer; call it as `augment(batch, seed)`."""
    return Augmentation(config, skeleton, name="augmentation")
