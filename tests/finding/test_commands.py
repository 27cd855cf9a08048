"""The finder's commands on a few small photos: labels by given teachers, training, and the test of what was trained."""

import functools
import json

import cv2
import numpy as np
import pytest
import scipy.io
from absl import flags

from keras_pose.core.errors import UserError
from keras_pose.data.teachers.blazepose import Landmarks
from keras_pose.data.teachers.movenet import Keypoints
from keras_pose.finding import cutouts, label, pyramid, score, train
from keras_pose.inference.finder import PersonFinder, open_finder
from keras_pose.models import finder as model


@pytest.fixture
def photos(tmp_path):
    """Photos of street and exercise, with labels, and rendered people that need no renderer."""
    rng = np.random.default_rng(0)
    paths, joints = [], []
    for i in range(24):
        path = f"{'street' if i % 2 else 'exercise'}/{i:04d}.jpg"
        image = rng.integers(0, 255, (200, 300, 3)).astype(np.uint8)
        (tmp_path / path).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / path), image)
        paths.append(path)
        joints.append(np.stack([np.linspace(130, 170, 17), np.linspace(40, 160, 17)], axis=1))
    joints = np.array(joints)
    joints[:, 6::2, 0] += 20
    columns = {"paths": np.array(paths), "size": np.tile([200, 300], (24, 1)), "keypoints_px": joints}
    label.write(
        tmp_path / "labels.npz", columns | {"agreed": np.ones((24, 17), bool), "sure": np.zeros((24, 17), bool)}
    )
    image = rng.integers(0, 255, (60, 30, 3)).astype(np.uint8)
    cutout = cutouts.Cutout(image, np.full((60, 30), 255, np.uint8), np.array([[5.0, 5], [25, 55]]))
    for split in ("train", "validation"):
        cutouts.write(tmp_path / "work" / f"cutouts_{split}.npz", [cutout] * 100)
    return tmp_path


def run(module, monkeypatch, *arguments):
    values = flags.FlagValues()
    module.define_flags(values)
    monkeypatch.setattr(module, "FLAGS", values)
    return module.main(values(["command", *arguments])[1:])


def test_human_labels_tell_the_teachers_where_the_person_is(tmp_path):
    """The crop is around the labeled joints, here x from 60 to 100 and y from 20 to 120, counted from 0.5 pixels."""
    joints = np.zeros((14, 3, 2))
    joints[:, 0, 1], joints[:, 1, 1] = np.linspace(60.5, 100.5, 14), np.linspace(20.5, 120.5, 14)
    joints[:, 2, 1] = 1  # of the second photo all joints are labeled, of the first none
    (tmp_path / "lsp_extended_train").mkdir()
    scipy.io.savemat(tmp_path / "lsp_extended_train" / "joints.mat", {"joints": joints})
    ((path, crop),) = label.known_crops(tmp_path).items()
    assert path == tmp_path / "lsp_extended_train" / "images" / "im00002.jpg"
    np.testing.assert_allclose(crop.center_px, [80, 70], atol=1e-6)
    assert crop.side_px > 100
    seen = []
    image = np.zeros((150, 150, 3), np.uint8)
    path.parent.mkdir()
    cv2.imwrite(str(path), image)

    class Teachers:
        def look(self, image, crop):
            seen.append(crop)
            keypoints = Keypoints(np.linspace((60, 20), (100, 120), 17), np.full(17, 0.9))
            keypoints.scores[0] = 0.1  # of the nose nobody is sure
            both = np.concatenate([keypoints.keypoints_px[11:13].mean(0, keepdims=True), keypoints.keypoints_px + 2])
            both[-1] += 60  # about the right ankle the teachers disagree
            ones = np.ones(18)
            return keypoints, Landmarks(both, np.zeros((18, 3)), ones, ones, 1.0, crop)

    labels = label.label(path, Teachers(), crop)
    assert labels["size"].tolist() == [150, 150] and seen == [crop]
    assert labels["agreed"].tolist() == [False] + 15 * [True] + [False]
    assert labels["sure"].tolist() == [False] + 16 * [True]
    np.testing.assert_allclose(labels["keypoints_px"][[1, -1]], [[63.5, 27.25], [100, 120]])


def test_cutouts_come_back_from_disk(photos):
    (cutout,) = cutouts.read(photos / "work" / "cutouts_train.npz", 1)
    assert cutout.image.shape == (60, 30, 3) and cutout.points_px.tolist() == [[5, 5], [25, 55]]
    with pytest.raises(UserError, match="does not hold 101 cutouts"):
        cutouts.read(photos / "work" / "cutouts_train.npz", 101)


