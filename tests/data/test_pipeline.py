import cv2
import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.data import pipeline
from keras_pose.data.dataset import open_dataset
from tests.conftest import write_dataset


def frames(info, split, batch_size, **options):
    batches = pipeline.make_batches(info, split, batch_size, with_metadata=True, **options)
    return [batch["frame"].numpy().tolist() for batch in batches]


def test_a_batch_has_the_fields_that_the_architecture_promises(toy_dataset):
    info = open_dataset(str(toy_dataset))
    batch = next(iter(pipeline.make_batches(info, "train", 4, training=True)))
    shapes = {name: (tuple(value.shape), value.dtype.name) for name, value in batch.items()}
    assert shapes == {
        "image": ((4, 64, 96, 3), "uint8"),
        "keypoints_2d": ((4, 17, 2), "float32"),
        "keypoint_valid": ((4, 17), "float32"),
        "pose_3d": ((4, 17, 3), "float32"),
        "pose_3d_valid": ((4, 17), "float32"),
    }


def test_without_images_everything_else_is_the_same(toy_dataset):
    info = open_dataset(str(toy_dataset))
    whole = next(iter(pipeline.make_batches(info, "train", 4, training=True, seed=1)))
    rest = next(iter(pipeline.make_batches(info.without_pictures(), "train", 4, training=True, seed=1)))
    assert set(whole) - set(rest) == {"image"}
    for name, value in rest.items():
        np.testing.assert_array_equal(value, whole[name])


def test_keypoints_are_normalized_by_width_and_height(toy_dataset):
    info = open_dataset(str(toy_dataset))
    example = next(pipeline.read_examples(info, "validation"))
    batch = next(iter(pipeline.make_batches(info, "validation", 1, training=False)))
    np.testing.assert_allclose(batch["keypoints_2d"][0] * [96, 64], example.keypoints_2d_px, rtol=1e-5)
    np.testing.assert_array_equal(batch["image"][0], example.decode_image())


def test_an_epoch_is_every_example_once_and_epochs_differ(toy_dataset):
    info = open_dataset(str(toy_dataset))
    first = frames(info, "train", 4, training=True, seed=1, epoch=0)
    assert sorted(sum(first, [])) == list(range(24))
    assert first == frames(info, "train", 4, training=True, seed=1, epoch=0)
    assert first != frames(info, "train", 4, training=True, seed=1, epoch=1)
    assert first != frames(info, "train", 4, training=True, seed=2, epoch=0)


def test_skipping_resumes_the_same_order(toy_dataset):
    info = open_dataset(str(toy_dataset))
    whole = frames(info, "train", 5, training=True, seed=1, epoch=3)
    assert frames(info, "train", 5, training=True, seed=1, epoch=3, skip_batches=2) == whole[2:]


def test_an_epoch_of_two_passes_is_two_epochs_of_one(toy_dataset):
    info = open_dataset(str(toy_dataset))
    twice = frames(info, "train", 8, training=True, seed=1, epoch=2, passes=2)
    single = [frames(info, "train", 8, training=True, seed=1, epoch=epoch) for epoch in (4, 5)]
    assert twice == single[0] + single[1]


def test_workers_share_each_global_batch(toy_dataset):
    info = open_dataset(str(toy_dataset))
    whole = frames(info, "train", 8, training=True, seed=1)
    parts = [frames(info, "train", 4, training=True, seed=1, shard=(i, 2), skip_batches=1) for i in range(2)]
    assert [sorted(a + b) for a, b in zip(*parts, strict=True)] == [sorted(batch) for batch in whole[1:]]


def test_evaluation_sees_everything_in_order(toy_dataset):
    info = open_dataset(str(toy_dataset))
    assert frames(info, "validation", 4, training=False) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize(("split", "training"), [("train", True), ("validation", False)])
def test_no_thread_tunes_a_pipeline(toy_dataset, split, training):
    """Freeing an iterator waits for that thread, for half a minute at the end of a long epoch."""
    batches = pipeline.make_batches(open_dataset(str(toy_dataset)), split, 4, training=training)
    assert batches.options().autotune.enabled is False


