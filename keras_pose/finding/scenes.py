"""Scenes for training and validating the finder: people of any size, anywhere, on backgrounds without people.

A scene is composed in layers at the finder's input size: a background, things, people, and things in front of them.
People are rendered cutouts, photos pasted as rectangles of many shapes and edges, or people that GrabCut cut from
photos. Rectangles without people are pasted the same way, so the edges of a rectangle do not give a person away.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from keras_pose.core import geometry
from keras_pose.finding.material import Pool, Sprite, draw_background, patch

# height / width of frames: phones upright and sideways, cameras, square
ASPECTS = (16 / 9, 4 / 3, 3 / 2, 1.0, 3 / 4, 2 / 3, 9 / 16)
PEOPLE_SHARES = (0.2, 0.48, 0.2, 0.08, 0.04)  # of scenes with 0, 1, 2, 3 and 4 people
SMALLEST, LARGEST = 0.12, 1.2  # longest side of a person, as a share of the frame's height
SMALLEST_PX = 12  # the area of smaller people counts as unknown
# Visible share of a person's box: from the first on it is a person, from the second on unknown, below that background.
SEEN_SHARE, KNOWN_SHARE = 0.35, 0.1


@dataclass
class Scene:
    """`image` (S, S, 3) uint8, `boxes` (N, 4) x0, y0, x1, y1 in pixels, and `known` (S, S) bool.

    `known` is False where there may be people without a box. `targets` gives such cells no weight, except close to a
    person with a box.
    """

    image: np.ndarray
    boxes: np.ndarray
    known: np.ndarray


class Canvas:
    """A frame of (height, width) to paste on, which keeps track of the people and of what covers them."""

    def __init__(self, image: np.ndarray):
        self.image = image.copy()
        self.known = np.ones(image.shape[:2], bool)
        self.people: list[tuple[np.ndarray, float]] = []  # box clipped to the frame, area before clipping
        self.hidden: list[np.ndarray] = []  # (h, w) bool, where later things cover the person's box

    def paste(self, sprite: Sprite, affine: np.ndarray) -> None:
        """Pastes a sprite; `affine` (2, 3) maps its pixels to the frame's."""
        height, width = self.image.shape[:2]
        scale = np.sqrt(abs(np.linalg.det(affine[:, :2])))
        colours, alpha = sprite.image, sprite.alpha
        if scale < 0.75:
            factor = max(scale, 2 / min(colours.shape[:2]))
            small = (max(round(colours.shape[1] * factor), 1), max(round(colours.shape[0] * factor), 1))
            grown = affine.copy()
            grown[:, 0] *= colours.shape[1] / small[0]
            grown[:, 1] *= colours.shape[0] / small[1]
            colours = cv2.resize(colours, small, interpolation=cv2.INTER_AREA)
            alpha = cv2.resize(alpha, small, interpolation=cv2.INTER_AREA)
        else:
            grown = affine
        centred = grown.copy()
        centred[:, 2] += grown[:, :2] @ [0.5, 0.5] - 0.5
        warped = cv2.warpAffine(colours, centred, (width, height), borderMode=cv2.BORDER_REPLICATE)
        cover = cv2.warpAffine(alpha, centred, (width, height))
        share = (cover / np.float32(255))[..., None]
        self.image = (share * warped + (1 - share) * self.image).astype(np.uint8)
        covered = cover > 127
        for hidden in self.hidden:
            hidden |= covered
        if sprite.points_px is None:
            self.known |= covered
            return
        points = geometry.apply_affine(affine, sprite.points_px)
        low, high = points.min(0), points.max(0)
        clipped = np.concatenate([np.clip(low, 0, [width, height]), np.clip(high, 0, [width, height])])
        if sprite.only_person:
            self.known[covered] = False
        else:
            self.known |= covered
        self.people.append((clipped, float(np.prod(np.maximum(high - low, 1.0)))))
        self.hidden.append(np.zeros((height, width), bool))

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (N, 4) of the people who are visible enough, and `known` (height, width), as in `Scene`."""
        boxes, known = [], self.known.copy()
        for (box, area), hidden in zip(self.people, self.hidden, strict=True):
            x0, y0, x1, y1 = box
            rows, columns = slice(int(y0), int(np.ceil(y1))), slice(int(x0), int(np.ceil(x1)))
            covered = hidden[rows, columns].mean() if hidden[rows, columns].size else 1.0
            seen = (x1 - x0) * (y1 - y0) / area * (1 - covered)
            if seen >= SEEN_SHARE and max(x1 - x0, y1 - y0) >= SMALLEST_PX:
                boxes.append(box)
            elif seen >= KNOWN_SHARE or max(x1 - x0, y1 - y0) < SMALLEST_PX:
                known[rows, columns] = False
        return np.array(boxes, np.float32).reshape(-1, 4), known


def compose(rng: np.random.Generator, pool: Pool, size: int) -> Scene:
    """Draws a scene of `size` x `size` pixels: a frame of random shape between black bars."""
    aspect = ASPECTS[rng.integers(len(ASPECTS))]
    height, width = (size, round(size / aspect)) if aspect >= 1 else (round(size * aspect), size)
    canvas = Canvas(draw_background(rng, pool, (height, width)))
    for _ in range(int(rng.choice(4, p=(0.5, 0.25, 0.15, 0.1)))):
        canvas.paste(*_thing(rng, pool, (height, width)))
    for _ in range(int(rng.choice(len(PEOPLE_SHARES), p=PEOPLE_SHARES))):
        sprite = _someone(rng, pool)
        canvas.paste(sprite, _anywhere(rng, sprite, (height, width)))
        if rng.random() < 0.12:
            canvas.paste(*_thing(rng, pool, (height, width), largest=0.35))
    boxes, known = canvas.finish()
    image = degrade(rng, canvas.image)
    if rng.random() < 0.5:
        image, known = image[:, ::-1], known[:, ::-1]
        boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
    top, left = (size - height) // 2, (size - width) // 2
    square, whole = np.zeros((size, size, 3), np.uint8), np.ones((size, size), bool)
    square[top : top + height, left : left + width] = image
    whole[top : top + height, left : left + width] = known
    return Scene(square, boxes + np.array([left, top, left, top], np.float32), whole)


def _someone(rng: np.random.Generator, pool: Pool) -> Sprite:
    """A rendered person, a person cut from a photo, or a photo of one as a rectangle."""
    kind = rng.random()
    if kind < 0.35 and pool.cutouts:
        cutout = pool.cutouts[rng.integers(len(pool.cutouts))]
        gain = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.06, 3))
        return Sprite((cutout.image * gain).clip(0, 255).astype(np.uint8), cutout.alpha, cutout.points_px)
    if kind < 0.55 and pool.real_cutouts:
        return pool.real_cutouts[rng.integers(len(pool.real_cutouts))]
    photo = pool.photos[rng.integers(len(pool.photos))]
    height, width = photo.image.shape[:2]
    low, high = photo.points_px.min(0), photo.points_px.max(0)
    margin = rng.uniform(0.06, 0.5) * max(high - low)
    x0, y0 = (np.maximum(low - margin * rng.uniform(0.5, 1.5, 2), 0)).astype(int)
    x1, y1 = (np.minimum(high + margin * rng.uniform(0.5, 1.5, 2), [width, height])).astype(int)
    if rng.random() < 0.4:  # the photo as it is
        x0, y0, x1, y1 = 0, 0, width, height
    part = photo.image[y0:y1, x0:x1]
    return Sprite(part, edge(rng, part.shape[:2]), photo.points_px - [x0, y0], photo.only_person)


def _thing(
    rng: np.random.Generator, pool: Pool, size: tuple[int, int], largest: float = 0.9
) -> tuple[Sprite, np.ndarray]:
    """A rectangle without people, and the (2, 3) affine that places it."""
    shape = np.exp(rng.uniform(np.log(0.12), np.log(largest), 2)) * size
    shape = tuple(int(v) for v in np.maximum(shape, 6))
    if rng.random() < 0.75 and pool.empty:
        part = patch(rng, pool, shape)
    else:
        part = draw_background(rng, pool, shape)
    affine = np.array([[1.0, 0.0, rng.uniform(-0.5 * shape[1], size[1] - 0.5 * shape[1])],
                       [0.0, 1.0, rng.uniform(-0.5 * shape[0], size[0] - 0.5 * shape[0])]])  # fmt: skip
    return Sprite(part, edge(rng, shape), None), _turned(rng, affine, shape)


def edge(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """(height, width) uint8: the alpha of a pasted rectangle, with sharp, soft or rounded edges, or an ellipse."""
    height, width = size
    kind = rng.random()
    if kind < 0.45:
        return np.full(size, 255, np.uint8)
    alpha = np.zeros(size, np.uint8)
    if kind < 0.75:
        inset = 1 + int(0.06 * min(size))
        alpha[inset : height - inset, inset : width - inset] = 255
        return cv2.GaussianBlur(alpha, (0, 0), max(0.5 * inset, 0.5))
    grow = 1.0 if kind < 0.85 else 1.25
    axes = (int(0.5 * width * grow), int(0.5 * height * grow))
    cv2.ellipse(alpha, (width // 2, height // 2), axes, 0, 0, 360, 255, -1)
    return cv2.GaussianBlur(alpha, (0, 0), 0.02 * min(size) + 0.5)


def _anywhere(rng: np.random.Generator, sprite: Sprite, size: tuple[int, int]) -> np.ndarray:
    """A (2, 3) affine that puts the sprite's person anywhere in a frame, at any size, possibly across its border."""
    low, high = sprite.points_px.min(0), sprite.points_px.max(0)
    longest = np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST))) * size[0]
    scale = max(longest, 0.9 * SMALLEST_PX) / max(max(high - low), 1.0)
    extent = scale * (high - low)
    room = np.array([size[1], size[0]]) - extent
    beyond = 0.35 * extent if rng.random() < 0.25 else 0.02 * extent
    first = np.minimum(-beyond, room + beyond) if rng.random() < 0.5 else np.minimum(-beyond, room)
    corner = rng.uniform(first, np.maximum(room + beyond, first + 1e-3))
    affine = np.array([[scale, 0.0, corner[0] - scale * low[0]], [0.0, scale, corner[1] - scale * low[1]]])
    return _turned(rng, affine, sprite.image.shape[:2])