def test_a_finder_learns_and_is_saved(photos, monkeypatch):
    """Four steps of a tiny finder write a run that opens, in the size and from the start that were asked for."""
    monkeypatch.setattr(model, "build_finder", functools.partial(model.build_finder, variant="w8_tiny", channels=8))
    monkeypatch.setattr(train.cutouts, "load_or_render", lambda path, *rest: cutouts.read(path, 100))
    monkeypatch.setattr(train.photos, "split_of", lambda path: "validation" if "1" in path else "train")
    monkeypatch.setattr(train, "VALIDATION_SCENES", 4)
    options = (f"--photos={photos}", f"--labels={photos / 'labels.npz'}", f"--work={photos / 'work'}", "--steps=4",
               "--input_size=64", "--batch_size=2", "--save_steps=2", "--threads_per_operation=0")  # fmt: skip
    run(train, monkeypatch, *options, "--init_from=", f"--output={photos / 'first'}")
    run(train, monkeypatch, *options, f"--init_from={photos / 'first'}", f"--output={photos / 'second'}")
    lines = [json.loads(line) for line in (photos / "second" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert all(np.isfinite(value) for line in lines for value in line.values())
    assert open_finder(photos / "second", score=0.0).input_size == 64
    info = json.loads((photos / "second" / "model.json").read_text())
    assert info["metrics"] == lines[-1] and set(info["versions"]) == {"keras_pose"}


def test_a_finder_that_finds_nobody_scores_nothing(photos, monkeypatch):
    """A finder that knows nothing finds nobody, and sees nobody where nobody is."""
    empty = {"centers": np.zeros((20, 20), np.float32), "boxes": np.zeros((20, 20, 4), np.float32)}
    monkeypatch.setattr(score, "open_finder", lambda source, limit: PersonFinder(lambda image: empty, 160, limit))
    monkeypatch.setattr("keras_pose.finding.photos.split_of", lambda path: "test")
    monkeypatch.setattr(score, "load_pool", lambda labelled, split: score.material.make_pool(labelled, [], [], ()))
    run(score, monkeypatch, f"--photos={photos}", f"--labels={photos / 'labels.npz'}", "--finder=none", "--nopck",
        "--limit=2", "--empty=5", f"--json={photos / 'find.json'}")  # fmt: skip
    figures = json.loads((photos / "find.json").read_text())
    assert figures["found"]["all"] == {f"{share:.2f}": 0.0 for share in score.SHARES}
    assert figures["false_people"] == 0 and figures["photos"] == 4
    assert set(figures["by_least_score"]["0.42"].values()) == {0.0}


def test_the_pyramid_sees_a_person_of_the_size_of_a_crop():
    """All joints have peaks around (x, y) = (0.6, 0.5) on the level of 96 pixels, where a person has 64 pixels' 0.8."""

    def heatmaps(side):
        maps = np.zeros((1, side // 4, side // 4, 2), np.float32)
        if side == 96:
            maps[0, 10:14, 14, 0] = maps[0, 11:13, 13:16, 1] = 4
        return lambda image: maps

    maps = pyramid.PyramidFinder({side: heatmaps(side) for side in (64, 96)}, 64, peak=4)(np.zeros((96, 96, 3)))
    row, column = np.unravel_index(maps["centers"].argmax(), maps["centers"].shape)
    assert maps["centers"].shape == (24, 24) and abs(row - 12) <= 1 and abs(column - 14) <= 1
    height = 0.8 * 64 / 96
    assert maps["boxes"][row, column] == pytest.approx(np.array([0.45, 1, 0.45, 1]) * height / 2)


def test_the_pyramid_is_scored_on_as_many_photos_as_asked(photos, monkeypatch):
    nobody = pyramid.PyramidFinder({64: lambda image: np.zeros((1, 16, 16, 3), np.float32)}, 64, 1)
    monkeypatch.setattr(pyramid, "load", lambda: nobody)
    monkeypatch.setattr("keras_pose.finding.photos.split_of", lambda path: "test")
    monkeypatch.setattr(score, "load_pool", lambda labelled, split: score.material.make_pool(labelled, [], [], ()))
    run(pyramid, monkeypatch, f"--photos={photos}", f"--labels={photos / 'labels.npz'}", "--limit=3", "--empty=2",
        f"--json={photos / 'pyramid.json'}")  # fmt: skip
    figures = json.loads((photos / "pyramid.json").read_text())
    assert figures["photos"] == 6 and set(figures["found"]["all"].values()) == {0.0}


def test_who_is_found_and_who_comes_first_depends_on_the_least_score():
    """The person is seen second, with a score of 0.5; somebody else first, with 0.4."""
    canvas = score.Seen(np.array([0.4, 0.5]), np.array([0.1, 0.7]))
    assert [canvas.is_found(least) for least in (0.3, 0.45, 0.6)] == [True, True, False]
    assert [canvas.comes_first(least) for least in (0.3, 0.45, 0.6)] == [False, True, False]
    table = score.by_least_score({("all", share): [canvas] for share in score.SHARES}, np.array([0.0, 0.35, 0.41, 0.6]))
    assert table["0.30"]["false_people"] == 0.75 and table["0.42"]["false_people"] == 0.25
    assert table["0.40"]["0.60"] == 0 and table["0.42"]["0.60"] == 1 and table["0.52"]["0.60"] == 0


def test_the_rate_rises_stays_and_falls():
    rates = [train.rate_factor(step, 100, 10, 0.4) for step in range(1, 101)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == 1 and rates[30] == 1 and rates[-1] == pytest.approx(1 / 40)
    assert all(later <= earlier for earlier, later in zip(rates[60:], rates[61:], strict=False))


def test_missing_inputs_are_one_line(monkeypatch):
    for module in (train, score):
        with pytest.raises(UserError, match="missing; see --help"):
            run(module, monkeypatch)


def test_the_recipe_names_no_folders(photos, monkeypatch):
    values = flags.FlagValues()
    train.define_flags(values)
    monkeypatch.setattr(train, "FLAGS", values)
    values(["train", f"--photos={photos}/photos", f"--labels={photos}/a.npz,{photos}/b.npz", "--steps=7"])
    lines = train.recipe().splitlines()
    assert "--photos=photos" in lines and "--labels=a.npz,b.npz" in lines and "--steps=7" in lines
    assert not any(str(photos) in line for line in lines)
