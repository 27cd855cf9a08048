"""Scenes and their labels: who counts as seen, what is not known, and the maps that are learned from."""

from pathlib import Path

import numpy as np
import pytest

from keras_pose.core import geometry
from keras_pose.data.sources import photos as unlabelled
from keras_pose.finding import photos
from keras_pose.finding.cutouts import Cutout
from keras_pose.finding.material import Pool, Sprite, cut_out
from keras_pose.finding.placed import LabelledPhoto, place
from keras_pose.finding.scenes import Canvas, Scene, compose
from keras_pose.finding.targets import targets
from keras_pose.finding.train import batches
from keras_pose.inference.finder import decode

POINTS = np.array([[5.0, 2], [15, 2], [5, 38], [15, 38]])


def sprite(only_person=False, size=(40, 20)):
    return Sprite(np.full((*size, 3), 200, np.uint8), np.full(size, 255, np.uint8), POINTS, only_person)


def shift(x, y, scale=1.0):
    return np.array([[scale, 0.0, x], [0.0, scale, y]])


@pytest.fixture
def canvas():
    return Canvas(np.zeros((60, 100, 3), np.uint8))


def test_a_person_is_where_the_joints_are(canvas):
    canvas.paste(sprite(), shift(30, 10))
    boxes, known = canvas.finish()
    assert boxes.tolist() == [[35, 12, 45, 48]] and known.all()
    assert canvas.image[10:50, 30:50].min() == 200 and canvas.image[:, :29].max() == 0


def test_a_person_cut_by_the_border_ends_there(canvas):
    canvas.paste(sprite(), shift(-8, 30))
    boxes, _ = canvas.finish()
    assert boxes.tolist() == [[0, 32, 7, 60]]


def test_a_person_hardly_seen_is_neither_there_nor_absent(canvas):
    canvas.paste(sprite(), shift(30, 10))
    canvas.paste(Sprite(np.zeros((40, 20, 3), np.uint8), np.full((40, 20), 255, np.uint8), None), shift(30, 18))
    boxes, known = canvas.finish()
    assert len(boxes) == 0 and not known[20, 40] and known[20, 70]


def test_around_people_of_crowded_photos_nothing_is_known(canvas):
    canvas.paste(sprite(only_person=True), shift(30, 10))
    boxes, known = canvas.finish()
    assert len(boxes) == 1 and not known[10:50, 30:50].any() and known[:, :29].all()


def test_small_people_do_not_count(canvas):
    canvas.paste(sprite(), shift(30, 10, scale=0.25))
    boxes, known = canvas.finish()
    assert len(boxes) == 0 and not known.all()


@pytest.mark.parametrize("box", [(16, 24, 56, 120), (0, 0, 20, 160), (100, 140, 160, 160), (70, 80, 74, 92)])
def test_maps_give_the_boxes_back(box):
    """Decoding the targets as if they were a network's output."""
    scene = Scene(np.zeros((160, 160, 3), np.uint8), np.array([box], np.float32), np.ones((160, 160), bool))
    maps = targets(scene, 8)
    boxes, scores = decode(maps["centers"][..., 0], maps["boxes"])
    assert scores.tolist() == [1.0]
    assert boxes[0] * 160 == pytest.approx(box, abs=1e-4)


def test_maps_of_nobody_and_of_what_is_not_known():
    known = np.ones((160, 160), bool)
    known[:80] = False
    maps = targets(Scene(np.zeros((160, 160, 3), np.uint8), np.zeros((0, 4), np.float32), known), 8)
    assert not maps["centers"].any() and not maps["box_weight"].any()
    assert not maps["center_weight"][:10].any() and maps["center_weight"][10:].all()


def test_a_small_person_before_a_large_one_keeps_the_box():
    boxes = np.array([[10, 10, 150, 150], [70, 60, 90, 120]], np.float32)
    maps = targets(Scene(np.zeros((160, 160, 3), np.uint8), boxes, np.ones((160, 160), bool)), 8)
    row, column = 90 // 8, 80 // 8
    x, y = (column + 0.5) * 8, (row + 0.5) * 8
    assert maps["boxes"][row, column] * 160 == pytest.approx([x - 70, y - 60, 90 - x, 120 - y])


def small_pool(rng):
    image = rng.integers(0, 256, (40, 20, 3)).astype(np.uint8)
    cutout = Cutout(image, np.full((40, 20), 255, np.uint8), POINTS)
    return Pool([cutout], [sprite()], [sprite()], [rng.integers(0, 256, (60, 70, 3)).astype(np.uint8)],
                [rng.integers(0, 256, (32, 64, 3)).astype(np.uint8)], [image])  # fmt: skip


