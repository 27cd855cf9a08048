"""The finder's maps to boxes, its place before the pose model, and following several people."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from keras_pose import PosePredictor, PoseTracker
from keras_pose.core.errors import UserError
from keras_pose.inference import finder, windows
from keras_pose.inference.finder import FoundPerson, PersonFinder, best_matches, decode, fit, overlap
from keras_pose.inference.predictor import ENOUGH, confirmed
from keras_pose.inference.tracker import CHECK_S, PeopleTracker
from tests.oracles import DotPeople, dot_finder, dot_model, people_picture, standing_px

SIZE = (480, 640)


def maps(people, cells=20):
    """Maps with a person for each (row, column, score, (left, top, right, bottom))."""
    centers, boxes = np.zeros((cells, cells), np.float32), np.zeros((cells, cells, 4), np.float32)
    for row, column, score, sides in people:
        centers[row, column], boxes[row, column] = score, sides
    return centers, boxes


# --- decoding --------------------------------------------------------------------------------------------------


def test_a_peak_is_a_box_around_its_cells_centre():
    boxes, scores = decode(*maps([(7, 3, 0.8, (0.1, 0.2, 0.05, 0.3))]))
    assert scores == pytest.approx([0.8])
    x, y = 3.5 / 20, 7.5 / 20
    assert boxes[0] == pytest.approx([x - 0.1, y - 0.2, x + 0.05, y + 0.3])


def test_people_come_by_score_and_weak_ones_not():
    sides = (0.05, 0.1, 0.05, 0.1)
    boxes, scores = decode(*maps([(3, 3, 0.5, sides), (15, 15, 0.9, sides), (3, 15, 0.1, sides)]), least_score=0.3)
    assert scores == pytest.approx([0.9, 0.5])
    assert len(decode(*maps([(3, 3, 0.5, sides), (15, 15, 0.9, sides)]), max_people=1)[0]) == 1
    empty = decode(*maps([]))
    assert empty[0].shape == (0, 4) and empty[1].shape == (0,)


def test_neighbours_of_a_peak_and_overlapping_boxes_are_the_same_person():
    sides = (0.2, 0.4, 0.2, 0.4)
    assert len(decode(*maps([(7, 7, 0.8, sides), (7, 8, 0.7, sides)]))[0]) == 1
    assert len(decode(*maps([(7, 7, 0.8, sides), (7, 9, 0.7, sides)]))[0]) == 1
    assert len(decode(*maps([(7, 3, 0.8, sides), (7, 14, 0.7, sides)]))[0]) == 2


def test_peaks_at_the_border_count():
    assert len(decode(*maps([(0, 0, 0.8, (0.02, 0.02, 0.1, 0.2)), (19, 19, 0.7, (0.1, 0.2, 0.02, 0.02))]))[0]) == 2


def test_overlap_laws():
    a, b = np.array([0, 0, 2, 4.0]), np.array([1, 0, 3, 4.0])
    assert overlap(a, a) == pytest.approx(1) and overlap(a, b) == overlap(b, a) == pytest.approx(1 / 3)
    assert overlap(a, a + 10) == 0 and overlap(10 * a, 10 * b) == pytest.approx(1 / 3)


def test_the_assignment_is_the_best_one_in_all_not_the_greedy_one():
    before = [np.array([0, 0, 10, 10.0]), np.array([4, 0, 14, 10.0])]
    now = [np.array([3, 0, 13, 10.0]), np.array([8, 0, 18, 10.0])]  # both are nearest to the first
    assert best_matches(before, now, 0.1) == [(0, 0), (1, 1)]
    assert best_matches(before, [], 0.1) == [] and best_matches([], now, 0.1) == []
    assert best_matches(before, [np.array([50, 50, 60, 60.0])], 0.1) == []


# --- images of any shape ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (100, 1000), (1000, 100), (50, 50), (9, 13), (3000, 4001)])
def test_the_whole_image_is_in_the_middle_of_the_square(size):
    square, affine = fit(np.full((*size, 3), 255, np.uint8), 160)
    rows, columns = np.flatnonzero(square.any((1, 2))), np.flatnonzero(square.any((0, 2)))
    assert max(len(rows), len(columns)) == 160
    assert len(rows) / len(columns) == pytest.approx(size[0] / size[1], rel=0.05)
    assert affine @ [0, 0, 1] == pytest.approx([columns[0], rows[0]])
    assert affine @ [size[1], size[0], 1] == pytest.approx([columns[-1] + 1, rows[-1] + 1])


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (100, 1000), (1000, 100), (50, 50), (9, 13)])
def test_boxes_come_back_to_the_images_pixels(size):
    """A person in the middle of the image, a third as high and half as wide as it, at any shape of the image."""
    height, width = size
    side = 160
    _, affine = fit(np.zeros((*size, 3), np.uint8), side)
    corners = np.array([[width / 4, height / 3], [3 * width / 4, 2 * height / 3]])
    low, high = (np.append(corner, 1.0) @ affine.T / side for corner in corners)
    middle = np.array([10.5, 10.5]) / 20
    person = (10, 10, 0.9, (*(middle - low), *(high - middle)))
    found = PersonFinder(lambda image: dict(zip(("centers", "boxes"), maps([person]), strict=True)), side)
    (box,) = found.look(np.zeros((*size, 3), np.uint8))
    assert box.box_px == pytest.approx(corners.ravel(), abs=1e-6 * max(size))


def test_boxes_are_clipped_and_what_lies_in_the_black_bars_is_nobody():
    outputs = dict(
        zip(("centers", "boxes"), maps([(10, 2, 0.9, (0.5, 0.1, 0.1, 0.1)), (1, 10, 0.9, (0.05,) * 4)]), strict=True)
    )
    (person,) = PersonFinder(lambda image: outputs, 160).look(np.zeros((160, 320, 3), np.uint8))
    assert person.box_px[0] == 0 and person.box_px[2] > 0


def test_the_most_prominent_comes_first():
    """The large one, although the small one's score is higher."""
    outputs = dict(
        zip(
            ("centers", "boxes"),
            maps([(4, 4, 0.9, (0.02, 0.05, 0.02, 0.05)), (12, 12, 0.7, (0.1, 0.3, 0.1, 0.3))]),
            strict=True,
        )
    )
    first, second = PersonFinder(lambda image: outputs, 160, levels=(1.0,))(np.zeros((160, 160, 3), np.uint8))
    assert first.score == pytest.approx(0.7) and second.score == pytest.approx(0.9)


