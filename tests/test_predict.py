"""The predict command, with a model that reads dots and videos that OpenCV wrote."""

import json

import cv2
import numpy as np
import pytest
from absl import flags

from keras_pose import predict
from keras_pose.core.errors import UserError
from keras_pose.inference.predictor import PosePredictor
from keras_pose.prediction import photos, videos
from keras_pose.visualization.drawing import save_png
from tests.oracles import dot_finder, dot_model, dot_picture, people_picture, standing_px

SIZE = (240, 320)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command on inputs in `tmp_path`, results in `tmp_path / "out"`; the model reads dots."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predict, "PosePredictor", lambda name, flip_test: PosePredictor(dot_model()))

    def run(*arguments):
        values = flags.FlagValues()
        predict.define_flags(values)
        monkeypatch.setattr(predict, "FLAGS", values)
        return predict.main(values(["predict", "--model=dots", "--output=out", "--height=120", *arguments])[1:])

    return run


def write_picture(path, centre=(160, 110)):
    truth = standing_px(centre, 120)
    save_png(path, dot_picture(truth, SIZE))
    return truth


def write_video(path, count=8):
    truths = [standing_px((100 + 10 * t, 110), 120) for t in range(count)]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, SIZE[::-1])
    for truth in truths:
        writer.write(dot_picture(truth, SIZE)[..., ::-1])
    writer.release()
    return truths


def test_a_photo_gives_an_image_and_json(run, tmp_path):
    truth = write_picture(tmp_path / "photo.png")
    assert run("photo.png") == 0
    picture = cv2.imread("out/photo_pose.png")
    assert picture.shape == (120, 160 + 2 * 120, 3)  # the photo and two views
    values = json.loads((tmp_path / "out" / "photo_pose.json").read_text())
    (person,) = values["people"]
    assert np.abs(np.array(person["keypoints_px"]) - truth).max() < 1
    assert values["units"]["pose_3d_mm"].startswith("millimetres") and values["image_size"] == [240, 320]


def test_a_sheet_has_every_photo(run, tmp_path):
    for i in range(3):
        write_picture(tmp_path / f"{i}.png", (120 + 20 * i, 110))
    assert run("0.png", "1.png", "2.png", "--sheet=all.webp", "--columns=2") == 0
    sheet, single = cv2.imread("all.webp"), cv2.imread("out/0_pose.png")
    (height, width), gap = single.shape[:2], 4
    assert sheet.shape == (2 * (height + gap) + gap, 2 * (width + gap) + gap, 3)
    assert np.abs(sheet[gap : gap + height, gap : gap + width].astype(int) - single).mean() < 3
    with pytest.raises(UserError, match="all.webp exists"):
        run("0.png", "--sheet=all.webp", "--overwrite=false", "--output=other")
    with pytest.raises(UserError, match="--sheet=all.gif must end in .png or .webp"):
        run("0.png", "--sheet=all.gif", "--output=other")


def test_a_folder_is_processed_despite_damaged_images_which_are_listed(run, tmp_path, capsys):
    for i in range(photos.BATCH + 2):
        write_picture(tmp_path / "photos" / f"{i}.png", (100 + 5 * i, 110))
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"\xff\xd8 no image")
    (tmp_path / "photos" / "empty.jpg").write_bytes(b"")
    (tmp_path / "photos" / "notes.txt").write_text("not an image")
    assert run("photos") == 1
    assert len(list((tmp_path / "out").glob("*_pose.png"))) == photos.BATCH + 2
    out = capsys.readouterr().out
    assert "; 1 other files in folders are neither images nor videos" in out
    assert "10 of 12 done" in out and out.count("skipped: ") == 2 and "photos/bad.jpg does not decode" in out


def test_a_folder_is_processed_despite_a_damaged_video(run, tmp_path, capsys):
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.mp4").write_bytes(b"no video")
    write_video(tmp_path / "films" / "b.mp4")
    assert run("films") == 1
    out = capsys.readouterr().out
    assert "1 of 2 done" in out and "skipped: films/a.mp4" in out and (tmp_path / "out" / "b_pose.json").is_file()
    with pytest.raises(UserError, match="a.mp4"):
        run("films/a.mp4", "--output=listed")


def test_ctrl_c_before_the_first_frame_ends_the_list(run, tmp_path, monkeypatch, capsys):
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name)

    class Interrupted(videos.PoseTracker):
        def __call__(self, frame, time_s):
            raise KeyboardInterrupt

    monkeypatch.setattr(videos, "PoseTracker", Interrupted)
    assert run("a.mp4", "b.mp4") == 0
    out = capsys.readouterr().out
    assert out.count("stopped after 0 frames") == 1 and not list((tmp_path / "out").glob("*.json"))


