"""Procedural textures for floors, walls, furniture and clutter: (SIZE, SIZE, 3) uint8 sRGB, made once per worker."""

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np

SIZE, LEVELS = 128, 8  # the last level is one pixel


@dataclass(frozen=True)
class Surfaces:
    """Textures, with repeatedly halved versions for distant surfaces.

    Attributes:
        images: (N, SIZE, SIZE, 3) uint8 sRGB.
        texels: (T,) all images of level 0, then all of level 1, ...
        level_start: (LEVELS,) offset of each level in `texels`.
    """

    images: np.ndarray
    texels: np.ndarray
    level_start: np.ndarray


def draw_surfaces(seed: int, count: int) -> Surfaces:
    """Draws `count` textures, cycling through the kinds in `SURFACES`, each with its own colors."""
    kinds = list(SURFACES.values())
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x5F]))
    images = np.array([_worn(kinds[i % len(kinds)](rng), rng) for i in range(count)])
    levels = [images]
    while len(levels) < LEVELS:
        quads = levels[-1].reshape(count, levels[-1].shape[1] // 2, 2, -1, 2, 3)
        levels.append(quads.mean((2, 4)).round().astype(np.uint8))
    sizes = [level.size for level in levels]
    starts = np.cumsum([0] + sizes[:-1])
    return Surfaces(images, np.concatenate([level.reshape(-1) for level in levels]), starts)


def random_color(rng: np.random.Generator, saturation: float = 0.6) -> np.ndarray:
    """(3,) float sRGB in [0, 255]: about two thirds browns, greens and blues, the rest of any hue; mostly grayish."""
    kind = rng.random()
    if kind < 0.35:
        hue = rng.random()
    else:
        hue = rng.normal(0.08, 0.03) if kind < 0.7 else rng.choice([0.27, 0.58]) + rng.normal(0, 0.05)
    color = colorsys.hsv_to_rgb(hue % 1, saturation * rng.random() ** 2, rng.uniform(0.08, 1.0))
    return 255 * np.array(color)


def _noise(rng: np.random.Generator, coarsest: int, octaves: int, stretch: float = 1.0) -> np.ndarray:
    """(SIZE, SIZE) float32 noise, mean 0, deviation 1, which tiles seamlessly; `stretch` > 1 elongates it along y.

    It has from `coarsest` / 2 to `coarsest` * 2^(octaves - 0.5) waves per image; finer waves are weaker.
    """
    y, x = np.fft.fftfreq(SIZE, 1 / SIZE)[:, None], np.fft.rfftfreq(SIZE, 1 / SIZE)
    waves = np.maximum(np.hypot(y * stretch, x), 1e-3)
    band = (waves > 0.5 * coarsest) & (waves < coarsest * 2 ** (octaves - 0.5))
    spectrum = np.fft.rfft2(rng.standard_normal((SIZE, SIZE))) * band / waves**1.4
    noise = np.fft.irfft2(spectrum, (SIZE, SIZE)).astype(np.float32)
    return noise / max(float(noise.std()), 1e-6)


def _worn(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Adds stains and grain, because nothing is perfectly uniform."""
    stains = 1 + rng.uniform(0.0, 0.2) * _noise(rng, 2, 3)
    grain = rng.standard_normal((SIZE, SIZE)).astype(np.float32) * rng.uniform(0, 8)
    return (image * stains[..., None] + grain[..., None]).clip(0, 255).astype(np.uint8)


def _full(color: np.ndarray) -> np.ndarray:
    return np.broadcast_to(color.astype(np.float32), (SIZE, SIZE, 3)).copy()


def _mixed(rng: np.random.Generator, noise: np.ndarray, colors: int = 3) -> np.ndarray:
    """(SIZE, SIZE, 3) colors: a random palette, interpolated by the values of a noise field."""
    palette = np.array([random_color(rng) for _ in range(colors)])
    position = ((noise + 1.5) / 3).clip(0, 1) * (colors - 1)
    low = position.astype(int).clip(0, colors - 2)
    return palette[low] + (palette[low + 1] - palette[low]) * (position - low)[..., None]


def _plaster(rng):
    return _full(random_color(rng, 0.35))


def _clouded(rng):
    return _mixed(rng, _noise(rng, int(rng.integers(2, 12)), 5), int(rng.integers(2, 5)))


def _grass(rng):
    base = _mixed(rng, _noise(rng, int(rng.integers(8, 40)), 3, rng.uniform(1, 4)))
    green = np.array([80, 120, 45]) * rng.uniform(0.5, 1.5) + rng.normal(0, 15, 3)
    return base * 0.3 + green * (1 + 0.35 * _noise(rng, 32, 3, rng.uniform(1, 3))[..., None]) * 0.7


def _foliage(rng):
    image = _full(random_color(rng) * 0.3)
    hue = rng.uniform(0.15, 0.42) if rng.random() < 0.8 else rng.random()
    for _ in range(260):
        color = colorsys.hsv_to_rgb((hue + rng.normal(0, 0.03)) % 1, rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.9))
        centre, axes = rng.integers(0, SIZE, 2), rng.integers(1, 9, 2)
        cv2.ellipse(image, centre.tolist(), axes.tolist(), rng.uniform(0, 180), 0, 360, [255 * c for c in color], -1)
    return image


def _grid(rng, rows, columns, shift, gap):
    """Bricks, tiles or planks: cells of slightly different colors with gaps between."""
    image = _full(random_color(rng, 0.3))
    base, spread = random_color(rng), rng.uniform(3, 30)
    height, width = SIZE / rows, SIZE / columns
    for row in range(rows):
        for column in range(-1, columns + 1):
            x, y = (column + shift * row % 1) * width, row * height
            cell = base + rng.normal(0, spread) + rng.normal(0, spread / 3, 3)
            corner, end = (round(x + gap), round(y + gap)), (round(x + width - gap), round(y + height - gap))
            cv2.rectangle(image, corner, end, cell.tolist(), -1)
    return image


def _bricks(rng):
    return _grid(rng, int(rng.integers(4, 14)), int(rng.integers(2, 6)), 0.5, rng.uniform(0.4, 1.5))


def _tiles(rng):
    count = int(rng.integers(1, 10))
    return _grid(rng, count, count, 0.0, rng.uniform(0.3, 2))


def _planks(rng):
    planks = _grid(rng, int(rng.integers(3, 10)), int(rng.integers(1, 3)), rng.random(), rng.uniform(0.2, 0.8))
    return planks * (1 + 0.08 * _noise(rng, 48, 2, 12.0).T[..., None])


def _stripes(rng):
    period, angle = rng.uniform(4, 40), rng.uniform(0, np.pi) if rng.random() < 0.5 else 0.0
    y, x = np.mgrid[:SIZE, :SIZE]
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)
    return _mixed(rng, np.clip(wave * rng.uniform(1, 6), -1.5, 1.5), 2)


def _facade(rng):
    """Windows in rows and columns: houses, shelves, doors, fences."""
    image = _full(random_color(rng))
    rows, columns = (int(n) for n in rng.integers(2, 8, 2))
    margin_y, margin_x = SIZE / rows * rng.uniform(0.05, 0.35), SIZE / columns * rng.uniform(0.05, 0.35)
    frame, glass = random_color(rng, 0.3), random_color(rng)
    for row in range(rows):
        for column in range(columns):
            corner = (round(column * SIZE / columns + margin_x), round(row * SIZE / rows + margin_y))
            end = (round((column + 1) * SIZE / columns - margin_x), round((row + 1) * SIZE / rows - margin_y))
            cv2.rectangle(image, corner, end, (glass + rng.normal(0, 25)).clip(0, 255).tolist(), -1)
            cv2.rectangle(image, corner, end, frame.tolist(), 1)
    return image


def _shelf(rng):
    """Rows of upright boxes: books, goods, distant people."""
    image = _full(random_color(rng) * 0.5)
    rows = int(rng.integers(2, 6))
    for row in range(rows):
        x = 0.0
        while x < SIZE:
            width, height = rng.uniform(3, 18), SIZE / rows * rng.uniform(0.4, 0.95)
            bottom = (row + 1) * SIZE / rows - 2
            corner, end = (round(x), round(bottom - height)), (round(x + width - 1), round(bottom))
            cv2.rectangle(image, corner, end, random_color(rng, 0.9).tolist(), -1)
            x += width + rng.exponential(2)
    return image


def _collage(rng):
    """Overlapping shapes, lines and letters: posters, toys, a crowded yard."""
    image = _clouded(rng).clip(0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(8, 40))):
        color, kind = random_color(rng, 0.9).tolist(), rng.integers(4)
        a, b = (rng.integers(-10, SIZE + 10, 2).tolist() for _ in range(2))
        if kind == 0:
            cv2.line(image, a, b, color, int(rng.integers(1, 6)))
        elif kind == 1:
            cv2.ellipse(image, a, rng.integers(3, 30, 2).tolist(), rng.uniform(0, 180), 0, 360, color, -1)
        elif kind == 2:
            cv2.fillPoly(image, [np.array(a) + rng.integers(-30, 30, (int(rng.integers(3, 7)), 2))], color)
        else:
            letters = "".join(chr(c) for c in rng.integers(65, 91, 4))
            cv2.putText(image, letters, a, int(rng.integers(8)), rng.uniform(0.4, 1.5), color, int(rng.integers(1, 4)))
    return image


SURFACES = {
    "plaster": _plaster,
    "clouded": _clouded,
    "grass": _grass,
    "foliage": _foliage,
    "bricks": _bricks,
    "tiles": _tiles,
    "planks": _planks,
    "stripes": _stripes,
    "facade": _facade,
    "shelf": _shelf,
    "collage": _collage,
}
_NATURAL = ("clouded", "grass", "foliage")


def natural_surfaces(count: int) -> list[int]:
    """The indices of those of `count` surfaces that have no straight lines, and so suit any scene as grain."""
    names = list(SURFACES)
    return [i for i in range(count) if names[i % len(names)] in _NATURAL]
