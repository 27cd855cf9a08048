import numpy as np
import pytest
import tensorflow as tf

from keras_pose.core.errors import UserError
from keras_pose.losses import target_heatmaps
from keras_pose.models.soft_argmax import FORMS, LOWEST_PEAK, SoftArgmax, inhibit_other_side, joint_scores

HEIGHT, WIDTH = 24, 16


def spike(x, y):
    heatmaps = np.zeros((1, HEIGHT, WIDTH, 1), np.float32)
    heatmaps[0, y, x] = 1
    return heatmaps


@pytest.fixture
def heatmaps(rng):
    return rng.uniform(0, 0.2, (2, HEIGHT, WIDTH, 3)).astype(np.float32)


def test_spike_reads_the_middle_of_its_cell():
    np.testing.assert_allclose(SoftArgmax(100)(spike(3, 7))[0, 0], [3.5 / 16, 7.5 / 24], atol=1e-6)


@pytest.mark.parametrize("x, y", [(0, 0), (3, 7), (15, 0), (0, 23), (15, 23)])
def test_flat_form_reads_a_spike_within_its_cell(x, y):
    found = SoftArgmax(100, "flat")(spike(x, y))[0, 0].numpy() * [WIDTH, HEIGHT]
    assert found[0] == pytest.approx(x + 0.5, abs=1e-3)  # a flat index of 383 has this many digits
    assert abs(found[1] - (y + 0.5)) < 0.5


def test_mass_over_two_rows_is_where_the_forms_differ():
    two_rows = spike(3, 7) + spike(3, 8)
    middle = [3.5 / WIDTH, 8 / HEIGHT]
    np.testing.assert_allclose(SoftArgmax(100)(two_rows)[0, 0], middle, atol=1e-6)
    assert abs(SoftArgmax(100, "flat")(two_rows)[0, 0, 0] - middle[0]) > 0.4  # half a row away


@pytest.mark.parametrize("form", FORMS)
def test_constant_changes_nothing(form, heatmaps):
    np.testing.assert_allclose(SoftArgmax(20, form)(heatmaps + 3), SoftArgmax(20, form)(heatmaps), atol=1e-4)


