"""What a browser has not, or takes away: the page says so, and goes on where it can."""

import pytest

from mobile_demo.browser import camera, open_browser
from tests.mobile_demo.browser.conftest import a_phone
from tests.mobile_demo.browser.test_joints import FIXED, cells_off

SOFTWARE_GPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
LITTLE_MEMORY = ["--js-flags=--wasm-max-mem-pages=64"]  # 4 MB for WebAssembly
# The page's own GPU, so that a test can take it away.
NAME_DEVICE = ("return await adapter.requestDevice(", "return globalThis.device = await adapter.requestDevice(")

# The kinds of answers that the page's worker gave.
NOTE_ANSWERS = """globalThis.answers = [];
globalThis.Worker = class extends Worker {
    constructor(...rest) {
        super(...rest);
        this.addEventListener("message", ({data}) => answers.push(data.type));
    }
}"""
# The first worker says that it tries WebGPU after a result, and then nothing; 20 seconds are half a second.
HANG = """{
    const [RealWorker, later] = [Worker, setTimeout];
    globalThis.setTimeout = (run, ms) => later(run, ms === 20000 ? 500 : ms);
    globalThis.loads = [];
    globalThis.Worker = class extends RealWorker {
        constructor(...rest) {
            super(...rest);
            let hung = false;
            this.addEventListener("message", (event) => {
                if (hung) event.stopImmediatePropagation();
                else if (loads.length === 1 && event.data.type === "result") {
                    hung = true;
                    later(() => this.onmessage({data: {type: "trying"}}));
                }
            });
        }
        postMessage(message, ...rest) {
            if (message.type === "load") loads.push(message.accelerator);
            super.postMessage(message, ...rest);
        }
    };
}"""
# Pictures that cannot be had, `failing` of them.
NO_PICTURES = """{
    const [Frame, make] = [VideoFrame, createImageBitmap];
    const none = () => { throw new DOMException("no picture", "InvalidStateError"); };
    globalThis.failing = 0;
    globalThis.VideoFrame = new Proxy(Frame, {construct: (_, [video]) => (failing > 0 ? none() : new Frame(video))});
    globalThis.createImageBitmap = async (...rest) => (failing-- > 0 ? none() : make(...rest));
}"""
TRACK = "document.querySelector('video').srcObject.getTracks()[0]"

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
        phone.page.add_init_script(NOTE_ANSWERS)
        result = phone.open("crop=whole&smoothing=0&threads=1").wait_for("running").results(3)[-1]
        answers = phone.page.evaluate("answers")
        trial = phone.page.evaluate("() => poseDemo.stats().webgpu")
        phone.page.click("#more")
        facts = phone.page.inner_text("#facts")
    assert trial["keypoints"] < 0.001 and trial["poseMm"] < 1  # the GPU, here in software, finds the same joints
    assert not trial["kept"] and trial["gpuMs"] > trial["cpuMs"] > 0
    assert "it is slower" in facts
    assert answers.index("result") < answers.index("trying") < answers.index("trial")  # none waits for the trial
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


def test_the_system_takes_the_camera_for_a_while(phone):
    """As for a call: the track is mute meanwhile. A short time is not told."""
    phone.open(FIXED).wait_for("running").results(2)
    first = phone.page.evaluate(f"{TRACK}.id")
    phone.page.evaluate(f"{TRACK}.dispatchEvent(new Event('mute'))")
    phone.page.wait_for_timeout(500)
    phone.page.evaluate(f"{TRACK}.dispatchEvent(new Event('unmute'))")
    phone.page.wait_for_timeout(2500)
    assert not phone.page.is_visible("#notice") and phone.page.evaluate(f"{TRACK}.id") == first
    phone.page.evaluate(f"{TRACK}.dispatchEvent(new Event('mute'))")
    phone.page.wait_for_selector("#notice:has-text('camera')", timeout=10_000)
    phone.page.evaluate(f"{TRACK}.dispatchEvent(new Event('unmute'))")
    phone.page.wait_for_function(
        f"first => document.querySelector('video').srcObject && {TRACK}.id !== first", arg=first
    )
    assert phone.wait_for("running").results(2) and not phone.page.is_visible("#notice")


def test_a_video_that_the_system_stops_goes_on(phone):
    phone.open(FIXED).wait_for("running").results(2)
    phone.page.evaluate("document.querySelector('video').pause()")
    phone.page.wait_for_timeout(300)
    assert phone.results(2, timeout_ms=10_000)


def test_pictures_that_cannot_be_had_are_passed_over(phone, layouts):
    phone.page.add_init_script(NO_PICTURES)
    phone.open(FIXED).wait_for("running").results(2)
    phone.page.evaluate("failing = 5")
    phone.page.wait_for_function("() => failing <= 0")
    assert cells_off(phone.results(2)[-1], layouts[0], 256) < 1
    phone.page.evaluate("failing = Infinity")
    phone.wait_for("error")
    assert phone.state() == "error: camera-busy"
    phone.page.evaluate("failing = 0")
    phone.page.click("#retry")
    assert cells_off(phone.wait_for("running").results(2)[-1], layouts[0], 256) < 1


def test_a_gpu_that_hangs_is_left(phone, layouts):
    phone.page.add_init_script(HANG)
    phone.open("crop=whole&smoothing=0&threads=1").wait_for("running")
    phone.page.wait_for_function("() => loads.length === 2", timeout=30_000)
    assert cells_off(phone.results(3)[-1], layouts[0], 256) < 1
    assert phone.page.evaluate("loads") == ["auto", "wasm"] and phone.state() == "running"


def test_a_browser_that_is_too_old(phone):
    phone.page.add_init_script("delete globalThis.OffscreenCanvas")
    phone.open(FIXED).wait_for("error")
    assert phone.state() == "error: browser-old"