# --- windows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(480, 640), (641, 480), (100, 1000), (480, 853), (1080, 1920), (50, 50)])
@pytest.mark.parametrize("level", [0.6, 0.4])
def test_windows_cover_the_image_and_overlap(size, level):
    seen = np.zeros(size, int)
    for x0, y0, x1, y1 in windows.grid(size, level, 32):
        assert max(x1 - x0, y1 - y0) == int(level * max(size) + 0.5)
        seen[y0:y1, x0:x1] += 1
    assert seen.min() >= 1 and seen.max() <= 6
    narrow = round(windows.NEIGHBORS_OVERLAP * level * max(size))
    along = (seen >= 2).any(0) if size[1] >= size[0] else (seen >= 2).any(1)
    assert along.sum() >= narrow - 1
    assert windows.grid(size, 1.0, 32) == [(0, 0, size[1], size[0])]
    assert windows.grid(size, level, 10_000) == []  # no more pixels than the whole image gives


def test_a_window_around_somebody_stays_in_the_image():
    assert windows.around((100, 100, 140, 200), (480, 640)) == (0, 25, 250, 275)
    assert windows.around((600, 400, 640, 480), (480, 640)) == (440, 280, 640, 480)
    assert windows.around((100, 100, 140, 400), (480, 640)) == (0, 0, 640, 480)


def test_a_box_that_a_window_may_cut_does_not_count():
    size, window = (480, 640), (256, 0, 640, 384)
    is_cut = lambda *box: windows.is_cut(np.array(box, float), window, size)  # noqa: E731
    assert not is_cut(300, 50, 400, 250)
    assert is_cut(258, 50, 400, 250) and is_cut(300, 200, 400, 380)  # at inner sides
    assert not is_cut(500, 0, 640, 250)  # at the image's own border
    assert is_cut(270, 20, 330, 320)  # larger than three quarters of the window
    assert not windows.is_cut(np.array([0, 0, 640, 480.0]), (0, 0, 640, 480), size)


def test_the_same_person_seen_from_two_windows_is_one():
    person = lambda score, *box: finder.FoundPerson(np.array(box, float), score)  # noqa: E731
    whole, closer, part = person(0.6, 0, 0, 100, 200), person(0.8, 5, 5, 105, 210), person(0.9, 20, 20, 60, 80)
    other = person(0.5, 300, 0, 400, 200)
    assert finder.merge([whole, other], [closer]) == [other, closer]
    assert finder.merge([closer, other], [whole]) == [closer, other]
    assert finder.merge([], [whole, closer]) == [whole, closer]  # of one look: decode has chosen already
    assert finder.merge([person(0.95, 0, 0, 100, 200)], [part])[0].score == 0.95


