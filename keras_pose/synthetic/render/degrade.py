"""The effects of lenses, sensors and JPEG. Images are (H, W, 3); `difficulty` is 0 (hardly any effect) to 1 (full)."""

import cv2
import numpy as np

from keras_pose.data.example import encode_jpeg

_TABLE_SIZE = 4096
_LINEAR = np.linspace(0.0, 1.0, _TABLE_SIZE)
_SRGB_TABLE = np.where(_LINEAR <= 0.0031308, 12.92 * _LINEAR, 1.055 * _LINEAR ** (1 / 2.4) - 0.055).astype(np.float32)


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear [0, 1] to sRGB [0, 255], float32."""
    index = (linear * (_TABLE_SIZE - 1)).astype(np.int32)
    return _SRGB_TABLE[np.clip(index, 0, _TABLE_SIZE - 1)] * np.float32(255.0)


def degrade(rng: np.random.Generator, linear: np.ndarray, difficulty: float) -> np.ndarray:
    """A rendered linear image to (H, W, 3) uint8 sRGB, as a camera stores it.

    The probability and strength of faults increase with the difficulty.
    """
    linear = _blur(rng, linear, difficulty)
    linear = linear * np.exp(rng.normal(0, 0.12 * difficulty, 3)).astype(np.float32)  # white balance
    image = encode_srgb(linear)
    image = _contrast(rng, image, difficulty)
    if rng.random() < 0.5 * difficulty:
        image = _low_resolution(rng, image, difficulty)
    if rng.random() < 0.2 + 0.6 * difficulty:
        image = _noise(rng, image, difficulty)
    image = image.clip(0, 255).astype(np.uint8)
    if rng.random() < 0.5 * difficulty:
        image = _jpeg(rng, image, difficulty)
    return image


def _blur(rng: np.random.Generator, linear: np.ndarray, difficulty: float) -> np.ndarray:
    """Defocus or motion blur: at full difficulty, sigma up to 0.8 % or length up to 4 % of the image's height."""
    extent = 0.02 * difficulty * linear.shape[0]
    kind = rng.random()
    if kind < 0.3 * difficulty:
        sigma = rng.uniform(0.3, max(0.4 * extent, 0.31))
        return cv2.GaussianBlur(linear, (0, 0), sigma)
    if kind < 0.5 * difficulty:
        length = int(rng.uniform(2, max(2 * extent, 3)))
        kernel = np.zeros((2 * length + 1, 2 * length + 1), np.float32)
        step = length * np.array([np.cos(angle := rng.uniform(0, np.pi)), np.sin(angle)])
        start, end = (np.round(length + sign * step / 2).astype(int).tolist() for sign in (-1, 1))
        cv2.line(kernel, start, end, 1.0, 1, cv2.LINE_AA)
        return cv2.filter2D(linear, -1, kernel / kernel.sum())
    return linear


def _contrast(rng: np.random.Generator, image: np.ndarray, difficulty: float) -> np.ndarray:
    """Varies contrast, brightness and saturation, as cameras' image styles do; rarely makes it black and white."""
    gain = np.float32(np.exp(rng.normal(0, 0.05 + 0.2 * difficulty)))
    offset = np.float32(rng.normal(0, 3 + 15 * difficulty))
    image = (image - 110) * gain + (110 + offset)
    saturation = np.float32(0.0 if rng.random() < 0.05 * difficulty else np.exp(rng.normal(0.05, 0.3 * difficulty)))
    grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
    return grey[..., None] + (image - grey[..., None]) * saturation


def _low_resolution(rng: np.random.Generator, image: np.ndarray, difficulty: float) -> np.ndarray:
    """Fewer pixels, enlarged again: a distant person."""
    height, width = image.shape[:2]
    shrink = np.exp(rng.uniform(0.0, np.log(3.5) * difficulty))
    small = (max(8, round(width / shrink)), max(8, round(height / shrink)))
    image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    enlarge = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST)[rng.choice(3, p=[0.6, 0.35, 0.05])]
    return cv2.resize(image, (width, height), interpolation=enlarge)


def _noise(rng: np.random.Generator, image: np.ndarray, difficulty: float) -> np.ndarray:
    """Sensor noise: stronger in the dark, sometimes gray, sometimes in blotches."""
    height, width = image.shape[:2]
    strength = np.float32(rng.uniform(0.5, 3 + 16 * difficulty))
    grain = rng.standard_normal((height, width, 1 if rng.random() < 0.4 else 3), dtype=np.float32)
    if rng.random() < 0.5:
        grain = cv2.GaussianBlur(grain, (3, 3), 0).reshape(grain.shape) * np.float32(1.6)
    return image + grain * strength * (np.float32(1.2) - image * np.float32(0.7 / 255))


def _jpeg(rng: np.random.Generator, image: np.ndarray, difficulty: float) -> np.ndarray:
    quality = int(rng.uniform(95 - 75 * difficulty, 96))
    encoded = np.frombuffer(encode_jpeg(image, quality), np.uint8)
    return cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