def _turned(rng: np.random.Generator, affine: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The affine, in 40 % of cases rotated a little about the center of the pasted image."""
    if rng.random() < 0.6:
        return affine
    angle = np.deg2rad(rng.normal(0, 12))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = affine @ [size[1] / 2, size[0] / 2, 1.0]
    return np.concatenate([turn @ affine[:, :2], (turn @ (affine[:, 2] - middle) + middle)[:, None]], axis=1)


def degrade(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Camera effects on the whole frame: exposure, color, blur and noise."""
    gain = np.exp(rng.normal(0, 0.15)) * np.exp(rng.normal(0, 0.06, 3))
    values = (image.astype(np.float32) - 110) * np.float32(np.exp(rng.normal(0, 0.15))) + 110
    values = values * gain.astype(np.float32) + np.float32(rng.normal(0, 8))
    if rng.random() < 0.08:
        values = np.broadcast_to(values.mean(-1, keepdims=True), values.shape)
    if rng.random() < 0.3:
        values = cv2.GaussianBlur(np.ascontiguousarray(values), (0, 0), rng.uniform(0.3, 1.2))
    if rng.random() < 0.4:
        values = values + rng.normal(0, rng.uniform(1, 9), values.shape[:2] + (1,)).astype(np.float32)
    return values.clip(0, 255).astype(np.uint8)
