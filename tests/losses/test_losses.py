import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_pose import losses
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17, Skeleton
from keras_pose.losses import LossConfig

SIZE = (24, 16)
JOINTS = 17


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def batch(rng):
    return {
        "keypoints_2d": rng.uniform(-0.1, 1.1, (6, JOINTS, 2)).astype(np.float32),
        "keypoint_valid": (rng.uniform(size=(6, JOINTS)) < 0.7).astype(np.float32),
        "pose_3d": rng.normal(0, 300, (6, JOINTS, 3)).astype(np.float32),
        # whole poses, none, and some joints of the last two
        "pose_3d_valid": np.stack(
            [*np.array([1, 0, 1, 1])[:, None] * np.ones(JOINTS), *(rng.uniform(size=(2, JOINTS)) < 0.6)]
        ),
    }


@pytest.fixture
def outputs(rng):
    return {
        "heatmaps": rng.normal(0, 0.1, (6, *SIZE, JOINTS)).astype(np.float32),
        "keypoints_2d": rng.uniform(size=(6, JOINTS, 2)).astype(np.float32),
        "pose_3d": rng.normal(0, 300, (6, JOINTS, 3)).astype(np.float32),
        "reprojected_2d": rng.uniform(size=(6, JOINTS, 2)).astype(np.float32),
    }


def heatmap(x, y, **arguments):
    """The map (24, 16) of one joint at (x, y) cells."""
    keypoints = np.array([[[x / SIZE[1], y / SIZE[0]]]], np.float32)
    return losses.target_heatmaps(keypoints, np.ones((1, 1)), SIZE, **arguments)[0, :, :, 0].numpy()


def pose_losses(*arguments, **keywords) -> dict[str, float]:
    return {name: float(value) for name, value in losses.pose_losses(*arguments, **keywords).items()}


# --- targets ---------------------------------------------------------------------------------------------------


def test_paper_target_is_a_smoothed_spike():
    from scipy.ndimage import gaussian_filter

    spike = np.zeros(SIZE)
    spike[7, 3] = 1
    # radius 1 cuts SciPy's kernel to 3 x 3
    np.testing.assert_allclose(heatmap(3.2, 7.9), gaussian_filter(spike, 1.0, radius=1, mode="constant"), atol=1e-6)


def test_paper_target_at_the_border_loses_mass_and_stays_there():
    corner = heatmap(0.5, 0.5)
    assert corner.argmax() == 0 and corner.max() == pytest.approx(heatmap(5.5, 5.5).max(), rel=1e-6)
    assert corner.sum() < 0.6 and np.count_nonzero(corner) == 4


def test_unquantized_target_is_at_the_joint():
    target = heatmap(7.3, 11.8, kernel_size=None, sigma=1.5)
    ys, xs = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    centre = [(xs * target).sum() / target.sum(), (ys * target).sum() / target.sum()]
    np.testing.assert_allclose(centre, [7.3, 11.8], atol=1e-3)
    assert heatmap(7.5, 11.5, kernel_size=None, sigma=1.5).max() == pytest.approx(1)


@pytest.mark.parametrize("kernel_size", [3, None])
def test_joint_outside_the_crop_has_an_empty_target(kernel_size):
    for x, y in ((-0.1, 5), (16.1, 5), (5, -0.1), (5, 24.1)):
        assert not heatmap(x, y, kernel_size=kernel_size).any()


# --- Eq. 1, 6, 7, 8 --------------------------------------------------------------------------------------------


def test_each_loss_on_numbers_done_by_hand(batch, outputs):
    zeros = {name: np.zeros_like(value) for name, value in outputs.items()}
    everywhere = {**batch, "keypoint_valid": np.ones((6, JOINTS))}  # of 3D, some joints alone
    everywhere["keypoints_2d"] = np.full((6, JOINTS, 2), 0.53, np.float32)
    everywhere["pose_3d"] = np.tile(np.array([300.0, 0, 400]), (6, JOINTS, 1)).astype(np.float32)
    found = pose_losses(everywhere, zeros, HUMAN36M_17, LossConfig())
    kernel = np.exp(-np.array([1, 0, 1]) / 2)
    kernel /= kernel.sum()
    assert found["joint2d"] == pytest.approx((kernel**2).sum() ** 2, rel=1e-5)  # SUMMED over cells
    assert found["encoder"] == pytest.approx(0.25, rel=1e-5)  # half a meter, squared
    assert found["decoder"] == pytest.approx(2 * 0.53**2, rel=1e-5)
    assert found["bone_symmetry"] == 0