def test_scenes_are_whole_repeatable_and_hold_none_one_and_several():
    pool = small_pool(np.random.default_rng(0))
    drawn = [compose(np.random.default_rng([1, i]), pool, 160) for i in range(60)]
    for scene in drawn:
        assert scene.image.shape == (160, 160, 3) and scene.known.shape == (160, 160)
        assert (scene.boxes >= 0).all() and (scene.boxes <= 160).all()
        assert (scene.boxes[:, 2:] > scene.boxes[:, :2]).all()
    assert {0, 1, 2} <= {len(scene.boxes) for scene in drawn}
    again = compose(np.random.default_rng([1, 7]), pool, 160)
    assert np.array_equal(again.image, drawn[7].image) and np.array_equal(again.boxes, drawn[7].boxes)


@pytest.mark.parametrize("share", [0.15, 0.6, 1.0])
def test_a_photo_is_placed_at_its_share_of_the_height(tmp_path, share):
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), np.full((80, 60, 3), 128, np.uint8))
    from keras_pose.core.skeleton import LSP_14

    keypoints = np.stack([np.linspace(20, 30, 14), np.linspace(10, 70, 14)], axis=1)
    photo = LabelledPhoto(tmp_path / "a.png", "lsp", keypoints, np.ones(14, bool), LSP_14)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        placed = place(rng, photo, small_pool(rng), share)
        height, width = placed.image.shape[:2]
        assert np.ptp(placed.keypoints_px[:, 1]) == pytest.approx(share * height, rel=0.02)
        assert geometry.inside_image(placed.keypoints_px[1:-1], (height + 1, width + 1)).all()
        x, y = placed.keypoints_px[7].astype(int)
        assert placed.image[y, x].tolist() == [128, 128, 128]


# --- labels ----------------------------------------------------------------------------------------------------


def test_both_photos_of_an_exercise_are_in_one_split_and_lsp_trains():
    names = [f"exercise/Move_{i}" for i in range(200)]
    assert all(photos.split_of(f"{name}_0.jpg") == photos.split_of(f"{name}_1.jpg") for name in names)
    splits = [photos.split_of(f"{name}_0.jpg") for name in names]
    assert {"train", "validation", "test"} == set(splits) and 0.75 < splits.count("train") / 200 < 0.95
    prepared = [unlabelled.split_of(Path(f"{name.partition('/')[2]}_1.jpg")) for name in names]
    assert [split == "test" for split in splits] == [split == "validation" for split in prepared]
    assert photos.split_of("lsp_extended_train/images/im00001.jpg") == "train"


def test_empty_zones_keep_away_from_the_person():
    person = np.array([[180.0, 100], [220, 100], [200, 300], [190, 350]])
    for kind in ("exercise", "street"):
        photo = photos.Photo(None, kind, "train", (400, 400), person, np.zeros((17, 2)), np.zeros(17, bool))
        zones = photos.empty_zones(photo)
        assert zones
        for x0, y0, x1, y1 in zones:
            inside = (person[:, 0] > x0) & (person[:, 0] < x1) & (person[:, 1] > y0) & (person[:, 1] < y1)
            assert not inside.any() and 0 <= x0 < x1 <= 400 and 0 <= y0 < y1 <= 400
    crowd = photos.Photo(None, "lsp_extended_train", "train", (400, 400), person, np.zeros((17, 2)), np.zeros(17, bool))
    assert photos.empty_zones(crowd) == []


def test_teachers_that_disagree_label_nobody():
    rng = np.random.default_rng(0)
    joints = rng.uniform(50, 350, (17, 2))
    none, every = np.zeros(17, bool), np.ones(17, bool)
    assert photos.person_points(joints, none, none, (400, 400)) is None
    assert photos.person_points(joints, none, every, (400, 400)) is None  # one teacher alone does not suffice
    assert len(photos.person_points(joints, every, none, (400, 400))) == 18  # and the top of the head


def test_a_label_file_that_is_none_is_one_line(tmp_path):
    from keras_pose.core.errors import UserError

    (tmp_path / "labels.npz").write_bytes(b"none")
    with pytest.raises(UserError, match="labels.npz is not a label file"):
        photos.read_photos(tmp_path, [tmp_path / "labels.npz"])


def test_cut_out_keeps_the_person():
    """A bright person on a dark ground."""
    image = np.full((120, 80, 3), 30, np.uint8)
    image += np.random.default_rng(0).integers(0, 20, image.shape).astype(np.uint8)
    image[20:100, 30:50] = (220, 180, 160)
    points = np.array([[y, x] for x in (24.0, 60, 96) for y in (34.0, 46)])
    cut = cut_out(image, points)
    middle = cut.points_px.mean(0).astype(int)
    assert cut.alpha[middle[1], middle[0]] == 255 and cut.image.shape[0] < 110


def test_batches_start_at_any_scene():
    pool = small_pool(np.random.default_rng(0))
    first = batches(pool, seed=1, batch_size=2, size=96, stride=8)
    later = next(batches(pool, seed=1, batch_size=2, size=96, stride=8, number=2))
    assert not np.array_equal(next(first)["image"], later["image"])
    np.testing.assert_array_equal(next(first)["image"], later["image"])
