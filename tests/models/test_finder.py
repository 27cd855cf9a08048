"""The finder's network and its losses."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_pose.losses.centers import box_loss, center_loss
from keras_pose.models.finder import build_finder, start_from

TINY = ("w8_tiny", 8)  # trunk and width of the head


def test_shapes_and_range():
    model = build_finder(96, *TINY)
    outputs = model(np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3)).astype(np.float32))
    assert outputs["centers"].shape == (2, 12, 12, 1) and outputs["boxes"].shape == (2, 12, 12, 4)
    scores = np.asarray(outputs["centers"])
    assert (scores > 0).all() and (scores < 0.5).all()  # nobody yet


def test_saves_and_loads_through_the_safe_reader(tmp_path):
    from keras_pose.models.model_folder import load_model

    model = build_finder(96, *TINY)
    model.save(tmp_path / "model.keras")
    image = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3)).astype(np.float32)
    loaded = load_model(tmp_path / "model.keras")
    for key, value in model(image).items():
        np.testing.assert_array_equal(np.asarray(value), np.asarray(loaded(image)[key]))


def test_starts_from_a_pose_network_of_the_same_trunk():
    from keras_pose.models.hrnet import build_hrnet

    pose, finder = build_hrnet("w8_tiny", 17, (64, 64)), build_finder(96, *TINY)
    for weight in pose.weights:
        weight.assign(ops.full(weight.shape, 0.25))
    untrained = start_from(finder, pose)
    assert untrained and all(name.startswith(("merge", "head", "centers", "boxes")) for name in untrained)
    for layer in finder.layers:
        if layer.weights and layer.name not in untrained:
            assert all((np.asarray(weight) == 0.25).all() for weight in layer.weights), layer.name
    other = build_finder(64, *TINY)
    assert start_from(other, finder) == []  # a finder's run continues whole, also at another size
    np.testing.assert_array_equal(
        other.get_layer("head0_conv").get_weights()[0], finder.get_layer("head0_conv").get_weights()[0]
    )


def test_another_trunk_is_reported_layer_by_layer():
    finder = build_finder(96, *TINY)
    assert "conv1" in start_from(finder, build_finder(96, "w16_tiny", 8))


def test_learns_one_scene():
    keras.utils.set_random_seed(0)
    model = build_finder(96, *TINY)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 40, (4, 96, 96, 3)).astype(np.float32)
    centers = np.zeros((4, 12, 12, 1), np.float32)
    for i, (row, column) in enumerate([(3, 3), (8, 4), (5, 9), (2, 8)]):
        images[i, row * 8 - 8 : row * 8 + 16, column * 8 - 4 : column * 8 + 12] = 230
        centers[i, row, column] = 1
    optimizer = keras.optimizers.Adam(0.01)
    import tensorflow as tf

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = center_loss(centers, np.ones_like(centers), model(images, training=True)["centers"])
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    first = float(step())
    for _ in range(40):
        last = float(step())
    assert last < 0.2 * first


def losses(target, weight, scores):
    return float(center_loss(*(np.float32(np.reshape(v, (1, 1, -1, 1))) for v in (target, weight, scores))))


def test_center_loss_laws():
    assert losses([1, 0], [1, 1], [0.9, 0.1]) < losses([1, 0], [1, 1], [0.6, 0.1]) < losses([1, 0], [1, 1], [0.6, 0.4])
    assert losses([1, 0, 0], [1, 1, 0], [0.9, 0.1, 0.9]) == losses([1, 0, 0], [1, 1, 0], [0.9, 0.1, 0.1])
    assert losses([1, 0.8], [1, 1], [0.9, 0.5]) < losses([1, 0.1], [1, 1], [0.9, 0.5])  # near a centre costs less
    assert np.isfinite(losses([1, 0], [1, 1], [0.0, 1.0]))


def test_box_loss_is_in_shares_of_the_box():
    target = np.array([0.1, 0.2, 0.1, 0.2], np.float32).reshape(1, 1, 1, 4)
    weight = np.ones((1, 1, 1, 1), np.float32)
    assert float(box_loss(target, weight, target)) == 0
    once, twice = (float(box_loss(f * target, weight, 1.1 * f * target)) for f in (1, 2))
    assert once == pytest.approx(twice)
    assert once > 0
    assert float(box_loss(target, ops.zeros_like(weight), 2 * target)) == 0
