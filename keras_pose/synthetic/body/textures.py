"""Procedural, tileable textures for cloth, skin and hair. One unit of texture is `TEXTURE_MM` of cloth."""

from functools import cache

import numpy as np

TEXTURE_MM = 320.0
SIZE = 64


def cloth_texture(rng: np.random.Generator) -> np.ndarray:
    """(SIZE, SIZE, 3) uint8 sRGB: a random pattern in random colors."""
    names = list(PATTERNS)
    shares = np.array([share for share, _ in PATTERNS.values()])
    pattern = PATTERNS[names[rng.choice(len(names), p=shares / shares.sum())]][1]
    first, second = cloth_colour(rng).astype(np.float32), cloth_colour(rng).astype(np.float32)
    amount = pattern(rng).astype(np.float32)[..., None]  # (SIZE, SIZE, 1), the share of the second color
    image = first * (1 - amount) + second * amount
    if rng.random() < 0.15:  # a third color in separate places
        amount = _blobs(rng)[..., None]
        image = image * (1 - amount) + cloth_colour(rng) * amount
    weave = 1 + np.float32(rng.uniform(0.01, 0.12)) * noise(rng, rng.integers(3))[..., None]
    return to_uint8(image * weave)


def cloth_colour(rng: np.random.Generator) -> np.ndarray:
    """(3,) sRGB, 0 to 1: a gray, a dark blue, a brown, or any color."""
    kind = rng.random()
    if kind < 0.3:
        return np.clip(rng.beta(0.7, 0.7) + rng.normal(0, 0.02, 3), 0.02, 0.98)
    if kind < 0.45:  # navy, denim
        return np.clip(np.array([0.22, 0.3, 0.45]) * rng.uniform(0.3, 1.6) + rng.normal(0, 0.03, 3), 0.02, 0.95)
    if kind < 0.55:  # khaki, brown, beige
        return np.clip(np.array([0.6, 0.48, 0.34]) * rng.uniform(0.3, 1.5) + rng.normal(0, 0.03, 3), 0.02, 0.95)
    return hsv(rng.random(), rng.beta(2, 1.5), rng.beta(2, 1.2))


def hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """(3,) RGB of a hue (0 to 1, red is 0), saturation and value."""
    ramp = np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1
    return value * (1 - saturation + saturation * np.clip(ramp, 0, 1))


def fine_texture(colour: np.ndarray, strength: float, rng: np.random.Generator, scale: int = 2) -> np.ndarray:
    """(SIZE, SIZE, 3) uint8 of one color (3,) with slight noise in its brightness."""
    return to_uint8(colour.astype(np.float32) * (1 + strength * noise(rng, scale)[..., None]))