def test_mirrored_map_gives_mirrored_x(heatmaps):
    expected = SoftArgmax(20)(heatmaps) * [-1.0, 1.0] + [1.0, 0.0]
    np.testing.assert_allclose(SoftArgmax(20)(heatmaps[:, :, ::-1]), expected, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_gradient_is_the_slope(form):
    layer, step = SoftArgmax(20.0, form), 1e-3
    heatmaps = spike(6, 11) + 0.95 * spike(7, 11) + 0.9 * spike(8, 11)  # in one row, where also `flat` is smooth
    direction = np.cos(np.arange(heatmaps.size, dtype=np.float32)).reshape(heatmaps.shape)
    with tf.GradientTape() as tape:
        inputs = tf.constant(heatmaps)
        tape.watch(inputs)
        x = tf.reduce_sum(layer(inputs)[..., 0])
    slope = float(tf.reduce_sum(tape.gradient(x, inputs) * direction))
    ahead, behind = (float(tf.reduce_sum(layer(heatmaps + s * direction)[..., 0])) for s in (step, -step))
    assert abs(slope) > 0.1 and slope == pytest.approx((ahead - behind) / (2 * step), rel=0.02)


def blob(x, y, height):
    """A Gaussian over the whole map, as a network in doubt gives it: low, and nowhere zero."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (height * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 2)).astype(np.float32)[None, ..., None]


@pytest.mark.parametrize("form", FORMS)
def test_relative_heatmaps_read_the_same_at_any_height(form):
    layer = SoftArgmax(10, form, relative=True)
    np.testing.assert_allclose(layer(blob(3, 7, 0.05)), layer(blob(3, 7, 1.0)), atol=1e-5)


def test_a_low_peak_is_pulled_to_the_center_unless_relative():
    at = np.array([2.5 / WIDTH, 3.5 / HEIGHT])
    plain, relative = SoftArgmax(30)(blob(2, 3, 0.1)), SoftArgmax(10, relative=True)(blob(2, 3, 0.1))
    assert np.abs(plain[0, 0] - at).max() > 0.2 > 0.02 > np.abs(relative[0, 0] - at).max()


def test_an_empty_map_stays_in_the_center():
    for height in (0.0, LOWEST_PEAK / 100):
        np.testing.assert_allclose(SoftArgmax(10, relative=True)(blob(2, 3, height))[0, 0], 0.5, atol=0.02)


def test_the_peak_of_a_relative_heatmap_passes_no_gradient():
    """Only where the mass lies can move the joint: the gradient is the one of the map divided by a constant."""
    inputs, gradients = tf.constant(blob(5, 8, 0.4) + 0.3 * blob(9, 12, 0.4)), []
    peak = float(tf.reduce_max(inputs))
    for read in (SoftArgmax(10, relative=True), lambda maps: SoftArgmax(10)(maps / peak)):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            x = tf.reduce_sum(read(inputs)[..., 0])
        gradients.append(tape.gradient(x, inputs))
    assert np.abs(gradients[0]).max() > 0.01
    np.testing.assert_allclose(gradients[0], gradients[1], atol=1e-6)


MIRROR = (1, 0, 2)  # a left joint, the right one, and one in the middle


def of_pair(left, right):
    """Maps of a pair and of a joint in the middle."""
    return np.concatenate([left, right, blob(4, 4, 1.0)], -1)


def test_an_unsure_pair_is_read_at_two_places():
    """Both maps have both peaks; the left joint's are a little more for the first place than the right's."""
    maps = of_pair(blob(3, 7, 0.5) + blob(11, 7, 0.35), blob(3, 7, 0.45) + blob(11, 7, 0.4))
    plain = SoftArgmax(30, relative=True)(maps)[0] * WIDTH
    found = SoftArgmax(30, relative=True, inhibition=0.6, mirror=MIRROR)(maps)[0] * WIDTH
    assert abs(plain[0, 0] - plain[1, 0]) < 1.5 and plain[1, 0] < 6
    np.testing.assert_allclose(found[:2, 0], [3.5, 11.5], atol=0.3)


def test_a_pair_at_one_place_stays_there_and_so_does_the_middle():
    maps = of_pair(blob(3, 7, 0.5), blob(3, 7, 0.5))
    layer = SoftArgmax(10, relative=True, inhibition=0.2, mirror=MIRROR)
    np.testing.assert_allclose(layer(maps), SoftArgmax(10, relative=True)(maps), atol=1e-5)


def test_inhibition_subtracts_the_mirrored_map_and_stops_at_zero(heatmaps):
    found = np.asarray(inhibit_other_side(heatmaps, MIRROR, 0.7))
    for joint, other in enumerate(MIRROR):
        share = 0.7 if other != joint else 0.0
        expected = np.maximum(heatmaps[..., joint] - share * heatmaps[..., other], 0)
        np.testing.assert_allclose(found[..., joint], expected, atol=1e-7)


def test_default_beta_reads_the_papers_targets(rng):
    keypoints = rng.uniform(0.05, 0.95, (4, 17, 2)).astype(np.float32)
    targets = target_heatmaps(keypoints, np.ones((4, 17)), (64, 48))
    cells = np.floor(keypoints * [48, 64]) + 0.5
    np.testing.assert_allclose(SoftArgmax()(targets) * [48.0, 64.0], cells, atol=0.01)


def test_float32_under_mixed_precision(precision, heatmaps):
    outputs = SoftArgmax(100)(heatmaps)
    assert outputs.dtype == tf.float32
    logits = heatmaps.transpose(0, 3, 1, 2).reshape(2, 3, -1).astype(np.float64) * 100
    weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    x = (weights * np.tile((np.arange(WIDTH) + 0.5) / WIDTH, HEIGHT)).sum(-1)
    np.testing.assert_allclose(outputs[..., 0], x, atol=1e-5)


def test_scores_are_the_maxima():
    heatmaps = np.concatenate([spike(3, 7), 0.25 * spike(0, 1)], -1)
    np.testing.assert_array_equal(joint_scores(heatmaps), [[1, 0.25]])


def test_bad_arguments():
    with pytest.raises(UserError, match="positive"):
        SoftArgmax(0)
    with pytest.raises(UserError, match="marginal"):
        SoftArgmax(form="sideways")
    for share in (-0.1, 1.0):
        with pytest.raises(UserError, match="left/right inhibition is"):
            SoftArgmax(inhibition=share, mirror=MIRROR)
    with pytest.raises(UserError, match="needs the skeleton's flip permutation"):
        SoftArgmax(inhibition=0.2)
