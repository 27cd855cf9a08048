"""What a browser has not, or takes away: the page says so, and goes on where it can."""

import pytest

from mobile_demo.browser import camera, open_browser
from tests.mobile_demo.browser.conftest import a_phone
from tests.mobile_demo.browser.test_joints import FIXED, cells_off

SOFTWARE_GPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
LITTLE_MEMORY = ["--js-flags=--wasm-max-mem-pages=64"]  # 4 MB for WebAssembly
# The page's own GPU, so that a test can take it away.
NAME_DEVICE = ("return await adapter.requestDevice(", "return globalThis.device = await adapter.requestDevice(")

# What the page gave to its worker last.
NOTE_PICTURES = """{
    const post = Worker.prototype.postMessage;
    Worker.prototype.postMessage = function (message, ...rest) {
        globalThis.pictureSent = message.picture?.constructor.name;
        return post.call(this, message, ...rest);
    };
}"""


# Those with a browser of their own come first: playwright opens one at a time.
def test_webgpu_is_tried_and_left_if_slower(still, oracle_url, layouts):
    with open_browser(camera(still) + SOFTWARE_GPU) as browser, a_phone(browser, oracle_url) as phone:
        result = phone.open("crop=whole&smoothing=0&threads=1").wait_for("running").results(3)[-1]
        trial = phone.page.evaluate("() => poseDemo.stats().webgpu")
        phone.page.click("#more")
        facts = phone.page.inner_text("#facts")
    assert trial["keypoints"] < 0.001 and trial["poseMm"] < 1  # the GPU, here in software, finds the same joints
    assert not trial["kept"] and trial["gpuMs"] > trial["cpuMs"] > 0
    assert "it is slower" in facts
    assert cells_off(result, layouts[0], 256) < 1


def test_the_gpu_is_taken_away(still, oracle_url, layouts):
    with open_browser(camera(still) + SOFTWARE_GPU) as browser, a_phone(browser, oracle_url) as phone:
        phone.page.route("**/runtime/litert.js", name_device)
        phone.open(FIXED.replace("wasm", "webgpu")).wait_for("running").results(3)
        assert phone.page.evaluate("() => poseDemo.stats().webgpu.kept")
        assert cells_off(phone.results(2)[-1], layouts[0], 256) < 1
        phone.page.workers[0].evaluate("() => device.destroy()")
        phone.page.wait_for_function("() => !poseDemo.stats().webgpu.kept", timeout=60_000)
        assert cells_off(phone.results(2)[-1], layouts[0], 256) < 1
        assert phone.state() == "running"


def name_device(route) -> None:
    answer = route.fetch()
    text = answer.text()
    assert text.count(NAME_DEVICE[0]) == 1
    route.fulfill(response=answer, body=text.replace(*NAME_DEVICE))


def test_memory_is_short(still, oracle_url):
    with open_browser(camera(still) + LITTLE_MEMORY) as browser, a_phone(browser, oracle_url) as phone:
        phone.open(FIXED).wait_for("error")
        assert phone.state() == "error: memory-short"
        assert "memory" in phone.page.inner_text("#trouble")


def test_without_isolation_there_is_one_thread(phone, layouts):
    phone.page.route(phone.url + "**", lambda route: without_headers(route, "cross-origin-"))
    result = phone.open(FIXED.replace("threads=1", "threads=2")).wait_for("running").results(2)[-1]
    assert phone.page.evaluate("() => [crossOriginIsolated, poseDemo.stats().threads]") == [False, 1]
    assert "one thread" in phone.page.inner_text("#notice")
    assert cells_off(result, layouts[0], 256) < 1


def without_headers(route, prefix: str) -> None:
    answer = route.fetch()
    headers = {name: value for name, value in answer.headers.items() if not name.startswith(prefix)}
    route.fulfill(response=answer, headers=headers)


def test_frames_are_drawn_where_their_pixels_cannot_be_taken(phone, layouts):
    phone.page.add_init_script(NOTE_PICTURES)
    phone.open(FIXED).wait_for("running")
    untold = "Object.defineProperty(VideoFrame.prototype, 'rotation', {get: () => undefined})"
    unknown = "delete globalThis.VideoFrame"
    for change, picture in [("", "VideoFrame"), (untold, "ImageBitmap"), (unknown, "ImageBitmap")]:
        phone.page.evaluate(change)
        assert cells_off(phone.results(3)[-1], layouts[0], 256) < 1
        assert phone.page.evaluate("pictureSent") == picture


def test_an_address_that_is_not_safe(phone):
    phone.page.add_init_script("Object.defineProperty(navigator, 'mediaDevices', {value: undefined})")
    phone.open(FIXED).wait_for("error")
    assert phone.state() == "error: insecure"
    assert "https" in phone.page.inner_text("#trouble")


@pytest.mark.parametrize("what, error", [("model/pose.tflite", "server-unreachable"), ("runtime/*", "runtime-failed")])
def test_what_the_server_does_not_give_is_asked_for_again(phone, layouts, what, error):
    phone.page.route(phone.url + what, lambda route: route.abort())
    phone.open(FIXED).wait_for("error")
    assert phone.state() == f"error: {error}"
    phone.page.unroute_all()
    phone.page.click("#retry")
    assert cells_off(phone.wait_for("running").results(2)[-1], layouts[0], 256) < 1


def test_the_camera_goes_away(phone, layouts):
    phone.open(FIXED).wait_for("running").results(2)
    phone.page.evaluate(
        "() => document.querySelector('video').srcObject.getTracks()[0].dispatchEvent(new Event('ended'))"
    )
    phone.wait_for("error")
    assert phone.state() == "error: camera-busy"
    phone.page.click("#retry")
    assert cells_off(phone.wait_for("running").results(2)[-1], layouts[0], 256) < 1


def test_a_browser_that_is_too_old(phone):
    phone.page.add_init_script("delete globalThis.OffscreenCanvas")
    phone.open(FIXED).wait_for("error")
    assert phone.state() == "error: browser-old"
