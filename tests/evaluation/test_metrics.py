import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.transform import Rotation

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import COCO_17, HUMAN36M_17, LSP_14, MPII_16
from keras_pose.evaluation import metrics

POSE_METRICS = [metrics.mpjpe, metrics.pa_mpjpe, metrics.n_mpjpe]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def target(rng):
    return rng.normal(0, 300, (4, 17, 3)).astype(np.float32)


@pytest.fixture
def predicted(target, rng):
    return target + rng.normal(0, 100, target.shape).astype(np.float32)


@pytest.fixture
def similar(target, rng):
    """The target turned, scaled and moved, each example its own way."""
    turned = np.stack([pose @ turn.as_matrix() for pose, turn in zip(target, Rotation.random(4, rng), strict=True)])
    return (turned * rng.uniform(0.5, 2, (4, 1, 1)) + rng.normal(0, 500, (4, 1, 3))).astype(np.float32)


# --- 3D --------------------------------------------------------------------------------------------------------


def test_mpjpe_by_hand(target):
    shifted = target.copy()
    shifted[:, 0] += [30, 0, -40]
    np.testing.assert_allclose(metrics.joint_errors(target, shifted)[:, 0], 50, rtol=1e-4)
    np.testing.assert_allclose(metrics.mpjpe(target, shifted), 50 / 17, rtol=1e-4)


@pytest.mark.parametrize("metric", POSE_METRICS)
def test_common_scale_scales_them(metric, target, predicted):
    np.testing.assert_allclose(metric(3 * target, 3 * predicted), 3 * metric(target, predicted), rtol=1e-4)


@pytest.mark.parametrize("metric", [metrics.mpjpe, metrics.pa_mpjpe])
def test_common_translation_leaves_them(metric, target, predicted):
    move = np.float32([100, -50, 700])
    np.testing.assert_allclose(metric(target + move, predicted + move), metric(target, predicted), rtol=1e-3)


@pytest.mark.parametrize("metric", POSE_METRICS)
def test_masked_joints_do_not_count(metric, target, predicted, rng):
    valid = np.arange(17) % 3 > 0
    expected = metric(target[:, valid], predicted[:, valid])
    spoilt = np.where(valid[:, None], predicted, 9e3).astype(np.float32)
    np.testing.assert_allclose(metric(target, spoilt, np.tile(valid, (4, 1))), expected, rtol=1e-4)


def test_pa_mpjpe_is_zero_under_a_similarity_and_not_under_a_mirror(target, similar):
    assert np.max(metrics.pa_mpjpe(target, similar)) < 0.01
    assert np.min(metrics.pa_mpjpe(target, similar * np.float32([-1, 1, 1]))) > 50


def test_procrustes_equals_scipys(target, predicted):
    aligned = metrics.align_procrustes(target, predicted)
    for index in range(4):
        a, b = (points[index] - points[index].mean(0) for points in (target, predicted))
        rotation, singular_sum = orthogonal_procrustes(b, a)
        assert np.linalg.det(rotation) > 0  # SciPy allows mirrors; these poses need none
        expected = b @ rotation * singular_sum / (b**2).sum() + target[index].mean(0)
        np.testing.assert_allclose(aligned[index], expected, atol=0.01)


def test_alignment_reduces_the_root_mean_square(target, predicted):
    def root_mean_square(poses):
        return np.sqrt(np.mean((np.asarray(poses) - target) ** 2, axis=(1, 2)))

    scaled, similar = metrics.align_scale(target, predicted), metrics.align_procrustes(target, predicted)
    assert (root_mean_square(similar) <= root_mean_square(scaled)).all()
    assert (root_mean_square(scaled) <= root_mean_square(predicted)).all()


def test_n_mpjpe_forgives_only_scale(target, similar):
    assert np.max(metrics.n_mpjpe(target, 0.3 * target)) < 0.01
    assert np.min(metrics.n_mpjpe(target, similar)) > 50


def test_flat_and_single_point_poses_are_finite(target):
    flat = target * np.float32([1, 1, 0])
    for predicted in (flat, np.zeros_like(target)):
        for metric in POSE_METRICS:
            assert np.isfinite(metric(flat, predicted)).all() and np.isfinite(metric(predicted, flat)).all()


def test_an_alignment_needs_four_joints(target, similar):
    """Any two points are a similarity of any others, so that PA-MPJPE would praise every prediction."""
    counts = np.array([0, 2, 3, 4])
    valid = (np.arange(17) < counts[:, None]).astype(np.float32)
    np.testing.assert_array_equal(metrics.pa_weights(valid), counts >= metrics.PA_FEWEST_JOINTS)
    np.testing.assert_array_equal(metrics.pa_weights(valid > 0), [0, 0, 0, 1])
    wrong = similar[::-1].copy()
    assert metrics.pa_mpjpe(target, wrong, valid)[1] < 0.1 < metrics.pa_mpjpe(target, wrong, valid)[3]
    for metric in POSE_METRICS:
        assert np.isfinite(metric(target, wrong, valid)).all()