@pytest.mark.parametrize(
    ("height", "levels", "looks"), [(300, finder.LEVELS, 1), (150, finder.LEVELS[:2], 5), (80, finder.LEVELS, 17)]
)
def test_the_search_looks_closer_unless_somebody_is_large(height, levels, looks):
    people, truth = DotPeople(), standing_px((330, 250), height)
    (person,) = PersonFinder(people, people.size, levels=levels)(people_picture([truth], SIZE))
    assert len(people.images) == looks
    assert overlap(person.box_px, np.array([*truth.min(0), *truth.max(0)])) > 0.7


def test_a_box_without_joints_is_nobody():
    """The finder, the joints' scores and the agreement of both boxes decide together (`confirmed`)."""
    sides = (0.1, 0.3, 0.1, 0.3)

    def predictor(score):
        outputs = dict(zip(("centers", "boxes"), maps([(10, 10, score, sides)]), strict=True))
        return PosePredictor(dot_model(), PersonFinder(lambda image: outputs, 160, levels=(1.0,)))

    black = np.zeros((160, 160, 3), np.uint8)  # the model is sure of no joint, wherever it looks
    for score in (0.3, 0.7):
        assert predictor(score).find(black) == predictor(score).predict_people(black) == []
        assert predictor(score)(black).person_score == 0
    truth = standing_px((84, 84), 90)
    dots = people_picture([truth], (160, 160))
    (person,) = predictor(0.3).find(dots)
    assert np.abs(person.box_px - [*truth.min(0), *truth.max(0)]).max() < 1  # the joints' box, not the finder's
    assert predictor(0.3)(dots).person_score == pytest.approx(person.score)
    assert 1.3 / 2.5 < person.score < 1.8 / 2.5


def test_a_box_and_joints_elsewhere_are_less_sure():
    first = SimpleNamespace(keypoints_px=np.array([[10.0, 10.0], [30.0, 90.0], [20.0, 50.0]]), scores=np.full(3, 0.3))
    here, beside = (confirmed(FoundPerson(np.array(box), 0.4), first, (100, 100)) for box in
                    ((10.0, 10.0, 30.0, 90.0), (60.0, 10.0, 80.0, 90.0)))  # fmt: skip
    assert here.box_px.tolist() == beside.box_px.tolist() == [10, 10, 30, 90]
    assert here.score == pytest.approx(1.2 / 2.5) and beside.score == pytest.approx(0.7 / 2.5)
    assert beside.score < ENOUGH < here.score
    outside = confirmed(FoundPerson(np.array([10.0, 10.0, 30.0, 50.0]), 0.4), first, (50, 100))
    assert outside.box_px.tolist() == [10, 10, 30, 50]


# --- the predictor ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("centre", [(320, 220), (90, 330), (560, 120)])
def test_finder_then_crop_then_once_more(centre):
    truth = standing_px(centre, 120)
    predictor = PosePredictor(dot_model(), dot_finder())
    result = predictor(people_picture([truth], SIZE))
    assert np.abs(result.keypoints_px - truth).max() < 0.6 and result.person_score == pytest.approx(0.96, abs=0.04)
    assert len(predictor.model.run.crops) == 2
    first = predictor.model.run.crops[0][0]
    rows = np.flatnonzero(first.any((1, 2)))
    assert np.ptp(rows) > 0.5 * 256  # the first crop is around the person already


def test_a_picture_of_nobody():
    predictor = PosePredictor(dot_model(), dot_finder())
    black = np.zeros((*SIZE, 3), np.uint8)
    assert predictor.predict_people(black) == []
    assert predictor(black).person_score == 0


def test_several_people_the_largest_first():
    truths = [standing_px((120, 330), 100), standing_px((330, 220), 300), standing_px((560, 200), 150)]
    predictor = PosePredictor(dot_model(), dot_finder())
    results = predictor.predict_people(people_picture(truths, SIZE))
    assert len(results) == 3
    for result, truth in zip(results, [truths[1], truths[2], truths[0]], strict=True):
        assert np.abs(result.keypoints_px - truth).max() < 1.0
    assert len(predictor.predict_people(people_picture(truths, SIZE), max_people=2)) == 2
    assert len(predictor.model.run.crops) == 4  # two passes an image, however many people
    with pytest.raises(UserError, match="at least 1"):
        predictor.predict_people(people_picture(truths, SIZE), max_people=0)


