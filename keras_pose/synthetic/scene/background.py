"""The background: a panorama, optionally with its own floor, or a room; `background_kernel` draws it."""

from dataclasses import dataclass

import numpy as np

from keras_pose.core.geometry import Camera
from keras_pose.synthetic.render.camera import camera_position
from keras_pose.synthetic.render.light import Light, ShadowMap
from keras_pose.synthetic.render.panorama import Panorama
from keras_pose.synthetic.render.raster import Raster
from keras_pose.synthetic.render.shade import SRGB_TO_LINEAR
from keras_pose.synthetic.scene.background_kernel import draw_background
from keras_pose.synthetic.scene.surfaces import Surfaces, natural_surfaces

_FLOOR, _CEILING, _WALLS = 2, 3, [0, 1, 4, 5]  # planes are -x, +x, floor, ceiling, -z, +z


@dataclass(frozen=True)
class Backdrop:
    """The background of one scene.

    Attributes:
        zoom: how many times more of the panorama is shown than the lens sees, because crops are 15 to 40 degrees wide,
            which is few pixels of a panorama. The horizon keeps its place.
        box_mm: (6,) coordinates of the planes: x0, x1, floor, ceiling, z0, z1.
        surface: (6,) int32 index of each plane's texture; -1 shows the panorama instead.
        tint: (6, 3) factors on the colors of each plane's texture.
        repeat_mm: (6,) size of one repeat of each plane's texture.
        grain: index of the texture whose brightness modulates the panorama, which is blurred at this size: on the floor
            below the horizon, on a distant wall above.
        grain_strength: 0 (none) to 1 (full).
        contacts_mm: (M, 4) x, z, radius and strength of soft shadows on the floor, below people and objects.
    """

    panorama: Panorama
    zoom: float
    box_mm: np.ndarray
    surface: np.ndarray
    tint: np.ndarray
    repeat_mm: np.ndarray
    grain: int
    grain_strength: float
    contacts_mm: np.ndarray


def sample_backdrop(
    rng: np.random.Generator,
    panorama: Panorama,
    count: int,
    camera: Camera,
    center_mm: np.ndarray,
    contacts_mm: np.ndarray,
    difficulty: float,
) -> Backdrop:
    """Draws a backdrop: only a panorama, one with its own floor, or a room; `count` is the number of surfaces."""
    eye = camera_position(camera)
    inside = np.stack([eye, center_mm, *(contacts_mm[:, [0, 0, 1]] * [1, 0, 1])])  # a room contains everything
    low, high = inside.min(0), inside.max(0)
    box = np.array([low[0], high[0], 0.0, high[1], low[2], high[2]], np.float32)
    gap = np.exp(rng.uniform(np.log(500.0), np.log(5000.0), 6))
    box += gap * np.array([-1, 1, 0, 1, -1, 1])
    surface = np.full(6, -1, np.int32)
    kind = rng.random()
    if kind < 0.2 + 0.3 * difficulty:  # a room
        surface[_WALLS] = rng.integers(count) if rng.random() < 0.5 else rng.integers(0, count, 4)
        surface[[_FLOOR, _CEILING]] = rng.integers(0, count, 2)
        surface[rng.random(6) < 0.15] = -1  # a window
    elif kind < 0.65:
        surface[_FLOOR] = rng.integers(count)
    tint = np.exp(rng.normal(0, 0.15, (6, 3)) + rng.normal(-0.1, 0.3, (6, 1))).clip(0.2, 1.4)
    forward = camera.rotation[2]
    steepest = max(abs(np.arcsin(np.clip(forward[1], -1, 1))), 0.1)
    zoom = min(np.exp(rng.uniform(0.0, np.log(4.0))), max(1.0, 1.2 / steepest))
    repeat = np.exp(rng.uniform(np.log(400.0), np.log(3000.0), 6))
    return Backdrop(
        panorama,
        float(zoom),
        box,
        surface,
        tint.astype(np.float32),
        repeat.astype(np.float32),
        int(rng.choice(natural_surfaces(count))),
        float(rng.uniform(0.0, 0.4 + 0.3 * difficulty)),
        contacts_mm.astype(np.float32),
    )


def draw_backdrop(
    backdrop: Backdrop, surfaces: Surfaces, camera: Camera, raster: Raster, light: Light, shadows: ShadowMap
) -> np.ndarray:
    """(H, W, 3) float32 linear in [0, 1]; 0 where something nearer covers all four samples of a pixel.

    The raster is twice as large as the image.
    """
    height, width = (n // 2 for n in raster.face.shape)
    rays = (camera.rotation.T @ np.linalg.inv(camera.intrinsics)).astype(np.float32)
    contacts = backdrop.contacts_mm.copy()
    contacts[:, 2] **= -2  # the kernel uses the inverse square of the radius
    middle = rays @ np.array([width / 2, height / 2, 1.0], np.float32)
    return draw_background(
        *(raster.face, rays, camera_position(camera).astype(np.float32), np.float32(1 / camera.intrinsics[0, 0])),
        *(backdrop.panorama.radiance, np.float32(backdrop.zoom), np.float32(np.arctan2(middle[0], -middle[2]))),
        *(backdrop.box_mm, backdrop.surface, backdrop.tint, backdrop.repeat_mm, contacts),
        *(backdrop.grain, np.float32(backdrop.grain_strength), surfaces.texels, surfaces.level_start, SRGB_TO_LINEAR),
        *(light.sky, light.sun_direction, light.sun, np.float32(light.exposure), shadows.depth_mm, shadows.matrix),
    )