def test_masked_values_change_nothing(batch, outputs):
    expected = pose_losses(batch, outputs, HUMAN36M_17, LossConfig())
    hidden = batch["keypoint_valid"][..., None] == 0
    batch["keypoints_2d"] = np.where(hidden, 0.77, batch["keypoints_2d"]).astype(np.float32)
    batch["pose_3d"] = np.where(batch["pose_3d_valid"][..., None] == 0, 9e3, batch["pose_3d"]).astype(np.float32)
    found = pose_losses(batch, outputs, HUMAN36M_17, LossConfig())
    for name in expected:
        assert found[name] == pytest.approx(expected[name], rel=1e-5), name


def test_without_labels_only_symmetry_remains(batch, outputs):
    batch |= {"keypoint_valid": np.zeros((6, JOINTS)), "pose_3d_valid": np.zeros((6, JOINTS))}
    found = pose_losses(batch, outputs, HUMAN36M_17, LossConfig(delta=2.0))
    assert found["joint2d"] == found["encoder"] == found["decoder"] == 0
    assert found["loss"] == pytest.approx(2 * found["bone_symmetry"]) and found["loss"] > 0


def test_the_encoders_loss_is_the_mean_over_labeled_joints(batch, outputs):
    metres = np.linalg.norm(batch["pose_3d"] - outputs["pose_3d"], axis=-1) / 1000
    found = pose_losses(batch, outputs, HUMAN36M_17, LossConfig())
    assert 3 * JOINTS < batch["pose_3d_valid"].sum() < 5 * JOINTS
    assert found["encoder"] == pytest.approx(np.mean(metres[batch["pose_3d_valid"] > 0] ** 2), rel=1e-5)
    moved = {**batch, "pose_3d": batch["pose_3d"].copy()}
    moved["pose_3d"][tuple(np.argwhere(batch["pose_3d_valid"][4:] > 0)[0] + [4, 0])] += 100
    assert pose_losses(moved, outputs, HUMAN36M_17, LossConfig())["encoder"] != pytest.approx(
        found["encoder"], rel=1e-4
    )


def test_a_lifter_does_not_learn_from_what_it_cannot_see(batch, outputs):
    """Eq. 6 leaves out examples without a 2D label, Eq. 7 every joint without one, also where it is not the target."""
    batch["keypoint_valid"][0] = 0
    lifted = {name: outputs[name] for name in ("pose_3d", "reprojected_2d")} | {
        "seen_keypoints_2d": outputs["keypoints_2d"]
    }
    seeing, config = batch | {"seen_valid": batch["keypoint_valid"]}, LossConfig(decoder_target="predicted")
    found = pose_losses(seeing, lifted, HUMAN36M_17, config)
    lifted["reprojected_2d"] = np.where(batch["keypoint_valid"][..., None] > 0, lifted["reprojected_2d"], 7)
    lifted["pose_3d"] = lifted["pose_3d"].copy()
    lifted["pose_3d"][0] = 9e3
    again = pose_losses(seeing, lifted, HUMAN36M_17, config)
    assert found["encoder"] == again["encoder"] > 0 and found["decoder"] == again["decoder"] > 0
    unaware = pose_losses(batch, lifted, HUMAN36M_17, config)  # a network that sees images
    assert unaware["encoder"] > 2 * found["encoder"] and unaware["decoder"] > 2 * found["decoder"]


def test_symmetry_compares_left_with_right(rng):
    pose = rng.normal(0, 300, (2, JOINTS, 3)).astype(np.float32)
    mirrored = (pose * [-1, 1, 1])[:, list(HUMAN36M_17.flip_permutation)].astype(np.float32)
    found = losses.bone_symmetry_loss(pose, HUMAN36M_17)
    assert found.shape == (2, 6)  # hip, thigh, shin, collar, upper arm, forearm
    np.testing.assert_allclose(losses.bone_symmetry_loss(mirrored, HUMAN36M_17), found, rtol=1e-5)
    np.testing.assert_allclose(losses.bone_symmetry_loss(2 * pose, HUMAN36M_17), 4 * found, rtol=1e-5)
    thigh = pose.copy()
    left_knee, left_ankle = HUMAN36M_17.index("left_knee"), HUMAN36M_17.index("left_ankle")
    thigh[:, [left_knee, left_ankle]] += [5000, 0, 0]
    changed = np.abs(losses.bone_symmetry_loss(thigh, HUMAN36M_17) - found) > 0.1
    np.testing.assert_array_equal(changed, np.tile(np.arange(6) == 1, (2, 1)))


