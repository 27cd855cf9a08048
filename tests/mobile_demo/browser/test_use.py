"""What people do with the page: pause, photos, videos, other models, recordings, numbers, the 3D view."""

import json

import cv2
import numpy as np
import pytest

from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.io.model_info import sidecar_path
from tests.mobile_demo.browser.clips import draw_dots
from tests.mobile_demo.browser.oracle import HEXAPOD_6, pose_of
from tests.mobile_demo.browser.phone import points
from tests.mobile_demo.browser.test_joints import FIXED, cells_off

WRIST, ELBOW, SHOULDER = (HUMAN36M_17.index(f"left_{name}") for name in ("wrist", "elbow", "shoulder"))


# The recorder that the page makes.
NOTE_RECORDER = """() => {
    globalThis.MediaRecorder = class extends MediaRecorder {
        constructor(...rest) {
            super(...rest);
            globalThis.recorderMade = this;
        }
    };
}"""
REFUSE = "() => { MediaRecorder.prototype.start = () => { throw new DOMException('no', 'NotSupportedError'); }; }"
# A browser that shares files as an iPhone's installed page does.
SHARES = """() => {
    globalThis.shared = [];
    Object.defineProperty(navigator, "standalone", {value: true});
    navigator.canShare = ({files}) => files.length === 1;
    navigator.share = async ({files: [{name, type, size}]}) => {
        shared.push([name.split(".").at(-1), type, size > 1000, navigator.userActivation.isActive]);
        if (globalThis.refusal) throw new DOMException("not today", globalThis.refusal);
    };
}"""


@pytest.fixture
def running(phone):
    """A phone that shows results."""
    phone.open(FIXED).wait_for("running").results(2)
    return phone


def choose(phone, control: str, *paths) -> None:
    """Chooses files of the phone where the page asks for them."""
    phone.page.set_input_files(control, [str(path) for path in paths])


def save(phone, control: str, folder):
    """The file that a tap on a control of the save dialog leaves."""
    with phone.page.expect_download() as download:
        phone.page.click(control)
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_pause_and_go_on(running, layouts):
    running.page.click("#pause")
    running.wait_for("paused")
    seen = running.latest()["frame"]
    running.page.wait_for_timeout(700)
    assert running.latest()["frame"] == seen
    assert running.page.evaluate("() => document.querySelector('video').paused")
    running.page.click("#pause")
    running.wait_for("running")
    result = running.results(2)[-1]
    assert result["frame"] > seen and cells_off(result, layouts[0], 256) < 1


def test_a_photo_and_what_is_saved_of_it(running, layouts, tmp_path):
    photo = tmp_path / "photo.png"
    places = layouts[1] + [0, 80]
    cv2.imwrite(str(photo), draw_dots(places, (640, 640))[..., ::-1])
    choose(running, "#file-input", photo)
    running.page.wait_for_function("() => poseDemo.latest?.picture[0] === 640")
    running.page.wait_for_timeout(500)  # its passes are done
    assert cells_off(running.latest(), places, 256) < 1 and running.state() == "running"
    assert not running.page.is_visible("video") and running.page.is_visible("#photo")
    running.page.click("#record")
    saved = json.loads(save(running, "#save-joints", tmp_path).read_text())
    assert saved["image_size"] == [640, 640] and saved["skeleton"] == HUMAN36M_17.to_dict()
    np.testing.assert_allclose(saved["keypoints_px"], points(running.latest()["keypoints_2d"], 2), atol=0.01)
    picture = cv2.imread(str(save(running, "#save-picture", tmp_path)))
    assert picture.shape == (640, 640, 3)
    assert (cv2.absdiff(picture, cv2.imread(str(photo))).max(-1) > 50).mean() > 0.01  # the skeleton is on it
    running.page.click("#saving-close")
    running.page.click("#flip")  # back to the camera
    assert cells_off(running.wait_for("running").results(2)[-1], layouts[0], 256) < 1


def test_a_video(running, layouts, tmp_path):
    path = tmp_path / "video.webm"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"VP80"), 10, (640, 480))
    for _ in range(20):
        writer.write(draw_dots(layouts[2])[..., ::-1])
    writer.release()
    choose(running, "#file-input", path)
    results = running.wait_for("running").results(30)  # longer than it is: it starts anew
    assert np.median([cells_off(result, layouts[2], 256) for result in results]) < 1


@pytest.mark.parametrize("name, error", [("photo.png", "photo-unreadable"), ("video.mp4", "video-unreadable")])
def test_a_file_that_cannot_be_read(running, layouts, tmp_path, name, error):
    path = tmp_path / name
    path.write_bytes(b"neither picture nor video")
    choose(running, "#file-input", path)
    running.wait_for("error")
    assert running.state() == f"error: {error}"
    running.page.click("#retry")  # "Back to the camera"
    assert cells_off(running.wait_for("running").results(2)[-1], layouts[0], 256) < 1