def test_a_listed_damaged_image_is_an_error(run, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match="bad.jpg does not decode"):
        run("bad.jpg")


def test_nothing_is_overwritten_silently(run, tmp_path):
    write_picture(tmp_path / "photo.png")
    run("photo.png")
    (tmp_path / "out" / "photo_pose.png").write_bytes(b"mine")
    with pytest.raises(UserError, match="already exists.*--overwrite"):
        run("photo.png")
    assert (tmp_path / "out" / "photo_pose.png").read_bytes() == b"mine"
    assert run("photo.png", "--overwrite") == 0
    assert (tmp_path / "out" / "photo_pose.png").read_bytes() != b"mine"


def test_video_follows_the_person(run, tmp_path):
    truths = write_video(tmp_path / "walk.mp4")
    assert run("walk.mp4") == 0
    values = json.loads((tmp_path / "out" / "walk_pose.json").read_text())
    assert len(values["frames"]) == 8 and values["frames_per_second"] == pytest.approx(25)
    assert [frame["time_s"] for frame in values["frames"]] == [round(t / 25, 4) for t in range(8)]
    assert values["skeleton"]["name"] == "human36m_17" and set(values["units"]) >= {"pose_3d_mm"}
    for frame, truth in zip(values["frames"], truths, strict=True):
        (person,) = frame["people"]
        assert person["id"] == 1 and np.abs(np.array(person["keypoints_px"]) - truth).max() < 20
    capture = cv2.VideoCapture("out/walk_pose.mp4")
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 8
    assert capture.read()[1].shape == (120, 400, 3)
    assert not list((tmp_path / "out").glob("*.partial*"))


def test_a_video_for_a_page(run, tmp_path):
    write_video(tmp_path / "walk.mp4")
    assert run("walk.mp4", "--video_format=webp") == 0
    done, animation = cv2.imreadanimation("out/walk_pose.webp")
    assert done and len(animation.frames) == 8 and animation.frames[0].shape[:2] == (120, 400)
    assert set(np.ravel(animation.durations)) == {40} and not (tmp_path / "out" / "walk_pose.mp4").exists()
    with pytest.raises(UserError, match="walk_pose.* already exists"):
        run("walk.mp4", "--video_format=webp")


def test_a_long_video_can_be_cut_or_stopped(run, tmp_path, monkeypatch, capsys):
    write_video(tmp_path / "walk.mp4")
    run("walk.mp4", "--max_frames=3")
    assert len(json.loads((tmp_path / "out" / "walk_pose.json").read_text())["frames"]) == 3

    class Interrupted(videos.PoseTracker):
        def __call__(self, frame, time_s):
            if time_s > 0.15:
                raise KeyboardInterrupt
            return super().__call__(frame, time_s)

    monkeypatch.setattr(videos, "PoseTracker", Interrupted)
    assert run("walk.mp4", "--output=stopped") == 0
    assert "stopped after 4 frames" in capsys.readouterr().out
    assert cv2.VideoCapture("stopped/walk_pose.mp4").get(cv2.CAP_PROP_FRAME_COUNT) == 4


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((), "nothing to predict"),
        (("gone.jpg",), "gone.jpg is neither a file nor a folder"),
        (("notes.txt",), "neither an image nor a video; known: .jpg"),
        (("empty",), "folder empty contains no images"),
        (("camera:front",), "write camera:0"),
        (("camera:97",), "camera:97 cannot be opened"),
        (("bad.mp4",), "bad.mp4 cannot be opened"),
        (("a.png", "sub/a.png"), r"a.png and sub/a.png would both be written to out/a_pose.json"),
    ],
)
def test_mistakes_give_one_line_errors(run, tmp_path, inputs, message):
    for path in ("a.png", "sub/a.png"):
        write_picture(tmp_path / path)
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "bad.mp4").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        run(*inputs)


def test_without_a_model_the_shipped_one_is_used(run, tmp_path, capsys):
    write_picture(tmp_path / "photo.png")
    assert run("photo.png", "--model=") == 0
    assert "no --model given; using the shipped weights phone" in capsys.readouterr().out


# --- a finder, boxes, several people ---------------------------------------------------------------------------


@pytest.fixture
def find(run, monkeypatch):
    """As `run`, with a model that has a finder: it finds the dots' people."""
    monkeypatch.setattr(predict, "PosePredictor", lambda name, flip_test: PosePredictor(dot_model(), dot_finder()))
    return run


def people_of(path):
    return json.loads(path.read_text())["people"]