def test_pck3d_and_auc_by_hand(target):
    shifted = target.copy()
    for joint, error in enumerate((0, 72.5, 149, 151)):
        shifted[:, joint, 2] += error
    np.testing.assert_array_equal(metrics.pck3d(target, shifted)[:, :4], [[1, 1, 1, 0]] * 4)
    # Of the 31 thresholds 0, 5, ... 150: all; those from 75; 150 alone; none.
    np.testing.assert_allclose(metrics.auc(target, shifted)[:, :4], [[1, 16 / 31, 1 / 31, 0]] * 4, rtol=1e-5)


# --- 2D --------------------------------------------------------------------------------------------------------


@pytest.fixture
def person_px():
    """One person of 17 joints: torso of 50 px from left shoulder to right hip, head of 20 px."""
    points = np.random.default_rng(1).uniform(0, 200, (1, 17, 2)).astype(np.float32)
    places = {"left_shoulder": (130, 40), "right_hip": (100, 80), "left_hip": (128, 80), "right_shoulder": (100, 40)}
    places |= {"thorax": (115, 38), "head_top": (115, 18), "left_wrist": (150, 70), "right_wrist": (80, 70)}
    for name, place in places.items():
        points[0, HUMAN36M_17.index(name)] = place
    return points


@pytest.mark.parametrize("metric, fraction, size_px", [(metrics.pck, 0.2, 50), (metrics.pckh, 0.5, 20)])
def test_pck_allows_a_share_of_the_size(metric, fraction, size_px, person_px):
    reach = fraction * size_px
    predicted = person_px.copy()
    predicted[0, :, 0] += np.where(np.arange(17) % 2, reach - 0.1, reach + 0.1)
    right, weights = metric(person_px, predicted, np.ones((1, 17)), HUMAN36M_17)
    np.testing.assert_array_equal(right[0], np.arange(17) % 2)
    assert np.all(weights == 1) and float(metrics.weighted_mean(right, weights)) == pytest.approx(8 / 17)


@pytest.mark.parametrize("metric, joint", [(metrics.pck, "right_hip"), (metrics.pckh, "head_top")])
def test_people_without_a_size_do_not_count(metric, joint, person_px):
    valid = np.ones((1, 17))
    valid[0, HUMAN36M_17.index(joint)] = 0
    assert not np.any(metric(person_px, person_px, valid, HUMAN36M_17)[1])


def test_pckh_needs_a_head(person_px):
    with pytest.raises(UserError, match="coco_17"):
        metrics.pckh(person_px, person_px, np.ones((1, 17)), COCO_17)


@pytest.mark.parametrize("skeleton", [MPII_16, LSP_14])
def test_pckh_of_other_skeletons(skeleton, rng):
    points = rng.uniform(0, 100, (2, skeleton.num_joints, 2)).astype(np.float32)
    right, weights = metrics.pckh(points, points, np.ones(points.shape[:2]), skeleton)
    assert np.all(right == 1) and np.all(weights == 1)


def test_either_side_exchanges_pairs_where_more_is_then_right(person_px):
    names, valid = ("left_wrist", "right_wrist"), np.ones((1, 17))
    wrists = [HUMAN36M_17.index(name) for name in names]

    def right(left_px, right_px):
        predicted = person_px.copy()
        predicted[0, wrists] = left_px, right_px
        values, weights = metrics.pck_either_side(person_px, predicted, valid, HUMAN36M_17)
        np.testing.assert_array_equal(np.delete(values[0], wrists), 1)
        np.testing.assert_array_equal(weights, 1)
        return np.asarray(values)[0, wrists].tolist()

    left_px, right_px, nowhere = (150, 70), (80, 70), (500, 500)
    assert right(left_px, right_px) == right(right_px, left_px) == [1, 1]
    assert right(left_px, left_px) == [1, 0]  # collapsed: one limb is found, whoever found it
    assert right(left_px, nowhere) == [1, 0] and right(right_px, nowhere) == [0, 1]
    valid[0, wrists[1]] = 0
    assert metrics.pck_either_side(person_px, person_px, valid, HUMAN36M_17)[1][0, wrists[1]] == 0


def test_left_right_collapse(person_px):
    wrists = [HUMAN36M_17.index(name) for name in ("left_wrist", "right_wrist")]
    pair = HUMAN36M_17.left_right_pairs.index(tuple(wrists))
    valid = np.ones((1, 17))

    def collapsed(left_px, right_px):
        predicted = person_px.copy()
        predicted[0, wrists] = left_px, right_px
        values, weights = metrics.left_right_collapse(person_px, predicted, valid, HUMAN36M_17)
        assert weights[0, pair] == 1
        return bool(values[0, pair])

    assert not collapsed((150, 70), (80, 70))
    assert not collapsed((80, 70), (150, 70))  # swapped, not collapsed
    assert collapsed((150, 70), (140, 70)) and collapsed((90, 70), (80, 70))
    person_px[0, wrists] = (110, 70), (95, 70)  # 15 px apart: under 0.4 of the torso's 50
    assert metrics.left_right_collapse(person_px, person_px, valid, HUMAN36M_17)[1][0, pair] == 0


def test_weighted_mean_of_nothing_is_zero():
    assert metrics.weighted_mean(np.ones((2, 3), np.float32), np.zeros((2, 3))) == 0