def test_the_model_is_swapped_while_running(running, hexapod, keypoints_only, layouts, tmp_path):
    alone = tmp_path / "alone.tflite"  # its metadata is inside
    alone.write_bytes(hexapod.read_bytes())
    choose(running, "#model-input", alone)
    running.page.wait_for_function("() => poseDemo.latest?.scores.length === 6")
    result = running.results(2)[-1]
    assert cells_off(result, layouts[0, :6], 192) < 1
    expected = pose_of(points(result["raw_keypoints_2d"], 2), HEXAPOD_6)
    np.testing.assert_allclose(points(result["pose_3d"], 3), expected, atol=0.1)

    bare = tmp_path / "bare.tflite"  # without its archive it needs the file beside it
    content = keypoints_only.read_bytes()
    bare.write_bytes(content[: content.rindex(b"PK\x03\x04")])
    choose(running, "#model-input", bare)
    running.page.wait_for_selector("#notice:has-text('.tflite.json')")
    assert len(running.results(2)[-1]["scores"]) == 6  # the one before goes on
    choose(running, "#model-input", bare, sidecar_path(keypoints_only))
    running.page.wait_for_function("() => poseDemo.latest?.scores.length === 17 && !poseDemo.latest.pose_3d")
    assert running.page.is_visible("#flat")


def test_a_bad_model_leaves_the_one_that_runs(running, oracle, hexapod, layouts, tmp_path):
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(oracle.read_bytes()[:3000])
    other = tmp_path / "other.tflite"  # the metadata of another skeleton
    content = oracle.read_bytes()
    other.write_bytes(content[: content.rindex(b"PK\x03\x04")])
    text = tmp_path / "text.tflite"
    text.write_text("no model")
    for files in ([cut, sidecar_path(oracle)], [other, sidecar_path(hexapod)], [text, sidecar_path(oracle)]):
        choose(running, "#model-input", *files)
        running.page.wait_for_selector("#notice:has-text('cannot be read')")
        running.page.click("#notice-close")
        assert running.state() == "running"
        assert cells_off(running.results(2)[-1], layouts[0], 256) < 1


def test_a_recording(running, layouts, tmp_path):
    running.page.click("#record")
    canvas = running.page.locator("body > canvas")
    assert canvas.count() == 1  # some browsers record black of one that is not in the page
    results = running.results(15)
    running.page.click("#record")
    recorded = json.loads(save(running, "#save-joints", tmp_path).read_text())
    assert recorded["skeleton"] == HUMAN36M_17.to_dict() and "millimetres" in recorded["units"]["pose_3d_mm"]
    frames = recorded["frames"]
    assert len(frames) >= len(results) and frames[0]["time_s"] == 0
    assert (np.diff([frame["time_s"] for frame in frames]) > 0).all()
    for frame in frames:
        crop = {"width": 256 / frame["crop_affine"][0][0]}
        assert cells_off({"keypoints_2d": frame["keypoints_px"], "crop": crop}, layouts[0], 256) < 1
        assert np.shape(frame["pose_3d_mm"]) == (17, 3)

    capture = cv2.VideoCapture(str(save(running, "#save-video", tmp_path)))
    images = []
    while (read := capture.read())[0]:
        images.append(read[1][..., ::-1])
    assert len(images) >= 5 and images[0].shape == (480, 640, 3)
    # Half way between two joints there is black in the camera's picture, and the bone in the video.
    a, b = next(bone for bone in HUMAN36M_17.bones if np.linalg.norm(np.subtract(*layouts[0][list(bone)])) > 150)
    x, y = layouts[0][[a, b]].mean(0).astype(int)
    assert draw_dots(layouts[0])[y - 2 : y + 3, x - 2 : x + 3].max() < 30 or dot_near(layouts[0], (x, y))
    assert images[-1][y - 2 : y + 3, x - 2 : x + 3].max() > 90
    running.page.click("#saving-close")
    assert running.state() == "running" and canvas.count() == 0


def test_a_pause_is_not_in_the_recording_and_may_end_it(running, tmp_path):
    running.page.click("#record")
    running.results(5)
    running.page.click("#pause")
    running.page.wait_for_timeout(6000)
    running.page.click("#pause")
    running.results(5)
    running.page.click("#pause")
    running.page.click("#record", timeout=5000)
    frames = json.loads(save(running, "#save-joints", tmp_path).read_text())["frames"]
    assert len(frames) >= 10 and 0 < np.diff([frame["time_s"] for frame in frames]).max() < 4
    assert save(running, "#save-video", tmp_path).stat().st_size > 1000
    running.page.click("#saving-close")
    assert running.page.is_disabled("#record")  # none begins in a pause


