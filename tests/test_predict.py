"""The predict command, with a model that reads dots and videos that OpenCV wrote."""

import json

import cv2
import numpy as np
import pytest
from absl import flags

from keras_pose import predict
from keras_pose.core.errors import UserError
from keras_pose.inference.predictor import PosePredictor
from keras_pose.visualization.drawing import save_png
from tests.oracles import dot_model, dot_picture, standing_px

SIZE = (240, 320)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command on inputs in `tmp_path`, results in `tmp_path / "out"`; the model reads dots."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predict, "PosePredictor", lambda name: PosePredictor(dot_model()))

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


def test_photo_gives_picture_and_json(run, tmp_path):
    truth = write_picture(tmp_path / "photo.png")
    assert run("photo.png") == 0
    picture = cv2.imread("out/photo_pose.png")
    assert picture.shape == (120, 160 + 2 * 120, 3)  # the photo and two views
    values = json.loads((tmp_path / "out" / "photo_pose.json").read_text())
    assert np.abs(np.array(values["keypoints_px"]) - truth).max() < 1
    assert values["units"]["pose_3d_mm"].startswith("millimetres") and values["image_size"] == [240, 320]


def test_folder_goes_on_past_damaged_pictures_and_lists_them(run, tmp_path, capsys):
    for i in range(predict.BATCH + 2):
        write_picture(tmp_path / "photos" / f"{i}.png", (100 + 5 * i, 110))
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"\xff\xd8 no picture")
    (tmp_path / "photos" / "empty.jpg").write_bytes(b"")
    (tmp_path / "photos" / "notes.txt").write_text("not a picture")
    assert run("photos") == 1
    assert len(list((tmp_path / "out").glob("*_pose.png"))) == predict.BATCH + 2
    out = capsys.readouterr().out
    assert "10 of 12 done" in out and out.count("left out") == 2 and "photos/bad.jpg does not decode" in out


def test_a_folder_goes_on_past_a_damaged_video(run, tmp_path, capsys):
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.mp4").write_bytes(b"no video")
    write_video(tmp_path / "films" / "b.mp4")
    assert run("films") == 1
    out = capsys.readouterr().out
    assert "1 of 2 done" in out and "left out: films/a.mp4" in out and (tmp_path / "out" / "b_pose.json").is_file()
    with pytest.raises(UserError, match="a.mp4"):
        run("films/a.mp4", "--output=listed")


def test_ctrl_c_before_the_first_frame_ends_the_list(run, tmp_path, monkeypatch, capsys):
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name)

    class Interrupted(predict.PoseTracker):
        def __call__(self, frame, time_s):
            raise KeyboardInterrupt

    monkeypatch.setattr(predict, "PoseTracker", Interrupted)
    assert run("a.mp4", "b.mp4") == 0
    out = capsys.readouterr().out
    assert out.count("stopped after 0 frames") == 1 and not list((tmp_path / "out").glob("*.json"))


def test_a_listed_damaged_picture_is_an_error(run, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match="bad.jpg does not decode"):
        run("bad.jpg")


def test_nothing_is_overwritten_silently(run, tmp_path):
    write_picture(tmp_path / "photo.png")
    run("photo.png")
    (tmp_path / "out" / "photo_pose.png").write_bytes(b"mine")
    with pytest.raises(UserError, match="is there already.*--overwrite"):
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
        assert np.abs(np.array(frame["keypoints_px"]) - truth).max() < 20
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
    with pytest.raises(UserError, match="walk_pose.* is there already"):
        run("walk.mp4", "--video_format=webp")


def test_a_long_video_can_be_cut_or_stopped(run, tmp_path, monkeypatch, capsys):
    write_video(tmp_path / "walk.mp4")
    run("walk.mp4", "--max_frames=3")
    assert len(json.loads((tmp_path / "out" / "walk_pose.json").read_text())["frames"]) == 3

    class Interrupted(predict.PoseTracker):
        def __call__(self, frame, time_s):
            if time_s > 0.15:
                raise KeyboardInterrupt
            return super().__call__(frame, time_s)

    monkeypatch.setattr(predict, "PoseTracker", Interrupted)
    assert run("walk.mp4", "--output=stopped") == 0
    assert "stopped after 4 frames" in capsys.readouterr().out
    assert cv2.VideoCapture("stopped/walk_pose.mp4").get(cv2.CAP_PROP_FRAME_COUNT) == 4


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((), "nothing to predict"),
        (("gone.jpg",), "gone.jpg is neither a file nor a folder"),
        (("notes.txt",), "neither a picture nor a video; known: .jpg"),
        (("empty",), "folder empty holds no picture"),
        (("camera:front",), "write camera:0"),
        (("camera:97",), "camera:97 cannot be opened"),
        (("bad.mp4",), "bad.mp4 cannot be opened"),
        (("a.png", "sub/a.png"), r"a.png and sub/a.png would both be written to out/a_pose.json"),
    ],
)
def test_mistakes_are_one_line(run, tmp_path, inputs, message):
    for path in ("a.png", "sub/a.png"):
        write_picture(tmp_path / path)
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "bad.mp4").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        run(*inputs)


def test_the_model_must_be_named(run):
    with pytest.raises(UserError, match="--model=RUN"):
        run("photo.png", "--model=")
