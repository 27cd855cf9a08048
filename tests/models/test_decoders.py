import numpy as np
import pytest

from keras_pose.core import geometry
from keras_pose.core.skeleton import COCO_17, MPII_16
from keras_pose.io.model_info import OFFICIAL_CELL_CENTER, OWN_CELL_CENTER
from keras_pose.models import decoders
from keras_pose.models.decoders import DECODERS

HEIGHT, WIDTH = 24, 16


def gaussians(cells: np.ndarray, sigma: float = 2.0) -> np.ndarray:
    """(B, J, 2) places in cell indices (x, y) to heatmaps (B, HEIGHT, WIDTH, J) with a peak of 1 there."""
    x, y = np.arange(WIDTH)[None, None, :, None], np.arange(HEIGHT)[None, :, None, None]
    dx, dy = x - cells[:, None, None, :, 0], y - cells[:, None, None, :, 1]
    return np.exp(-(dx**2 + dy**2) / (2 * sigma**2))


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("cell_center", [OWN_CELL_CENTER, OFFICIAL_CELL_CENTER])
def test_a_spike_in_a_cell_is_read_there(name, cell_center):
    heatmaps = np.zeros((1, HEIGHT, WIDTH, 2))
    heatmaps[0, 7, 3, 0] = heatmaps[0, 20, 11, 1] = 0.3
    expected = [[(3 + cell_center) / 16, (7 + cell_center) / 24], [(11 + cell_center) / 16, (20 + cell_center) / 24]]
    np.testing.assert_allclose(DECODERS[name](heatmaps, cell_center)[0], expected, atol=1e-4)


def places(count: int = 60) -> np.ndarray:
    return np.random.default_rng(0).uniform([5, 5], [WIDTH - 6, HEIGHT - 6], (count, 1, 2))


def errors_in_cells(name: str, cells: np.ndarray) -> np.ndarray:
    read = DECODERS[name](gaussians(cells)) * [WIDTH, HEIGHT] - OWN_CELL_CENTER
    return np.abs(read - cells)


def test_dark_finds_the_top_between_cells():
    assert errors_in_cells("dark", places()).max() < 0.01


def test_the_quarter_offset_halves_the_rounding():
    errors = errors_in_cells("quarter_offset", places())
    assert errors.max() <= 0.25 + 1e-6 and errors.mean() < 0.2


def test_soft_argmax_is_near_the_top_between_cells():
    assert errors_in_cells("soft_argmax", places()).max() < 0.1


@pytest.mark.parametrize("name", DECODERS)
def test_a_mirrored_map_gives_a_mirrored_x(name):
    heatmaps = gaussians(places(8))
    straight, mirrored = DECODERS[name](heatmaps), DECODERS[name](heatmaps[:, :, ::-1])
    np.testing.assert_allclose(mirrored[..., 0], 1 - straight[..., 0], atol=1e-5)
    np.testing.assert_allclose(mirrored[..., 1], straight[..., 1], atol=1e-5)


@pytest.mark.parametrize("name", DECODERS)
def test_scaling_a_map_changes_nothing(name):
    heatmaps = gaussians(places(8))
    np.testing.assert_allclose(DECODERS[name](heatmaps * 0.2), DECODERS[name](heatmaps), atol=1e-5)


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("value", [0.0, -1.0])
def test_an_empty_map_gives_a_finite_place(name, value):
    keypoints = DECODERS[name](np.full((1, HEIGHT, WIDTH, 1), value))
    assert np.isfinite(keypoints).all() and (keypoints >= 0).all() and (keypoints <= 1).all()


@pytest.mark.parametrize("name", ["quarter_offset", "dark"])
@pytest.mark.parametrize("cell", [(0, 0), (WIDTH - 1, HEIGHT - 1), (1, 12), (8, HEIGHT - 1)])
def test_a_peak_at_the_border_stays_in_its_cell(name, cell):
    keypoints = DECODERS[name](gaussians(np.array([[cell]], float)))
    np.testing.assert_allclose(keypoints[0, 0], (np.array(cell) + 0.5) / [WIDTH, HEIGHT], atol=1e-6)


@pytest.mark.parametrize("skeleton", [COCO_17, MPII_16])
@pytest.mark.parametrize("cell_center", [OWN_CELL_CENTER, OFFICIAL_CELL_CENTER])
def test_the_flip_test_brings_both_views_together(skeleton, cell_center):
    """A network that finds every joint gives for the mirrored image the mirrored place, at the paired joint."""
    rng = np.random.default_rng(1)
    keypoints = rng.uniform(0.3, 0.7, (1, skeleton.num_joints, 2))
    mirrored = keypoints[:, list(skeleton.flip_permutation)] * [-1, 1] + [1, 0]
    seen, seen_mirrored = (gaussians(k * [WIDTH, HEIGHT] - cell_center) for k in (keypoints, mirrored))
    average = decoders.flip_average(seen, seen_mirrored, skeleton, cell_center)
    error = np.abs(decoders.dark(average, cell_center) - keypoints) * [WIDTH, HEIGHT]
    # The official move by one cell is a quarter of a cell too far; half of that reaches the mean.
    assert error.max() < (0.02 if cell_center == OWN_CELL_CENTER else 0.14)


def test_crop_and_decoding_are_the_official_formulas_but_for_half_a_pixel():
    """Cell i of the heatmap is the image's pixel index center + (i - w / 2) * 200 * scale / w."""
    box, size = np.array([30.0, 20.0, 90.0, 150.0]), (96, 64)
    affine = geometry.crop_affine(*geometry.box_crop(box, size), size)
    heatmaps = np.zeros((1, 24, 16, 1))
    heatmaps[0, 12, 4, 0] = 1.0
    in_crop = geometry.denormalize_keypoints(decoders.quarter_offset(heatmaps, OFFICIAL_CELL_CENTER)[0], size)
    in_picture = geometry.apply_affine(geometry.invert_affine(affine), in_crop)[0] - 0.5  # to pixel indices
    scale = 130 * 1.25 / 200 * np.array([64 / 96, 1.0])  # (w, h), the box is taller than the crop's shape
    official = [60, 85] + (np.array([4, 12]) / [16, 24] - 0.5) * 200 * scale
    # The official code takes the box's middle for a pixel's index and puts it at the index of the crop's middle.
    zoom = 96 / (130 * 1.25)
    np.testing.assert_allclose(in_picture, official + 0.5 / zoom - 0.5, atol=1e-4)
