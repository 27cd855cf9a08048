"""The file that keeps what teachers said."""

import lzma
import multiprocessing
import sqlite3
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.data.teachers.answers import ROW, Answers
from keras_pose.data.teachers.blazepose import Landmarks
from keras_pose.data.teachers.crop import Crop
from keras_pose.data.teachers.labeller import Labeller
from keras_pose.data.teachers.movenet import Keypoints

RNG = np.random.default_rng(3)
IMAGES = RNG.integers(0, 256, (4, 60, 40, 3), np.uint8)
CROP = Crop(np.array([20.0, 31.0]), 55.0, 12.0)


def an_answer(seed: int) -> tuple[Keypoints, Landmarks]:
    rng = np.random.default_rng(seed)
    seen = Keypoints(rng.uniform(-20, 80, (17, 2)), rng.uniform(0, 1, 17))
    found = Landmarks(
        rng.uniform(-20, 80, (18, 2)),
        rng.normal(0, 400, (18, 3)),
        rng.uniform(0, 1, 18),
        rng.uniform(0, 1, 18),
        0.93,
        CROP,
    )
    return seen, found


@pytest.fixture
def teachers(tmp_path):
    for name, content in (("movenet.json", "{}"), ("movenet.bin", "1"), ("heavy.tflite", "x")):
        (tmp_path / name).write_text(content)
    return [str(tmp_path / "movenet.json"), str(tmp_path / "heavy.tflite")]


def same(first, second) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for a, b, names in zip(
            first,
            second,
            (("keypoints_px", "scores"), ("keypoints_px", "pose_mm", "visibility", "presence", "score")),
            strict=True,
        )
        for name in names
    )


def test_an_answer_comes_back_as_exact_as_promised(tmp_path, teachers):
    answers, (seen, found) = Answers(tmp_path / "a.sqlite", teachers), an_answer(0)
    kept_seen, kept_found = answers.put(IMAGES[0], CROP, (seen, found))
    step = CROP.side_px / 8192
    np.testing.assert_allclose(kept_seen.keypoints_px, seen.keypoints_px, atol=step)
    np.testing.assert_allclose(kept_found.keypoints_px, found.keypoints_px, atol=step)
    np.testing.assert_allclose(kept_found.pose_mm, found.pose_mm, rtol=1e-3)
    for name in ("visibility", "presence", "score"):
        np.testing.assert_allclose(getattr(kept_found, name), getattr(found, name), atol=0.5 / 255)
    assert kept_found.next_crop.side_px == CROP.side_px and kept_found.next_crop.rotation_deg == CROP.rotation_deg
    reopened = Answers(tmp_path / "a.sqlite", teachers[::-1])
    assert same(reopened.get(IMAGES[0], CROP), (kept_seen, kept_found))


def test_other_pixels_crops_and_teachers_are_other_questions(tmp_path, teachers):
    path = tmp_path / "a.sqlite"
    Answers(path, teachers).put(IMAGES[0], CROP, an_answer(0))
    answers = Answers(path, teachers)
    assert answers.get(IMAGES[1], CROP) is None
    assert answers.get(IMAGES[0], None) is None
    assert answers.get(IMAGES[0].transpose(1, 0, 2), CROP) is None
    (tmp_path / "movenet.bin").write_text("2")
    assert Answers(path, teachers).get(IMAGES[0], CROP) is None


@pytest.mark.parametrize("missing", [0, 1])
def test_a_single_teacher_answers_alone(tmp_path, teachers, missing):
    answer = list(an_answer(1))
    answer[missing] = None
    kept = Answers(tmp_path / "a.sqlite", teachers).put(IMAGES[0], None, tuple(answer))
    assert kept[missing] is None and kept[1 - missing] is not None


def put_one(job) -> None:
    path, teachers, i = job
    Answers(path, teachers).put(IMAGES[i], None, an_answer(i))


def test_processes_share_a_file(tmp_path, teachers):
    jobs = [(tmp_path / "a.sqlite", teachers, i) for i in range(4)]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(put_one, jobs))
    answers = Answers(tmp_path / "a.sqlite", teachers)
    assert all(answers.get(image, None) for image in IMAGES)


def test_the_labeller_asks_once(tmp_path, teachers):
    asked = []

    class Asked(Labeller):
        def __init__(self):
            self._answers = Answers(tmp_path / "a.sqlite", teachers)

        def _ask(self, image, crop):
            asked.append(crop)
            return an_answer(2)

    labeller = Asked()
    first = labeller.look(IMAGES[0])
    assert same(labeller.look(IMAGES[0]), first) and len(asked) == 1
    labeller.look(IMAGES[0], CROP)
    assert len(asked) == 2


def test_files_that_are_something_else_are_refused(tmp_path, teachers):
    text, other = tmp_path / "notes.txt", tmp_path / "other.sqlite"
    text.write_text("not a database, but long enough to be read as one" * 40)
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE songs (name TEXT)")
    connection.commit()
    for path in (text, other, tmp_path / "no_such_folder" / "a.sqlite"):
        with pytest.raises(UserError, match="--teacher_cache=") as error:
            Answers(path, teachers)
        assert "\n" not in str(error.value)
    assert text.read_text().startswith("not a database")
    assert sqlite3.connect(other).execute("SELECT count(*) FROM songs").fetchone() == (0,)


def test_the_answers_of_the_training_photos_are_intact(tmp_path, teachers):
    packed = Path(__file__).parents[3] / "configs" / "teacher_answers.sqlite.xz"
    (tmp_path / "a.sqlite").write_bytes(lzma.decompress(packed.read_bytes()))
    Answers(tmp_path / "a.sqlite", teachers)  # of this version
    rows = sqlite3.connect(tmp_path / "a.sqlite").execute("SELECT row FROM answers").fetchall()
    assert len(rows) == 11_459 and {len(row) for (row,) in rows} == {ROW.itemsize}
    values = np.frombuffer(b"".join(row for (row,) in rows), ROW)
    assert (values["has"] == 1).all() and (values["crop"][:, 2] > 0).all()
