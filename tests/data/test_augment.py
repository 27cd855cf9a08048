import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data import augment_ops
from keras_pose.data.augment import AugmentConfig, build_augmentation

HEIGHT, WIDTH, COUNT = 64, 96, 4
EVERYTHING = AugmentConfig(
    rotation_deg=40, scale=0.3, translation=0.1, cut_out=0.4, blur_px=1.5, noise=0.05, flip=0.5, brightness=0.3
)
OFF = {"brightness": 0, "contrast": 0, "saturation": 0, "flip": 0}
SEED = np.array([3, 5], np.int32)


def project(batch) -> np.ndarray:
    """(B, J, 2) in [0, 1]: the 3D of a batch through its own cameras."""
    points = np.asarray(batch["pose_3d"]) + np.asarray(batch["root_position_mm"])[:, None]
    pixels = [geometry.project_points(p, k) for p, k in zip(points, np.asarray(batch["intrinsics"]), strict=True)]
    return np.stack(pixels) / [WIDTH, HEIGHT]


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    pose = rng.normal(0, 250, (COUNT, 17, 3)).astype(np.float32)
    pose[:, 0] = 0
    intrinsics = np.array([[110, 3, 40], [0, 105, 35], [0, 0, 1]], np.float32)  # skewed, off the middle
    batch = {
        "image": rng.integers(0, 256, (COUNT, HEIGHT, WIDTH, 3)).astype(np.uint8),
        "pose_3d": pose,
        "pose_3d_valid": (rng.uniform(size=(COUNT, 17)) < 0.7).astype(np.float32),
        "keypoint_valid": (rng.uniform(size=(COUNT, 17)) < 0.8).astype(np.float32),
        "keypoint_hidden": (rng.uniform(size=(COUNT, 17)) < 0.2).astype(np.float32),
        "root_position_mm": rng.normal([100, -50, 4000], 50, (COUNT, 3)).astype(np.float32),
        "intrinsics": np.tile(intrinsics, (COUNT, 1, 1)),
    }
    batch["keypoints_2d"] = project(batch).astype(np.float32)
    return batch


@pytest.fixture
def floating(batch):
    """The batch as the pure functions take it."""
    return {**batch, "image": batch["image"].astype(np.float32)}


def assert_same(found, expected, atol=1e-4):
    assert set(found) == set(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=atol, err_msg=key)


# --- geometry --------------------------------------------------------------------------------------------------


def test_flip_twice_is_identity(floating):
    every = np.ones(COUNT, bool)
    once = augment_ops.mirror(floating, every, HUMAN36M_17)
    assert_same(augment_ops.mirror(once, every, HUMAN36M_17), floating)


def test_flip_moves_everything_together(floating):
    left, right = HUMAN36M_17.index("left_wrist"), HUMAN36M_17.index("right_wrist")
    for key in ("keypoint_valid", "keypoint_hidden", "pose_3d_valid"):
        floating[key][2, [left, right]] = 0, 1
    flipped = augment_ops.mirror(floating, np.array([True, False, True, False]), HUMAN36M_17)
    for index, key, mirrored in (
        (0, "keypoints_2d", lambda p: [1 - p[0], p[1]]),
        (0, "pose_3d", lambda p: [-p[0], p[1], p[2]]),
        (2, "keypoint_valid", lambda p: p),
        (2, "keypoint_hidden", lambda p: p),
        (2, "pose_3d_valid", lambda p: p),
    ):
        np.testing.assert_allclose(flipped[key][index, left], mirrored(floating[key][index, right]), atol=1e-6)
    np.testing.assert_array_equal(flipped["image"][0], floating["image"][0, :, ::-1])
    assert_same({k: v[1::2] for k, v in flipped.items()}, {k: v[1::2] for k, v in floating.items()}, atol=0)
    np.testing.assert_allclose(project(flipped), flipped["keypoints_2d"], atol=1e-5)


def test_affine_moves_everything_together(floating):
    """After a turn about the optical axis, and any scale and shift, 3D still projects onto 2D."""
    angles = np.array([0, 30, -75, 180], np.float32)
    shift = np.array([[0.1, -0.2]] * COUNT, np.float32)
    moved = augment_ops.transform(floating, angles, np.array([1, 0.7, 1.3, 1], np.float32), shift)
    np.testing.assert_allclose(project(moved), moved["keypoints_2d"], atol=1e-4)
    lengths = np.linalg.norm(floating["pose_3d"], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(moved["pose_3d"], axis=-1), lengths, rtol=1e-4)
    middle = np.array([WIDTH / 2, HEIGHT / 2], np.float32)
    for index, scale in ((1, 0.7), (2, 1.3)):
        affine = geometry.crop_affine(middle, (HEIGHT / scale, WIDTH / scale), (HEIGHT, WIDTH), angles[index])
        expected = geometry.apply_affine(affine, floating["keypoints_2d"][index] * middle * 2)
        expected += shift[index] * middle * 2
        np.testing.assert_allclose(moved["keypoints_2d"][index] * middle * 2, expected, atol=1e-3)


