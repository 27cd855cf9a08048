"""Rendered people without background: colors, alpha (the person's share of each pixel) and joints."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.core.progress import progress
from keras_pose.io import atomic
from keras_pose.synthetic.generate import Settings, load_panoramas
from keras_pose.synthetic.people import seed_of
from keras_pose.synthetic.render.camera import camera_position, crop_camera, sample_camera
from keras_pose.synthetic.render.degrade import encode_srgb
from keras_pose.synthetic.render.light import cast_shadows, sample_light
from keras_pose.synthetic.render.panorama import Panorama
from keras_pose.synthetic.render.raster import rasterize, to_homogeneous_pixels
from keras_pose.synthetic.render.shade import join_meshes, shade
from keras_pose.synthetic.scene.studio import SHADOW_RADIUS_MM, SceneSettings

SIZE = 192  # side in pixels of the rendered image, before it is cropped to the person
ROLLED_SHARE = 0.25  # share of people rendered with the camera rolled by any angle
DIFFICULTY = 0.6  # of the light, from 0 (clean) to 1 (full)


@dataclass(frozen=True)
class Cutout:
    """A person without background: `image` (h, w, 3) and `alpha` (h, w) uint8, joints `points_px` (K, 2)."""

    image: np.ndarray
    alpha: np.ndarray
    points_px: np.ndarray


def people_settings(
    seed: int, bodies: int, mocap: str | None, clothes_dir: str | None, panoramas: str | None
) -> Settings:
    """The generator's settings, with bodies, poses and panoramas divided into three splits."""
    scene = SceneSettings((SIZE, SIZE), (0.0, 1.0), ROLLED_SHARE, 92)
    return Settings(0, seed, (0.8, 0.1, 0.1), scene, bodies, mocap, clothes_dir, panoramas)


def render(settings: Settings, split: str, count: int) -> Iterator[Cutout]:
    """Yields `count` people of a split; each depends only on the settings, the split and its number."""
    people, panoramas = settings.people(), load_panoramas(settings, split)
    for index in range(count):
        rng = np.random.default_rng(seed_of(settings.seed, "cutout", split, index))
        yield _render(rng, people.sample(rng, split, index).posed, panoramas)


def _render(rng: np.random.Generator, person, panoramas: list[Panorama]) -> Cutout:
    joints = person.joints_mm
    camera = sample_camera(rng, joints, any_roll=rng.random() < ROLLED_SHARE)
    camera = crop_camera(rng, camera, joints, (SIZE, SIZE), truncated=False)
    solids = join_meshes([person.mesh])
    raster = rasterize(to_homogeneous_pixels(solids.vertices_mm, camera, scale=2.0), solids.faces, (2 * SIZE, 2 * SIZE))
    light = sample_light(rng, panoramas[rng.integers(len(panoramas))], DIFFICULTY)
    shadows = cast_shadows(solids.vertices_mm, solids.faces, light, joints.mean(0), SHADOW_RADIUS_MM, SIZE)
    black = np.zeros((SIZE, SIZE, 3), np.float32)
    linear = shade(raster, solids, black, light, shadows, camera_position(camera))
    alpha = (raster.face >= 0).reshape(SIZE, 2, SIZE, 2).mean((1, 3))  # (SIZE, SIZE)
    image = encode_srgb(linear / np.maximum(alpha, 0.25)[..., None]).clip(0, 255).astype(np.uint8)
    points = camera.project(camera.to_camera(joints))
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    inside = np.s_[top:bottom, left:right]
    return Cutout(image[inside], (255 * alpha[inside]).astype(np.uint8), points - [left, top])


# --- on disk ---------------------------------------------------------------------------------------------------


def load_or_render(path: Path, settings: Settings, split: str, count: int) -> list[Cutout]:
    """Reads the first `count` cutouts of a file, or renders them and writes the file if it does not exist."""
    if path.is_file():
        return read(path, count)
    cutouts = list(progress(render(settings, split, count), count, "person", description="rendering"))
    write(path, cutouts)
    return cutouts


def write(path: Path, cutouts: list[Cutout]) -> None:
    """Writes cutouts as one .npz of PNG images with alpha, whole or not at all; raises UserError if it cannot."""
    columns = {}
    for i, cutout in enumerate(cutouts):
        picture = np.concatenate([cutout.image, cutout.alpha[..., None]], axis=-1)
        columns[f"png{i}"] = cv2.imencode(".png", picture)[1]
        columns[f"points{i}"] = cutout.points_px.astype(np.float32)
    with atomic.writing(path) as partial:
        np.savez(partial, **columns)


def read(path: Path, count: int) -> list[Cutout]:
    """The first `count` cutouts of a file; raises UserError if it holds fewer."""
    try:
        with np.load(path, allow_pickle=False) as file:
            found = []
            for i in range(count):
                picture = cv2.imdecode(file[f"png{i}"], cv2.IMREAD_UNCHANGED)
                found.append(Cutout(picture[..., :3].copy(), picture[..., 3].copy(), file[f"points{i}"]))
            return found
    except (OSError, ValueError, KeyError, cv2.error) as error:
        raise UserError(f"{path} does not hold {count} cutouts ({error}); remove it to render them again") from error