def test_a_mix_draws_by_weight(tmp_path):
    a = write_dataset(tmp_path / "a", {"train": 200, "test": 3}, shard_size=100, source="a")
    b = write_dataset(tmp_path / "b", {"train": 60, "test": 2}, seed=1, shard_size=100, source="b")
    info = open_dataset(f"{a}:0.25,{b}:0.75")
    batches = pipeline.make_batches(info, "train", 10, training=True, with_metadata=True)
    sources = np.concatenate([batch["source"].numpy() for batch in batches])
    assert len(sources) == 260
    assert 0.65 < (sources == b"b").mean() < 0.85
    assert info.count("test") == 5


def test_parts_of_a_mix_may_lack_a_split(tmp_path):
    a = write_dataset(tmp_path / "a", {"train": 20, "validation": 4}, source="a")
    b = write_dataset(tmp_path / "b", {"train": 20, "test": 3}, seed=1, source="b")
    info = open_dataset(f"{a}:0.5,{b}:0.5")
    assert [info.count(split) for split in ("train", "validation", "test")] == [40, 4, 3]
    for split, sources in (("validation", {"a"}), ("test", {"b"})):
        assert {example.source for example in pipeline.read_examples(info, split)} == sources
    for training in (True, False):
        batches = pipeline.make_batches(info, "validation", 2, training=training, with_metadata=True)
        assert {s for batch in batches for s in batch["source"].numpy()} == {b"a"}
    with pytest.raises(UserError, match="no split 'dev'"):
        info.count("dev")


def test_poses_without_images_make_batches_without_images(tmp_path):
    info = open_dataset(str(write_dataset(tmp_path, {"train": 6}, image_jpeg=b"", image_size=(1000, 1000))))
    part = info.parts[0]
    object.__setattr__(part.manifest, "image_size", None)
    batch = next(iter(pipeline.make_batches(info, "train", 2, training=True)))
    assert "image" not in batch and batch["pose_3d"].shape == (2, 17, 3)


@pytest.mark.parametrize(
    ("spec", "message"), [("", "empty"), ("/nowhere", "embedded"), ("{toy}:0.5,{small}:0.5", "prepare both alike")]
)
def test_bad_names_and_mixes_are_refused(toy_dataset, tmp_path, spec, message):
    small = write_dataset(tmp_path, {"train": 6}, image_size=(32, 32))
    with pytest.raises(UserError, match=message):
        open_dataset(spec.format(toy=toy_dataset, small=small))


def test_an_unknown_split_and_a_batch_too_large_are_refused(toy_dataset):
    info = open_dataset(str(toy_dataset))
    with pytest.raises(UserError, match="validation"):
        pipeline.make_batches(info, "dev", 4, training=False)
    with pytest.raises(UserError, match="smaller batch"):
        pipeline.make_batches(info, "train", 25, training=True)


def test_images_shrink_to_whole_fractions_by_the_mean(toy_dataset):
    info = open_dataset(str(toy_dataset))
    small = info.at_size((32, 48))
    assert small.image_size == (32, 48) and info.at_size((64, 96)) == info
    full, half = (next(iter(pipeline.make_batches(i, "validation", 3, training=False))) for i in (info, small))
    expected = full["image"].numpy().reshape(3, 32, 2, 48, 2, 3).astype(float).mean((2, 4))
    assert half["image"].dtype == "uint8"
    np.testing.assert_allclose(half["image"], expected, atol=0.5)
    np.testing.assert_array_equal(half["keypoints_2d"], full["keypoints_2d"])


@pytest.mark.parametrize("size", [(128, 192), (80, 120), (40, 60)])
def test_images_are_resized_to_any_size_of_their_shape(toy_dataset, size):
    info = open_dataset(str(toy_dataset))
    assert info.at_size(size).image_size == size
    full, other = (
        next(iter(pipeline.make_batches(i, "validation", 3, training=False))) for i in (info, info.at_size(size))
    )
    np.testing.assert_array_equal(other["keypoints_2d"], full["keypoints_2d"])
    found, original = other["image"].numpy(), full["image"].numpy()
    assert found.shape == (3, *size, 3) and found.dtype == np.uint8
    interpolation = cv2.INTER_AREA if size[0] < 64 else cv2.INTER_LINEAR
    expected = np.stack([cv2.resize(image, size[::-1], interpolation=interpolation) for image in original])
    np.testing.assert_allclose(found.astype(float), expected, atol=1)


def test_another_shape_is_refused(toy_dataset):
    for size in ((64, 64), (128, 64)):
        with pytest.raises(UserError, match="images of 64x96, the model sees .*; prepare the data in that shape"):
            open_dataset(str(toy_dataset)).at_size(size)