@pytest.mark.parametrize("breaks", ["at the start", "later"])
def test_a_recorder_that_breaks_leaves_the_joints(running, tmp_path, breaks):
    running.page.evaluate(REFUSE if breaks == "at the start" else NOTE_RECORDER)
    running.page.click("#record")
    running.results(3)
    if breaks == "later":
        running.page.evaluate("() => recorderMade.dispatchEvent(new Event('error'))")
    running.page.wait_for_selector("#notice:has-text('only the joints')", timeout=5000)
    running.results(2)
    running.page.click("#record")
    assert len(json.loads(save(running, "#save-joints", tmp_path).read_text())["frames"]) >= 5
    assert not running.page.is_visible("#save-video")
    assert running.page.locator("body > canvas").count() == 0


def test_an_installed_page_that_cannot_download_shares(running):
    running.page.evaluate(SHARES)
    running.page.click("#record")
    running.results(5)
    running.page.click("#record")
    running.page.click("#save-joints")
    told = running.page.inner_text("#saving-text")
    running.page.evaluate("refusal = 'AbortError'")  # the person changed their mind
    running.page.click("#save-video")
    running.page.wait_for_timeout(100)
    assert running.page.inner_text("#saving-text") == told
    running.page.evaluate("refusal = 'NotAllowedError'")
    running.page.click("#save-joints")
    running.page.wait_for_selector("#saving-text:has-text('not today')", timeout=5000)
    joints, video, again = running.page.evaluate("shared")
    assert joints == again == ["json", "application/json", True, True]
    assert video[1] == f"video/{video[0]}" and video[2:] == [True, True]


def dot_near(places, point) -> bool:
    """Whether a dot lies at a point by chance."""
    return np.linalg.norm(places - point, axis=-1).min() < 20


def test_numbers(running, layouts):
    running.page.click("#measure")
    result = running.results(3)[-1]
    pose = points(result["pose_3d"], 3)
    upper, lower = pose[SHOULDER] - pose[ELBOW], pose[WRIST] - pose[ELBOW]
    angle = np.degrees(np.arccos(upper @ lower / np.linalg.norm(upper) / np.linalg.norm(lower)))
    row = running.page.locator("#numbers tr", has=running.page.get_by_role("rowheader", name="Left elbow", exact=True))
    assert abs(float(row.locator("td").inner_text().removesuffix("°")) - angle) < 2
    assert running.page.locator("#numbers tr").count() == 10  # joints with one bone on each side
    running.page.click("#show-distances")
    assert running.page.locator("#numbers tr").count() == len(HUMAN36M_17.bones)
    running.page.select_option("#pair-from", label="Left wrist")
    running.page.select_option("#pair-to", label="Left shoulder")
    told = running.page.inner_text("#pair-value")
    assert told.endswith(" mm")
    assert abs(float(told.removesuffix(" mm")) - np.linalg.norm(pose[WRIST] - pose[SHOULDER])) < 10


def test_the_3d_view_is_turned_by_a_finger_and_by_keys(running):
    side = lambda: int(running.page.get_attribute("#turn", "aria-valuenow"))  # noqa: E731
    shot = lambda: running.page.locator("#view3d").screenshot()  # noqa: E731
    running.page.click("#pause")
    first, seen = side(), shot()
    assert shot() == seen  # nothing moves by itself
    box = running.page.locator("#turn").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    # Safari lacks it before 17, and others tell it in pixels of the screen.
    running.page.evaluate("Object.defineProperty(MouseEvent.prototype, 'movementX', {get: () => undefined})")
    running.page.mouse.move(x, y)
    running.page.mouse.down()
    running.page.mouse.move(x + box["width"] / 4, y, steps=5)
    running.page.mouse.up()
    running.page.wait_for_timeout(100)
    assert abs(side() - first + 45) <= 2 and shot() != seen
    running.page.focus("#turn")
    running.page.keyboard.press("ArrowLeft")
    running.page.wait_for_timeout(100)
    assert abs(side() - first + 30) <= 2
    running.page.keyboard.press("Home")
    running.page.wait_for_timeout(100)
    assert side() == first
    session = running.page.context.new_cdp_session(running.page)
    finger, second = {"x": x, "y": y, "id": 0}, {"x": x, "y": y + 20, "id": 1}
    for kind, *touching in [
        ("touchStart", finger),
        ("touchMove", finger | {"x": x + box["width"] / 4}),
        ("touchStart", finger | {"x": x + box["width"] / 4}, second),
        ("touchMove", finger | {"x": x + box["width"] / 4}, second | {"x": x - box["width"] / 3}),
        ("touchEnd",),
    ]:
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touching})
    running.page.wait_for_timeout(100)
    assert abs(side() - first + 45) <= 2  # what a second finger does is not a turn