def test_pixels_follow_the_joints(floating):
    """A bright dot at a joint is at that joint afterwards, to a third of a pixel."""
    floating["image"] = np.zeros((COUNT, HEIGHT, WIDTH, 3), np.float32)
    floating["keypoints_2d"] = np.tile(np.array([[[60 / WIDTH, 20 / HEIGHT]]], np.float32), (COUNT, 17, 1))
    floating["image"][:, 18:22, 58:62] = 255
    moved = augment_ops.mirror(floating, np.array([True, True, False, False]), HUMAN36M_17)
    angles, scales = np.array([30, -20, 90, 0], np.float32), np.array([1, 1.2, 0.8, 1], np.float32)
    moved = augment_ops.transform(moved, angles, scales, np.full((COUNT, 2), 0.05, np.float32))
    ys, xs = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    for index in range(COUNT):
        dot = np.asarray(moved["image"][index, :, :, 0])
        found = [(dot * xs).sum() / dot.sum(), (dot * ys).sum() / dot.sum()]
        np.testing.assert_allclose(found, moved["keypoints_2d"][index, 0] * [WIDTH, HEIGHT], atol=0.33)


def test_resampling_by_nothing_is_identity(floating):
    ones, zeros = np.ones(COUNT, np.float32), np.zeros(COUNT, np.float32)
    assert_same(augment_ops.transform(floating, zeros, ones, np.zeros((COUNT, 2), np.float32)), floating, atol=1e-3)


# --- color and pixels -----------------------------------------------------------------------------------------


def adjust_colour(image, brightness=0.0, contrast=1.0, saturation=1.0, hue=0.0):
    """Of all examples alike."""
    each = [np.full(len(image), value, np.float32) for value in (brightness, contrast, saturation, hue)]
    return np.asarray(augment_ops.adjust_colour(image, *each))


def test_color_changes_by_hand():
    image = np.array([[[[100, 50, 200]], [[20, 60, 0]]]], np.float32)  # (1, 2, 1, 3)
    np.testing.assert_allclose(adjust_colour(image, brightness=0.1), image + 25.5, rtol=1e-5)
    grey = image @ np.float32([0.299, 0.587, 0.114])
    np.testing.assert_allclose(adjust_colour(image, contrast=0), np.full_like(image, grey.mean()), rtol=1e-5)
    desaturated = adjust_colour(image, saturation=0)
    np.testing.assert_allclose(desaturated, np.repeat(grey[..., None], 3, -1), rtol=1e-5)
    np.testing.assert_allclose(adjust_colour(image), image, rtol=1e-5)
    for change in ("contrast", "saturation"):
        more, none = adjust_colour(image, **{change: 2}), adjust_colour(image, **{change: 0})
        np.testing.assert_allclose(more - image, image - none, rtol=1e-4, atol=1e-3)


def test_color_changes_apply_in_order(floating):
    """Brightness, then contrast, then saturation, then hue."""
    image = steps = floating["image"]
    for change, value in {"brightness": 0.2, "contrast": 0.7, "saturation": 1.4, "hue": 0.2}.items():
        steps = adjust_colour(steps, **{change: value})
    np.testing.assert_allclose(adjust_colour(image, 0.2, 0.7, 1.4, 0.2), steps, atol=1e-3)


def test_hue_rotates_colors_about_their_gray(floating):
    image, weights = floating["image"], np.float32([0.299, 0.587, 0.114])
    turned = adjust_colour(image, hue=0.15)
    np.testing.assert_allclose(turned @ weights, image @ weights, atol=1e-3)  # as bright as before
    assert np.abs(turned - image).mean() > 5
    np.testing.assert_allclose(adjust_colour(turned, hue=-0.15), image, atol=1e-3)
    np.testing.assert_allclose(adjust_colour(image, hue=0.5), adjust_colour(image, saturation=-1), atol=1e-3)
    thirds = adjust_colour(np.float32([[[[255, 0, 0]]]]), hue=1 / 3)[0, 0, 0]  # red to green, or to blue
    assert thirds.argmax() == 2 or thirds.argmax() == 1
    grey = np.full((1, 2, 2, 3), 90, np.float32)
    np.testing.assert_allclose(adjust_colour(grey, hue=0.3), grey, rtol=1e-5)