def test_symmetry_of_bones_without_length_has_a_gradient():
    pose = tf.Variable(np.zeros((1, JOINTS, 3), np.float32))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(losses.bone_symmetry_loss(pose, HUMAN36M_17))
    assert np.isfinite(tape.gradient(total, pose)).all()


@pytest.mark.parametrize("target", losses.DECODER_TARGETS)
def test_decoder_target(target, batch, outputs):
    expected = outputs["keypoints_2d"] if target == "predicted" else batch["keypoints_2d"]
    for value, zero in ((expected, True), (expected + 0.1, False)):
        made = {**outputs, "reprojected_2d": value}
        found = pose_losses(batch, made, HUMAN36M_17, LossConfig(decoder_target=target))
        assert (found["decoder"] == 0) == zero


def test_lifter_is_compared_with_its_input(batch, outputs):
    lifted = {"pose_3d": outputs["pose_3d"], "reprojected_2d": batch["keypoints_2d"]}
    found = pose_losses(batch, lifted, HUMAN36M_17, LossConfig(decoder_target="predicted"))
    assert set(found) == {"encoder", "bone_symmetry", "decoder", "loss"} and found["decoder"] == 0


def test_what_a_lifter_saw_is_the_target_where_it_is_not_the_label(batch, outputs):
    """Joints without a label are seen at their mean, and under noise none is seen at its label."""
    seen = {"seen_keypoints_2d": outputs["keypoints_2d"], "reprojected_2d": outputs["keypoints_2d"]}
    lifted = seen | {"pose_3d": outputs["pose_3d"]}
    found = pose_losses(batch, lifted, HUMAN36M_17, LossConfig(decoder_target="predicted"))
    assert float(found["decoder"]) == 0
    assert float(pose_losses(batch, lifted, HUMAN36M_17, LossConfig(decoder_target="ground_truth"))["decoder"]) > 0.01


# --- Eq. 9 -----------------------------------------------------------------------------------------------------


def test_a_decoder_without_weight_is_not_used(batch, outputs):
    terms = losses.pose_loss_terms(batch, outputs, HUMAN36M_17, LossConfig(gamma=0.0))
    assert set(losses.pose_loss_terms(batch, outputs, HUMAN36M_17, LossConfig())) - set(terms) == {"decoder"}


def test_total_is_the_weighted_sum(batch, outputs):
    config = LossConfig(alpha=2, beta=3, gamma=5, delta=7)
    found = pose_losses(batch, outputs, HUMAN36M_17, config, alpha=tf.constant(11.0))
    expected = 11 * found["joint2d"] + 3 * found["encoder"] + 5 * found["decoder"] + 7 * found["bone_symmetry"]
    assert found["loss"] == pytest.approx(expected, rel=1e-5)
    assert LossConfig(alpha=2, alpha_decay=0.5).alpha_at(3) == 0.25


