"""What goes wrong on a phone, and what people do to it: each is handled and told."""

import cv2
import numpy as np
import pytest

from mobile_demo.browser import PHONE, camera, open_browser
from tests.mobile_demo.browser.conftest import a_phone, serving
from tests.mobile_demo.browser.test_joints import FIXED, cells_off

# A headless page is always visible: the page is told otherwise, as a phone would when its tab goes to the back.
HIDE = """hidden => {
    Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
    Object.defineProperty(document, "visibilityState", {value: hidden ? "hidden" : "visible", configurable: true});
    document.dispatchEvent(new Event("visibilitychange"));
}"""


# A camera that opens when the test lets it.
SLOW_CAMERA = """{
    const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    globalThis.tracks = [];
    navigator.mediaDevices.getUserMedia = async (wish) => {
        await new Promise((resolve) => { globalThis.letIn = resolve; });
        const stream = await open(wish);
        tracks.push(...stream.getTracks());
        return stream;
    };
}"""
# A photo that is decoded when the test lets it, and two cameras to choose from.
SLOW_PHOTO = """{
    const make = createImageBitmap;
    globalThis.createImageBitmap = async (what, ...rest) => {
        const made = await make(what, ...rest);
        if (what instanceof File) await new Promise((resolve) => { globalThis.decoded = resolve; });
        return made;
    };
    navigator.mediaDevices.enumerateDevices = async () => [{kind: "videoinput"}, {kind: "videoinput"}];
}"""


@pytest.mark.parametrize("allowed, error", [(False, "camera-denied"), (True, "no-camera")])
def test_without_a_camera(allowed, error, still, oracle_url):
    options = camera(still, allowed=False) if not allowed else camera(None)
    with open_browser(options) as browser, a_phone(browser, oracle_url) as phone:
        phone.open().wait_for("error")
        assert phone.state() == f"error: {error}"
        assert "camera" in phone.visible_text().lower()


def test_a_corrupt_model(oracle, tmp_path, still_browser):
    model = tmp_path / "corrupt.tflite"
    content = bytearray(oracle.read_bytes())
    content[: len(content) // 2] = bytes(len(content) // 2)
    model.write_bytes(content)
    (tmp_path / "corrupt.tflite.json").write_bytes(oracle.with_name(oracle.name + ".json").read_bytes())
    with serving(model, http=True) as url, a_phone(still_browser, url) as phone:
        phone.open().wait_for("error")
        assert phone.state() == "error: model-unreadable"
        assert "model" in phone.visible_text().lower()


def test_hidden_and_shown(phone, layouts):
    phone.open(FIXED).wait_for("running").results(2)
    phone.page.evaluate(HIDE, True)
    phone.page.wait_for_timeout(500)
    seen = phone.latest()["frame"]
    phone.page.wait_for_timeout(1000)
    assert phone.latest()["frame"] == seen  # no work for nobody
    phone.page.evaluate(HIDE, False)
    phone.wait_for("running")
    assert cells_off(phone.results(2)[-1], layouts[0], 256) < 1


def test_a_camera_that_opens_when_nobody_looks_any_more(phone):
    phone.page.add_init_script(SLOW_CAMERA)
    phone.open(FIXED)
    phone.page.wait_for_function("() => globalThis.letIn")
    phone.page.evaluate(HIDE, True)
    phone.page.evaluate("letIn()")
    phone.page.wait_for_function("() => tracks[0]?.readyState === 'ended'", timeout=10_000)
    phone.page.evaluate(HIDE, False)
    phone.page.evaluate("letIn()")
    assert phone.wait_for("running").results(2)
    assert phone.page.evaluate("tracks.map((track) => track.readyState)") == ["ended", "live"]


def test_a_photo_that_comes_after_the_camera_was_chosen(phone, tmp_path):
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), np.zeros((320, 200, 3), np.uint8))
    phone.page.add_init_script(SLOW_PHOTO)
    phone.open(FIXED).wait_for("running").results(2)
    phone.page.set_input_files("#file-input", str(photo))
    phone.page.wait_for_function("() => globalThis.decoded")
    phone.page.click("#flip")
    phone.wait_for("running").results(2)
    phone.page.evaluate("decoded()")
    phone.page.wait_for_timeout(500)
    assert phone.results(2)[-1]["picture"] == [480, 640] and phone.page.is_visible("video")


def test_rotation(phone, layouts):
    phone.open(FIXED).wait_for("running")
    width, height = PHONE["viewport"].values()
    for size in ((height, width), (width, height)):
        phone.page.set_viewport_size({"width": size[0], "height": size[1]})
        assert cells_off(phone.results(3)[-1], layouts[0], 256) < 1
        assert phone.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    track = "document.querySelector('video').srcObject.getVideoTracks()[0]"
    assert phone.page.evaluate(f"{track}.getSettings().resizeMode") == "none"  # no upright picture is cut to a square


def test_keypoints_only(keypoints_only, still_browser, layouts):
    with serving(keypoints_only, http=True) as url, a_phone(still_browser, url) as phone:
        result = phone.open(FIXED).wait_for("running").results(2)[-1]
    assert not result.get("pose_3d")
    assert cells_off(result, layouts[0], 256) < 1
