"""Augments a batch on the device. Pixels, 2D, 3D, masks and camera change together; randomness is an argument."""

from dataclasses import asdict, dataclass, fields

import keras
import numpy as np
from keras import ops

from keras_pose.core.errors import UserError
from keras_pose.core.options import option
from keras_pose.core.skeleton import Skeleton
from keras_pose.data import augment_ops

LARGEST = {"rotation_deg": 180.0, "blur_px": 10.0, "hue": 0.5}  # upper limits other than 1


@dataclass(frozen=True)
class AugmentConfig:
    """The strength of each augmentation; 0 disables it. The defaults are the paper's: color jitter and flip."""

    brightness: float = option(0.2, "Brightness jitter: shift drawn from [-x, x], as a share of full white.")
    contrast: float = option(0.2, "Contrast jitter: factor about the image's mean gray drawn from [1-x, 1+x].")
    saturation: float = option(0.2, "Saturation jitter: factor about each pixel's gray drawn from [1-x, 1+x].")
    hue: float = option(0.0, "Hue jitter: shift drawn from [-x, x] of a turn; 0.5 gives every color.")
    flip: float = 0.5  # probability of mirroring; each training phase has its own flag for it
    rotation_deg: float = option(0.0, "Rotation of the image, drawn from [-x, x] degrees.")
    scale: float = option(0.0, "Scale of the person, drawn from [1-x, 1+x].")
    translation: float = option(0.0, "Shift of the image along each axis, drawn from [-x, x] of its size.")
    cut_out: float = option(0.0, "Largest side of a gray rectangle, as a share of the image.")
    blur_px: float = option(0.0, "Sigma of the strongest Gaussian blur, in pixels; each image gets a share of it.")
    noise: float = option(0.0, "Largest standard deviation of noise per pixel, as a share of full white.")
    keypoint_noise: float = option(
        0.0,
        "Noise on the 2D joints that phase lifter sees: standard deviation as a share of the crop, with outliers like "
        "a detector's.",
    )

    def __post_init__(self):
        for field in fields(self):
            value, largest = getattr(self, field.name), LARGEST.get(field.name, 1.0)
            if not 0 <= value <= largest:
                raise UserError(f"augmentation {field.name} is {value}; give a number from 0 to {largest:g}")
        if self.scale == 1.0:
            raise UserError("augmentation scale is 1, which shrinks people to nothing; give a number below 1")

    @property
    def resamples(self) -> bool:
        """Whether images are resampled, for rotation, scale or translation."""
        return bool(self.rotation_deg or self.scale or self.translation)

    @property
    def is_off(self) -> bool:
        """Whether every augmentation is disabled."""
        return not any(asdict(self).values())


class _GivenSeed(keras.random.SeedGenerator):
    """Passes a tensor as a seed to `keras.random`, which does not accept tensors directly; has no state."""

    def __init__(self, seed):
        self.seed = ops.cast(seed, "int32" if keras.backend.backend() == "tensorflow" else "uint32")

    def next(self, ordered=True):
        return self.seed


@keras.saving.register_keras_serializable(package="keras_pose")
class Augmentation(keras.layers.Layer):
    """`augment(batch, seed)` returns the augmented batch (docs/architecture.md), with images as float32 in 0..255.

    In a batch without images, the labels change as they would with images of `input_size` (height, width).

    The same seed, an int32 pair, gives the same batch in eager mode, in a graph and in tf.data. Each example has
    its own random numbers, which do not depend on the enabled augmentations. Unknown keys pass through. With
    `keypoint_noise` the batch gets `seen_keypoints_2d` (B, J, 2), the noisy joints; the labels stay unchanged.
    """

    def __init__(
        self,
        config: AugmentConfig | dict,
        skeleton: Skeleton | dict,
        input_size: tuple[int, int] | None = None,
        **kwargs,
    ):
        kwargs |= {"dtype": "float32", "autocast": False}
        super().__init__(**kwargs)
        self.config = AugmentConfig(**config) if isinstance(config, dict) else config
        self.skeleton = Skeleton.from_dict(skeleton) if isinstance(skeleton, dict) else skeleton
        self.input_size = tuple(input_size) if input_size else None

    def call(self, batch, seed):
        if self.config.is_off:
            return _in_floats(batch)
        shape = (ops.shape(batch["keypoints_2d"])[0], 14)
        draws = ops.unstack(keras.random.uniform(shape, seed=_GivenSeed(seed)), 14, axis=1)  # 14 of (B,) in [0, 1)
        batch = self._move(batch, draws[:5])
        if self.config.keypoint_noise:
            own_seed = _GivenSeed(seed + np.array([2_000_003, 0], "int32"))
            errors = keras.random.normal((*ops.shape(batch["keypoints_2d"])[:2], 3), seed=own_seed)
            seen = augment_ops.disturb(batch["keypoints_2d"], self.config.keypoint_noise, errors)
            batch = {**batch, "seen_keypoints_2d": seen}
        if "image" not in batch:
            return batch
        image = self._colour(batch["image"], draws[5:8], seed)
        image = self._degrade(image, draws[8:], seed)
        return {**batch, "image": ops.clip(image, 0.0, 255.0)}

    # --- labels together with images ---

    def _move(self, batch, draws):
        config = self.config
        size = batch["image"].shape[1:3] if "image" in batch else self.input_size
        if config.flip:
            batch = augment_ops.mirror(batch, draws[0] < config.flip, self.skeleton, size)
        batch = _in_floats(batch)  # only here, because mirroring bytes is faster
        if config.resamples:
            rotation_deg = _between(draws[1], config.rotation_deg)
            scale = 1.0 + _between(draws[2], config.scale)
            shift = _between(ops.stack(draws[3:5], axis=-1), config.translation)  # (B, 2)
            batch = augment_ops.transform(batch, rotation_deg, scale, shift, size)
        return batch

    # --- only images ---

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
        result = {**batch}
        if "image" in batch:
            result["image"] = keras.KerasTensor(batch["image"].shape, "float32")
        if self.config.keypoint_noise:
            result["seen_keypoints_2d"] = keras.KerasTensor(batch["keypoints_2d"].shape, "float32")
        return result

    def get_config(self):
        own = {"config": asdict(self.config), "skeleton": self.skeleton.to_dict(), "input_size": self.input_size}
        return {**super().get_config(), **own}


def _in_floats(batch: dict) -> dict:
    """The batch with its images, if any, as float32."""
    return {**batch, "image": ops.cast(batch["image"], "float32")} if "image" in batch else batch


def _between(draw, limit: float):
    """Maps draws from [0, 1) to [-limit, limit)."""
    return (2.0 * draw - 1.0) * limit


def build_augmentation(
    config: AugmentConfig, skeleton: Skeleton, input_size: tuple[int, int] | None = None
) -> Augmentation:
    """The layer, to be called as `augment(batch, seed)`; batches without images need `input_size` (height, width)."""
    return Augmentation(config, skeleton, input_size, name="augmentation")