def test_an_image_of_nobody_has_no_people_and_the_others_are_processed(find, tmp_path, capsys):
    truth = write_picture(tmp_path / "photos" / "b.png")
    save_png(tmp_path / "photos" / "a.png", np.zeros((*SIZE, 3), np.uint8))
    assert find("photos") == 0
    assert "2 of 2 done, 1 without a person" in capsys.readouterr().out
    assert people_of(tmp_path / "out" / "a_pose.json") == []
    assert cv2.imread("out/a_pose.png").shape == (120, 160, 3)
    (person,) = people_of(tmp_path / "out" / "b_pose.json")
    assert np.abs(np.array(person["keypoints_px"]) - truth).max() < 1 and person["person_score"] > 0.5


def test_several_people(find, tmp_path):
    truths = [standing_px((80, 110), 150), standing_px((240, 130), 90)]
    save_png(tmp_path / "two.png", people_picture(truths, SIZE))
    assert find("two.png", "--people=5") == 0
    people = people_of(tmp_path / "out" / "two_pose.json")
    assert len(people) == 2
    for person, truth in zip(people, truths, strict=True):  # the larger one first
        assert np.abs(np.array(person["keypoints_px"]) - truth).max() < 1.5
    assert find("two.png", "--people=1", "--output=one") == 0
    assert len(people_of(tmp_path / "one" / "two_pose.json")) == 1


def test_ids_stay_with_people_in_a_video(find, tmp_path):
    writer = cv2.VideoWriter("two.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 25.0, SIZE[::-1])
    for t in range(10):
        truths = [standing_px((80 + 3 * t, 110), 150), standing_px((240 - 3 * t, 130), 90)]
        writer.write(people_picture(truths if t < 8 else [], SIZE)[..., ::-1])
    writer.release()
    assert find("two.mp4", "--people=2") == 0
    frames = json.loads((tmp_path / "out" / "two_pose.json").read_text())["frames"]
    assert [[person["id"] for person in frame["people"]] for frame in frames] == [[1, 2]] * 8 + [[]] * 2
    assert cv2.VideoCapture("out/two_pose.mp4").get(cv2.CAP_PROP_FRAME_COUNT) == 10


def test_a_box_given_by_the_user(find, tmp_path):
    truths = [standing_px((80, 110), 150), standing_px((240, 130), 90)]
    save_png(tmp_path / "two.png", people_picture(truths, SIZE))
    assert find("two.png", "--box=190,70,290,200") == 0
    (person,) = people_of(tmp_path / "out" / "two_pose.json")
    assert np.abs(np.array(person["keypoints_px"]) - truths[1]).max() < 1.5 and person["person_score"] is None
    (tmp_path / "boxes.csv").write_text("file,x0,y0,x1,y1\ntwo.png,190,70,290,200\ntwo.png,20,10,140,220\n")
    assert find("two.png", "--boxes=boxes.csv", "--output=csv") == 0
    for person, truth in zip(people_of(tmp_path / "csv" / "two_pose.json"), truths[::-1], strict=True):
        assert np.abs(np.array(person["keypoints_px"]) - truth).max() < 1.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--box=1,2,3",), "--box=1,2,3 is not a box"),
        (("--box=9,2,3,8",), "x0 < x1"),
        (("--box=a,2,3,8",), "is not a box"),
        (("--box=1,2,3,8", "--people=2"), "mutually exclusive"),
        (("--box=1,2,3,8", "walk.mp4"), "walk.mp4 is a video"),
        (("--boxes=gone.csv",), "gone.csv cannot be read as CSV"),
        (("--boxes=empty.csv",), "contains no box"),
        (("--boxes=bad.csv",), "line 2 of bad.csv is not a box"),
        (("--boxes=other.csv",), "other.csv has a box for other.png"),
    ],
)
def test_bad_boxes_give_one_line_errors(find, tmp_path, arguments, message):
    write_picture(tmp_path / "photo.png")
    write_video(tmp_path / "walk.mp4", 2)
    (tmp_path / "empty.csv").write_text("file,x0,y0,x1,y1\n")
    (tmp_path / "bad.csv").write_text("photo.png,1,2,3,4\nphoto.png,4,3,2,1\n")
    (tmp_path / "other.csv").write_text("other.png,1,2,3,4\n")
    with pytest.raises(UserError, match=message):
        find("photo.png", *arguments)


def test_several_people_need_a_finder(run, tmp_path):
    write_picture(tmp_path / "photo.png")
    with pytest.raises(UserError, match="needs a finder, and .* has none; leave it out"):
        run("photo.png", "--people=2")