def test_left_right_loss_sees_only_the_difference(batch, outputs):
    target = losses.target_heatmaps(batch["keypoints_2d"], np.ones((6, JOINTS)), SIZE).numpy()
    left, right = np.array(HUMAN36M_17.left_right_pairs).T
    both, taken = target.copy(), target.copy()
    both[..., left] = both[..., right] = (target[..., left] + target[..., right]) / 2
    taken[..., left], taken[..., right] = target[..., right], target[..., left]
    in_doubt, swapped, sum_off = (
        losses.left_right_loss(target, predicted, HUMAN36M_17).numpy() for predicted in (both, taken, target + 0.1)
    )
    gap = np.square(target[..., left] - target[..., right]).sum((1, 2))
    np.testing.assert_allclose(in_doubt, gap, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(swapped, 4 * gap, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(sum_off, 0, atol=1e-6)


def test_left_right_term_counts_pairs_with_both_labels_and_goes_with_alpha(batch, outputs):
    config = LossConfig(left_right_weight=3.0)
    terms = losses.pose_loss_terms(batch, outputs, HUMAN36M_17, config)
    left, right = np.array(HUMAN36M_17.left_right_pairs).T
    valid = batch["keypoint_valid"][:, left] * batch["keypoint_valid"][:, right]
    assert float(terms["left_right"][1]) == valid.sum() > 0
    hidden = {**outputs, "heatmaps": outputs["heatmaps"].copy()}
    example, pair = np.argwhere(valid == 0)[0]
    hidden["heatmaps"][example, ..., left[pair]] += 5.0
    again = losses.pose_loss_terms(batch, hidden, HUMAN36M_17, config)
    assert float(again["left_right"][0]) == float(terms["left_right"][0])
    plain = pose_losses(batch, outputs, HUMAN36M_17, LossConfig(), alpha=0.5)
    found = pose_losses(batch, outputs, HUMAN36M_17, config, alpha=0.5)
    assert found["loss"] == pytest.approx(plain["loss"] + 0.5 * 3.0 * found["left_right"], rel=1e-6)
    assert "left_right" not in plain and found["left_right"] > 0


def test_replicas_add_up_to_one_device(batch, outputs):
    config = LossConfig(alpha=2, beta=3, gamma=5, delta=7, left_right_weight=11)
    whole = pose_losses(batch, outputs, HUMAN36M_17, config)
    parts = [  # of 4 and 2 examples, with other masks
        losses.pose_loss_terms(*({k: v[part] for k, v in d.items()} for d in (batch, outputs)), HUMAN36M_17, config)
        for part in (slice(0, 4), slice(4, 6))
    ]
    weights = {name: sum(part[name][1] for part in parts) for name in parts[0]}
    combined = [losses.combine_terms(part, config, weights=weights) for part in parts]
    for name, value in whole.items():
        assert sum(part[name] for part in combined).numpy() == pytest.approx(value, rel=1e-5), name


def test_bad_configurations():
    with pytest.raises(UserError, match="ground_truth, predicted"):
        LossConfig(decoder_target="both")
    with pytest.raises(UserError, match="odd"):
        LossConfig(heatmap_kernel_size=4)
    with pytest.raises(UserError, match="sigma"):
        LossConfig(heatmap_sigma=0)
    with pytest.raises(UserError, match="left_right_weight"):
        LossConfig(left_right_weight=-1)
    for name in ("alpha", "beta", "gamma", "delta", "alpha_decay", "adversarial_weight"):
        for value in (-1, float("nan"), float("inf")):
            with pytest.raises(UserError, match=f"{name} is {value}; give a positive number"):
                LossConfig(**{name: value})


# --- Keras losses ----------------------------------------------------------------------------------------------

KERAS_LOSSES = [
    (losses.Joint2DLoss(5, 1.5, name="a"), "joint2d", "keypoints_2d", "heatmaps", "keypoint_valid"),
    (losses.EncoderLoss(name="b"), "encoder", "pose_3d", "pose_3d", "pose_3d_valid"),
    (losses.DecoderLoss(name="c"), "decoder", "keypoints_2d", "reprojected_2d", "keypoint_valid"),
    (losses.BoneSymmetryLoss(HUMAN36M_17, name="d"), "bone_symmetry", "pose_3d", "pose_3d", None),
]


@pytest.mark.parametrize("loss, term, label, output, weight", KERAS_LOSSES)
def test_keras_losses_are_the_terms(loss, term, label, output, weight, batch, outputs):
    config = LossConfig(heatmap_kernel_size=5, heatmap_sigma=1.5)
    expected = pose_losses(batch, outputs, HUMAN36M_17, config)[term]
    for each in (loss, keras.losses.deserialize(keras.losses.serialize(loss))):
        found = each(batch[label], outputs[output], sample_weight=batch[weight] if weight else None)
        assert float(found) == pytest.approx(expected, rel=1e-5)
        assert each.name == loss.name


def test_keras_losses_keep_their_arguments():
    loss = losses.BoneSymmetryLoss(HUMAN36M_17, reduction="sum", name="mine", dtype="float64")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config() and again.reduction == "sum" and again.dtype == "float64"


def test_skeleton_without_pairs_has_no_symmetry_term(batch, outputs):
    lonely = Skeleton("column", tuple(f"joint_{j}" for j in range(JOINTS)), tuple(range(-1, JOINTS - 1)))
    terms = pose_losses(batch, outputs, lonely, LossConfig(left_right_weight=1.0))
    assert not {"bone_symmetry", "left_right"} & set(terms)


@pytest.mark.parametrize("kernel_size, sigma", [(3, 1.0), (5, 2.0), (None, 1.5)])
def test_target_peak_is_the_targets_height(kernel_size, sigma):
    height, width = SIZE
    middle = np.array([[[(width // 2 + 0.5) / width, (height // 2 + 0.5) / height]]], np.float32)
    heatmap = losses.target_heatmaps(middle, np.ones((1, 1)), SIZE, kernel_size, sigma)
    assert np.isclose(np.max(heatmap), losses.target_peak(kernel_size, sigma))
