"""The material of scenes: people to paste, and backgrounds without people."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from keras_pose.core import geometry
from keras_pose.finding.cutouts import Cutout
from keras_pose.finding.photos import Photo, empty_zones
from keras_pose.io import images
from keras_pose.synthetic.render.panorama import Panorama

LONGEST_PHOTO = 240  # longer side in pixels to which photos are shrunk; the finder's input (192) is smaller still


@dataclass
class Sprite:
    """Something to paste: `image` (h, w, 3) and `alpha` (h, w) uint8, and the person's `points_px` (K, 2), if any.

    `only_person`: the image may show people besides the labelled one, so away from that person it counts as unknown.
    """

    image: np.ndarray
    alpha: np.ndarray
    points_px: np.ndarray | None
    only_person: bool = False


@dataclass
class Pool:
    """The material for the scenes of one split; `photos` show people, `empty` are parts of photos without any."""

    cutouts: list[Cutout]
    photos: list[Sprite]
    real_cutouts: list[Sprite]
    empty: list[np.ndarray]
    panoramas: list[np.ndarray] = field(default_factory=list)
    textures: Sequence[np.ndarray] = ()


def make_pool(
    photos: Sequence[Photo], cutouts: list[Cutout], panoramas: Sequence[Panorama], textures, cut_share: float = 0.0
) -> Pool:
    """Reads the photos and collects a split's material.

    GrabCut also cuts the person out of `cut_share` of the labelled photos, except those of `lsp_extended_train`: it
    needs one person in a plain place.
    """
    pool = Pool(cutouts, [], [], [], [ldr_panorama(p) for p in panoramas], textures)
    for number, photo in enumerate(photos):
        image = images.read(photo.path, turn=False)
        scale = min(1.0, LONGEST_PHOTO / max(image.shape[:2]))
        for x0, y0, x1, y1 in empty_zones(photo):
            pool.empty.append(_shrunk(image[y0:y1, x0:x1], scale))
        if photo.points_px is None:
            continue
        small, points = _shrunk(image, scale), photo.points_px * scale
        opaque = np.full(small.shape[:2], 255, np.uint8)
        pool.photos.append(Sprite(small, opaque, points, only_person=photo.kind != "exercise"))
        if photo.kind != "lsp_extended_train" and (number * 0.618) % 1 < cut_share:
            sprite = cut_out(small, points)
            if sprite is not None:
                pool.real_cutouts.append(sprite)
    return pool


def _shrunk(image: np.ndarray, scale: float) -> np.ndarray:
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image.copy()


def cut_out(image: np.ndarray, points_px: np.ndarray) -> Sprite | None:
    """The person of a photo without the background, by GrabCut from the joints; None if GrabCut finds too little."""
    x0, y0, x1, y1 = geometry.keypoints_box(points_px, np.ones(len(points_px), bool))
    size = max(x1 - x0, y1 - y0)
    mask = np.full(image.shape[:2], cv2.GC_BGD, np.uint8)
    left, top = (int(max(v - 0.08 * size, 0)) for v in (x0, y0))
    mask[top : int(y1 + 0.08 * size), left : int(x1 + 0.08 * size)] = cv2.GC_PR_BGD
    hull = cv2.convexHull(points_px.astype(np.int32))
    cv2.fillPoly(mask, [hull], cv2.GC_PR_FGD)
    for point in points_px:
        cv2.circle(mask, tuple(int(v) for v in point), max(2, int(0.018 * size)), cv2.GC_FGD, -1)
    try:
        cv2.setRNGSeed(0)
        cv2.grabCut(image, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    except cv2.error:
        return None
    person = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if person.sum() < 0.15 * (x1 - x0) * (y1 - y0):
        return None
    alpha = cv2.GaussianBlur(255 * person.astype(np.uint8), (0, 0), 0.8)
    rows, columns = np.flatnonzero(person.any(1)), np.flatnonzero(person.any(0))
    inside = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Sprite(image[inside].copy(), alpha[inside].copy(), points_px - [columns[0], rows[0]])


def ldr_panorama(panorama: Panorama) -> np.ndarray:
    """A panorama as (H, W, 3) uint8, exposed by its median and tone-mapped."""
    radiance = panorama.radiance * (0.5 / max(float(np.median(panorama.radiance.mean(-1))), 1e-6))
    linear = radiance / (1 + radiance) * 1.15
    return (255 * np.clip(linear, 0, 1) ** (1 / 2.2)).astype(np.uint8)


# --- backgrounds -----------------------------------------------------------------------------------------------


def draw_background(rng: np.random.Generator, pool: Pool, size: tuple[int, int]) -> np.ndarray:
    """(height, width, 3) without people: part of a photo or several, a panorama view, a texture or a color gradient."""
    kind = rng.random()
    if kind < 0.45 and pool.empty:
        return patch(rng, pool, size)
    if kind < 0.78 and pool.panoramas:
        return panorama_view(rng, pool.panoramas[rng.integers(len(pool.panoramas))], size)
    if kind < 0.9 and pool.empty:  # two or three photos side by side
        height, width = size
        image = patch(rng, pool, size)
        x, y = int(rng.uniform(0.2, 0.8) * width), int(rng.uniform(0.2, 0.8) * height)
        image[:, x:] = patch(rng, pool, (height, width - x))
        if rng.random() < 0.5:
            image[y:] = patch(rng, pool, (height - y, width))
        return image
    if kind < 0.96 and len(pool.textures):
        texture = pool.textures[rng.integers(len(pool.textures))]
        return cv2.resize(texture, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    first, second = rng.integers(0, 256, (2, 3))
    ramp = (
        np.linspace(0, 1, size[0])[:, None, None] if rng.random() < 0.5 else np.linspace(0, 1, size[1])[None, :, None]
    )
    return np.broadcast_to(first + (second - first) * ramp, (*size, 3)).astype(np.uint8)


def patch(rng: np.random.Generator, pool: Pool, size: tuple[int, int]) -> np.ndarray:
    """A part of a photo without people, resized to (height, width), slightly stretched, and mirrored half the time."""
    empty = pool.empty[rng.integers(len(pool.empty))]
    height, width = empty.shape[:2]
    aspect = np.exp(rng.uniform(-0.35, 0.35)) * size[1] / size[0]
    crop_height = min(height, width / aspect) * rng.uniform(0.7, 1.0)
    crop_width = min(crop_height * aspect, width)
    y, x = int(rng.uniform(0, height - crop_height + 1e-3)), int(rng.uniform(0, width - crop_width + 1e-3))
    part = empty[y : y + max(int(crop_height), 2), x : x + max(int(crop_width), 2)]
    shrinks = part.shape[0] > size[0]
    image = cv2.resize(
        part, (max(size[1], 1), max(size[0], 1)), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    return image[:, ::-1].copy() if rng.random() < 0.5 else image


def panorama_view(rng: np.random.Generator, panorama: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The view of a nearly level camera into a panorama, (height, width, 3)."""
    height, width = size
    focal = 0.5 * max(size) / np.tan(np.deg2rad(rng.uniform(40, 95)) / 2)
    yaw, pitch = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.normal(-3, 9))
    x, y = np.meshgrid(np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2)
    y, z = np.cos(pitch) * y - np.sin(pitch) * focal, np.sin(pitch) * y + np.cos(pitch) * focal
    longitude, latitude = yaw + np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))
    columns = (longitude / (2 * np.pi) % 1) * panorama.shape[1]
    rows = (latitude / np.pi + 0.5) * panorama.shape[0]
    return cv2.remap(
        panorama, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    )