def test_without_a_finder_as_before():
    truth = standing_px((320, 240), 300)
    predictor = PosePredictor(dot_model())
    (result,) = predictor.predict_people(people_picture([truth], SIZE))
    assert np.array_equal(result.keypoints_px, predictor(people_picture([truth], SIZE)).keypoints_px)
    assert result.person_score is None
    with pytest.raises(UserError, match="has no finder"):
        predictor.find(people_picture([truth], SIZE))
    with pytest.raises(UserError, match="has no finder"):
        PeopleTracker(predictor, 2)


# --- following -------------------------------------------------------------------------------------------------


def test_the_finder_looks_at_the_start_and_once_a_second():
    people = DotPeople()
    tracker = PoseTracker(PosePredictor(dot_model(), PersonFinder(people, people.size)))
    picture = people_picture([standing_px((320, 220), 300)], SIZE)  # large enough to end the search
    for t in range(61):
        tracker(picture, t / 30)
    assert len(people.images) == 1 + int(2 / CHECK_S)
    assert len(tracker.predictor.model.run.crops) == 2 + 60


def test_a_crop_that_holds_somebody_else_or_nobody_is_given_up():
    """The model reads dots wherever it looks; the finder alone sees that the person has gone."""
    people, truth = DotPeople(), standing_px((320, 220), 200)
    tracker = PoseTracker(PosePredictor(dot_model(), PersonFinder(people, people.size)))
    picture = people_picture([truth], SIZE)
    tracker(picture, 0.0)
    elsewhere = standing_px((100, 300), 150)
    tracker._box_px = np.array([400, 50, 600, 400.0])  # it follows a curtain
    result = tracker(people_picture([elsewhere], SIZE), 1.1)
    assert np.abs(result.keypoints_px - elsewhere).max() < 0.6


def test_ids_stay_and_come_back():
    tracker = PeopleTracker(PosePredictor(dot_model(), dot_finder()), max_people=2)
    left, right = (lambda t: standing_px((120 + 60 * t, 220), 200)), (lambda t: standing_px((520 - 60 * t, 240), 150))
    for frame in range(30):
        t = frame / 30
        people = tracker(people_picture([left(t), right(t)], SIZE), t)
        assert [person.id for person in people] == [1, 2]
        assert np.abs(people[0].result.keypoints_px - left(t)).max() < 25
        assert np.abs(people[1].result.keypoints_px - right(t)).max() < 25
    assert [p.id for p in tracker(people_picture([left(1)], SIZE), 1.0)] == [1]
    back = tracker(people_picture([left(1), right(1)], SIZE), 1.6)
    assert [person.id for person in back] == [1, 2]
    assert tracker(people_picture([], SIZE), 1.7) == []
    assert [p.id for p in tracker(people_picture([standing_px((320, 240), 400)], SIZE), 9.0)] == [3]


# --- files -----------------------------------------------------------------------------------------------------


def test_a_finder_that_is_none_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no finder gone.tflite"):
        finder.open_finder("gone.tflite")
    path = tmp_path / "finder.tflite"
    path.write_bytes(b"no file")
    with pytest.raises(UserError, match="lacks its metadata"):
        finder.open_finder(path)
    sidecar = tmp_path / "finder.tflite.json"
    sidecar.write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        finder.open_finder(path)
    sidecar.write_text(json.dumps({"format_version": 9, "part": "finder", "input_size": [160, 160]}))
    with pytest.raises(UserError, match="format 9, this version reads 1"):
        finder.open_finder(path)
    sidecar.write_text(json.dumps({"format_version": 1, "part": "pose", "input_size": [160, 160]}))
    with pytest.raises(UserError, match="kind pose, not a finder"):
        finder.open_finder(path)


def test_a_finder_is_no_pose_model(tmp_path):
    (tmp_path / "finder.tflite").write_bytes(b"")
    (tmp_path / "finder.tflite.json").write_text(json.dumps({"part": "finder", "input_size": [160, 160]}))
    with pytest.raises(UserError, match="kind finder, not a pose model"):
        PosePredictor(tmp_path / "finder.tflite")


def test_a_file_alone_has_no_finder(tmp_path):
    (tmp_path / "pose.tflite").write_bytes(b"")
    assert finder.finder_beside(tmp_path / "pose.tflite") is None