def strand_texture(colour: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(SIZE, SIZE, 3) uint8 of hair in one color (3,), with lighter and darker strands along one axis."""
    strands = np.roll(_noise_bank()[2][rng.integers(4)].mean(0), rng.integers(SIZE))
    field = 0.6 * strands[None] / max(np.abs(strands).max(), 1e-6) + 0.4 * noise(rng, 2)
    return to_uint8(colour * (1 + rng.uniform(0.1, 0.35) * field[..., None]))


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Values from 0 to 1 to uint8."""
    return (np.clip(image, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def noise(rng: np.random.Generator, scale: int) -> np.ndarray:
    """(SIZE, SIZE) tileable noise in [-1, 1] around 0; `scale` 0 is coarse, 2 is fine."""
    field = _noise_bank()[scale][rng.integers(4)]
    return np.roll(field, rng.integers(SIZE, size=2), axis=(0, 1))


@cache
def _noise_bank() -> np.ndarray:
    """(3, 4, SIZE, SIZE) four noise fields for each of three scales, filtered on the torus to be tileable."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE)[None]) * SIZE
    bank = np.empty((3, 4, SIZE, SIZE), np.float32)
    for scale, cutoff in enumerate((3, 8, 24)):
        spectrum = np.fft.fft2(rng.normal(size=(4, SIZE, SIZE))) * np.exp(-((frequency / cutoff) ** 2))
        fields = np.fft.ifft2(spectrum).real
        fields -= fields.mean((1, 2), keepdims=True)
        bank[scale] = np.clip(fields / (2.5 * fields.std((1, 2), keepdims=True)), -1, 1)
    return bank


# --- patterns: (SIZE, SIZE) share of the second color, 0 to 1 -----------------------------------------------------


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """Row (SIZE, 1) and column (1, SIZE) positions from 0 to 1."""
    ramp = np.arange(SIZE) / SIZE
    return ramp[:, None], ramp[None]


def _plain(rng: np.random.Generator) -> np.ndarray:
    return np.zeros((SIZE, SIZE))


def _stripes(rng: np.random.Generator) -> np.ndarray:
    rows, columns = _grid()
    up, across = ((1, 0), (0, 1), (1, 1), (1, -1))[rng.choice(4, p=[0.45, 0.35, 0.1, 0.1])]
    phase = (rows * up + columns * across) * rng.integers(2, 14) + rng.random()
    return np.broadcast_to(phase % 1 < rng.uniform(0.1, 0.6), (SIZE, SIZE)).astype(float)


def _checks(rng: np.random.Generator) -> np.ndarray:
    rows, columns = _grid()
    count, width = rng.integers(2, 10), rng.uniform(0.1, 0.6)
    across, down = (rows * count % 1 < width) * 1.0, (columns * count % 1 < width) * 1.0
    if rng.random() < 0.4:
        return np.abs(across - down)  # a chessboard
    return rng.uniform(0.3, 0.5) * (across + down)  # a plaid


def _dots(rng: np.random.Generator) -> np.ndarray:
    rows, columns = _grid()
    count = rng.integers(2, 9)
    return (np.hypot(rows * count % 1 - 0.5, columns * count % 1 - 0.5) < rng.uniform(0.12, 0.4)) * 1.0


def _blobs(rng: np.random.Generator) -> np.ndarray:
    return np.clip((noise(rng, rng.integers(2)) - rng.uniform(-0.2, 0.5)) * rng.uniform(4, 20), 0, 1)


def _clouds(rng: np.random.Generator) -> np.ndarray:
    return 0.5 + 0.5 * noise(rng, rng.integers(3))


def _gradient(rng: np.random.Generator) -> np.ndarray:
    rows, columns = _grid()
    ramp = rows if rng.random() < 0.5 else columns
    return np.broadcast_to(0.5 - 0.5 * np.cos(2 * np.pi * (ramp + rng.random())), (SIZE, SIZE))


def _denim(rng: np.random.Generator) -> np.ndarray:
    rows, columns = _grid()
    twill = ((rows + columns) * 32 % 1 < 0.5) * 0.25
    return np.clip(twill + 0.2 + 0.3 * noise(rng, 0) + 0.15 * noise(rng, 2), 0, 1)


def _print(rng: np.random.Generator) -> np.ndarray:
    """A few bars and disks, like lettering and logos from a distance."""
    rows, columns = _grid()
    image = np.zeros((SIZE, SIZE))
    for _ in range(rng.integers(1, 6)):
        y, x = rng.random(2)
        height, width = rng.uniform(0.02, 0.2, 2)
        dy, dx = np.abs((rows - y + 0.5) % 1 - 0.5), np.abs((columns - x + 0.5) % 1 - 0.5)
        inside = np.hypot(dy, dx) < height if rng.random() < 0.4 else (dy < height) & (dx < width)
        image[inside] = 1 - image[inside]
    return image


# name: (frequency, pattern)
PATTERNS = {
    "plain": (0.36, _plain),
    "stripes": (0.14, _stripes),
    "checks": (0.1, _checks),
    "dots": (0.05, _dots),
    "blobs": (0.08, _blobs),
    "clouds": (0.07, _clouds),
    "gradient": (0.06, _gradient),
    "denim": (0.07, _denim),
    "print": (0.07, _print),
}