def test_each_example_changes_color_by_its_own_numbers(floating):
    numbers = np.linspace(0.5, 1.5, COUNT, dtype=np.float32)
    changed = augment_ops.adjust_colour(floating["image"], numbers, numbers, numbers)
    for i, number in enumerate(numbers):
        alone = adjust_colour(floating["image"][i : i + 1], number, number, number)
        np.testing.assert_allclose(changed[i], alone[0], atol=1e-3)


def test_blur_keeps_brightness_and_reduces_contrast(floating):
    flat = np.full((1, 20, 30, 3), 90, np.float32)
    np.testing.assert_allclose(augment_ops.blur(flat, 1.5, np.ones(1, np.float32)), flat, rtol=1e-5)
    shares = np.array([0, 0.5, 1, 1], np.float32)
    spread = np.std(augment_ops.blur(floating["image"], 1.5, shares), axis=(1, 2, 3))
    before = np.std(floating["image"], axis=(1, 2, 3))
    assert spread[0] == pytest.approx(before[0]) and (spread[1:] < [0.7 * before[1], *(0.4 * before[2:])]).all()


def test_cut_out_is_where_requested():
    image = np.zeros((1, HEIGHT, WIDTH, 3), np.float32)
    cut = augment_ops.cut_out(image, np.array([[0.25, 0.5]], np.float32), np.array([[0.25, 0.5]], np.float32))
    rows, columns = np.nonzero(np.asarray(cut)[0, :, :, 0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (16, 47, 12, 35)
    assert len(rows) == 32 * 24


# --- the layer -------------------------------------------------------------------------------------------------


def test_eager_equals_tf_data(batch):
    augment = build_augmentation(EVERYTHING, HUMAN36M_17)
    expected = augment({**batch, "subject": tf.constant(["S1"] * COUNT)}, tf.constant(SEED))
    subject = expected.pop("subject")
    data = tf.data.Dataset.from_tensor_slices(batch).batch(COUNT).map(lambda b: augment(b, tf.constant(SEED)))
    assert_same(next(iter(data)), expected, atol=0.02)  # gray levels of 255
    assert subject.numpy().tolist() == [b"S1"] * COUNT


def test_the_seed_determines_the_result(batch):
    augment = build_augmentation(EVERYTHING, HUMAN36M_17)
    first, again = augment(batch, SEED), augment(batch, SEED)
    assert_same(first, again, atol=0)
    for other in ([4, 5], [3, 6]):
        assert np.abs(augment(batch, np.array(other, np.int32))["image"] - first["image"]).mean() > 5
    differences = first["image"] - batch["image"]
    assert np.abs(differences[0] - differences[1]).max() > 5  # each example draws its own


def test_layer_keeps_2d_and_3d_together(batch):
    moved = build_augmentation(EVERYTHING, HUMAN36M_17)(batch, SEED)
    np.testing.assert_allclose(project(moved), moved["keypoints_2d"], atol=1e-4)
    assert np.abs(moved["keypoints_2d"] - batch["keypoints_2d"]).max() > 0.05
    assert moved["image"].dtype == "float32" and 0 <= np.min(moved["image"]) and np.max(moved["image"]) <= 255


def test_color_leaves_the_labels(batch):
    changed = build_augmentation(AugmentConfig(flip=0), HUMAN36M_17)(batch, SEED)
    labels = [key for key in batch if key != "image"]
    assert_same({k: changed[k] for k in labels}, {k: batch[k] for k in labels}, atol=0)
    assert np.abs(changed["image"] - batch["image"]).mean() > 5


def test_off_changes_nothing(batch):
    assert_same(build_augmentation(AugmentConfig(**OFF), HUMAN36M_17)(batch, SEED), batch, atol=0)


@pytest.mark.parametrize("kind", ["brightness", "contrast", "saturation", "hue", "cut_out", "blur_px", "noise"])
def test_each_alone_changes_only_pixels(kind, batch):
    changed = build_augmentation(AugmentConfig(**OFF | {kind: 0.5}), HUMAN36M_17)(batch, SEED)
    assert np.abs(changed["image"] - batch["image"]).max() > 2
    np.testing.assert_array_equal(changed["keypoints_2d"], batch["keypoints_2d"])


def test_flip_share_and_limits():
    count = 2000
    batch = {
        "image": np.zeros((count, 2, 2, 3), np.uint8),
        "keypoints_2d": np.zeros((count, 17, 2), np.float32),
        "keypoint_valid": np.ones((count, 17), np.float32),
        "pose_3d": np.tile(np.float32([0, 100, 0]), (count, 17, 1)),
    }
    config = AugmentConfig(**OFF | {"flip": 0.3, "rotation_deg": 20})
    moved = build_augmentation(config, HUMAN36M_17)(batch, SEED)
    angles = np.rad2deg(np.arctan2(-np.asarray(moved["pose_3d"])[:, 0, 0], np.asarray(moved["pose_3d"])[:, 0, 1]))
    assert np.abs(angles).max() <= 20.01 and abs(angles.mean()) < 1 and 10 < angles.std() < 13
    flips = build_augmentation(AugmentConfig(**OFF | {"flip": 0.3}), HUMAN36M_17)(batch, SEED)
    assert 0.26 < np.mean(flips["keypoints_2d"][:, 0, 0] == 1) < 0.34


def test_a_detectors_errors_are_mostly_small_and_leave_the_labels(batch):
    """Each joint apart; one in twenty errs six times as far."""
    count, deviation = 3000, 0.01
    batch = {name: np.repeat(value, count // COUNT, axis=0) for name, value in batch.items() if name != "intrinsics"}
    batch["image"] = batch["image"][:, :2, :2]
    augment = build_augmentation(AugmentConfig(**OFF | {"keypoint_noise": deviation}), HUMAN36M_17)
    changed = augment(batch, SEED)
    errors = np.asarray(changed.pop("seen_keypoints_2d")) - batch["keypoints_2d"]  # (3000, 17, 2)
    assert_same(changed, batch, atol=0)
    assert np.abs(errors.mean((0, 1))).max() < 0.002 and abs(np.corrcoef(errors[:, 0, 0], errors[:, 1, 0])[0, 1]) < 0.1
    near = np.quantile(np.abs(errors), 0.6827 * 0.95)  # a little less than one deviation, were none far
    assert 0.9 * deviation < near < 1.05 * deviation
    far = np.linalg.norm(errors, axis=-1) > 4 * deviation  # 5 % of 80 % of those at six times the deviation
    assert 0.035 < far.mean() < 0.045
    again = build_augmentation(AugmentConfig(**OFF | {"keypoint_noise": deviation, "flip": 1.0}), HUMAN36M_17)
    mirrored = again(batch, SEED)
    errors_then = np.asarray(mirrored["seen_keypoints_2d"]) - mirrored["keypoints_2d"]
    np.testing.assert_allclose(errors_then, errors, atol=1e-6)  # of what is seen, so after the mirror


def test_mixed_precision_leaves_labels_exact(batch):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        changed = build_augmentation(AugmentConfig(flip=0), HUMAN36M_17)(batch, SEED)
    finally:
        keras.config.set_dtype_policy(before)
    np.testing.assert_array_equal(changed["pose_3d"], batch["pose_3d"])
    assert changed["image"].dtype == "float32"


def test_layer_through_its_configuration(batch):
    augment = build_augmentation(EVERYTHING, HUMAN36M_17)
    again = keras.layers.deserialize(keras.layers.serialize(augment))
    assert_same(again(batch, SEED), augment(batch, SEED), atol=0)


def test_bad_configuration():
    for values in ({"flip": 1.5}, {"keypoint_noise": 1.5}, {"noise": -0.1}, {"rotation_deg": 200}, {"scale": 1.0}):
        with pytest.raises(UserError, match=f"augmentation {next(iter(values))}"):
            AugmentConfig(**values)


# --- poses without images --------------------------------------------------------------------------------------


def test_labels_are_augmented_alike_with_and_without_images(batch):
    config = AugmentConfig(rotation_deg=40, scale=0.3, translation=0.1, flip=0.5, keypoint_noise=0.02, noise=0.1)
    augment = build_augmentation(config, HUMAN36M_17, (HEIGHT, WIDTH))
    expected = augment(batch, SEED)
    found = augment({key: value for key, value in batch.items() if key != "image"}, SEED)
    assert set(expected) - set(found) == {"image"} and "seen_keypoints_2d" in found
    for key, value in found.items():
        np.testing.assert_array_equal(value, expected[key], err_msg=key)
    off = build_augmentation(AugmentConfig(**OFF), HUMAN36M_17)
    assert off({"keypoints_2d": batch["keypoints_2d"]}, SEED).keys() == {"keypoints_2d"}
