"""Videos: they survive a round trip, and an incomplete file has no name."""

import cv2
import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.io import video

GREYS = (20, 90, 160, 230)


def write(path, frames, fps=12.5):
    writer = video.VideoWriter(path, fps)
    for frame in frames:
        writer.write(frame)
    writer.close()
    left = sorted(p.name for p in path.parent.glob("*")) if path.parent.exists() else []
    assert path.name not in left
    writer.publish()


def plain(grey, size=(48, 66), red=0):
    frame = np.full((*size, 3), grey, np.uint8)
    frame[..., 0] += np.uint8(red)
    return frame


def read(path):
    """Frames (F, H, W, 3) RGB and their rate."""
    if path.suffix == ".webp":
        done, animation = cv2.imreadanimation(str(path))
        assert done
        frames, fps = [frame[..., :3] for frame in animation.frames], 1000 / np.mean(animation.durations)
    else:
        capture = cv2.VideoCapture(str(path))
        frames, fps = [], capture.get(cv2.CAP_PROP_FPS)
        while (got := capture.read())[0]:
            frames.append(got[1])
    return np.stack(frames)[..., ::-1], fps


@pytest.mark.parametrize("name", ["a.mp4", "a.webp", "new/folder/A.WEBP"])
def test_frames_read_back(tmp_path, name):
    path = tmp_path / name
    write(path, [plain(grey, red=20) for grey in GREYS])
    frames, fps = read(path.rename(path.with_suffix(path.suffix.lower())))
    assert frames.shape == (4, 48, 66, 3) and fps == pytest.approx(12.5, rel=0.01)
    means = frames.mean((1, 2))
    assert np.abs(means[:, 1] - GREYS).max() < 8
    assert (means[:, 0] > means[:, 2] + 8).all()  # red stays red
    assert not list(path.parent.glob("*.partial*"))


def test_frames_of_a_camera_keep_their_times(tmp_path):
    """At 0, 0.1 and 0.5 s; the one at 0.11 s comes too soon for 10 frames a second."""
    times = (0.0, 0.1, 0.11, 0.5)
    for suffix in ("mp4", "webp"):
        writer = video.VideoWriter(tmp_path / f"a.{suffix}", 10)
        for grey, time_s in zip(GREYS, times, strict=True):
            writer.write(plain(grey), time_s)
        writer.close()
        writer.publish()
    greys = read(tmp_path / "a.mp4")[0].mean((1, 2, 3))
    np.testing.assert_allclose(greys, [20, 90, 90, 90, 90, 230], atol=8)
    late = video.VideoWriter(tmp_path / "late.mp4", 10)
    late.write(plain(GREYS[2]), 0.2)
    late.close()
    late.publish()
    np.testing.assert_allclose(read(tmp_path / "late.mp4")[0].mean((1, 2, 3)), [160] * 3, atol=8)
    done, animation = cv2.imreadanimation(str(tmp_path / "a.webp"))
    assert done and animation.durations.ravel().tolist() == [100, 10, 390, 100]


@pytest.mark.parametrize("fps", [119.8766, 143.857, 960.001])
def test_slow_motion_is_written_at_its_rate(tmp_path, fps):
    """MPEG-4's clock counts to 65535: OpenCV refuses rates of more digits than fit."""
    writer = video.VideoWriter(tmp_path / "a.mp4", fps)
    writer.write(plain(90))
    writer.close()
    writer.publish()
    assert read(tmp_path / "a.mp4")[1] == pytest.approx(fps, rel=1e-3)


def test_the_odd_row_and_column_are_left_out(tmp_path):
    write(tmp_path / "a.mp4", [plain(90, (49, 67))] * 2)
    assert read(tmp_path / "a.mp4")[0].shape == (2, 48, 66, 3)


@pytest.mark.parametrize("suffix", video.FORMATS)
def test_without_frames_there_is_no_file(tmp_path, suffix):
    write(tmp_path / f"a.{suffix}", [])
    assert not list(tmp_path.iterdir())


def test_mistakes_give_one_line_errors(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="unknown video format 'gif'; known: mp4, webp"):
        video.VideoWriter(tmp_path / "a.gif", 10)
    monkeypatch.setattr(video, "WEBP_MOST_FRAMES", 3)
    with pytest.raises(UserError, match="exceed 3 frames; shorten it, or write an mp4"):
        write(tmp_path / "a.webp", [plain(grey) for grey in GREYS])
    (tmp_path / "file").write_text("")
    for suffix in video.FORMATS:
        with pytest.raises(UserError, match="cannot write .*file/a"):
            write(tmp_path / "file" / f"a.{suffix}", [plain(90)])
