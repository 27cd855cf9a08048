"""Finding people: who is far away, comes back, or is chosen by a tap; and finders that cannot be used.

The finder is of tests/mobile_demo/browser/marker.py, the pose model the oracle; neither is trained.
"""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from keras_pose.io.model_info import sidecar_path
from keras_pose.weights import FINDER
from mobile_demo.browser import camera, open_browser
from mobile_demo.clip import write_clip
from tests.mobile_demo.browser.conftest import a_phone, serving
from tests.mobile_demo.browser.marker import draw_people, joints_px, write_marker_finder
from tests.mobile_demo.browser.phone import points
from tests.mobile_demo.browser.test_joints import cells_off

FOUND = "smoothing=0&threads=1&accelerator=wasm"
FPS = 10
FAR, NEAR = np.array([480, 100, 580, 200]), np.array([120, 40, 520, 440])
STEPS, AWAY = 40, 20  # frames on the way, and frames without anyone
LARGE, SMALL = (40, 130, 260, 350), (420, 170, 580, 330)  # the boxes of two people
HAS_FINDER = "() => poseDemo.stats().finder"


@pytest.fixture(scope="module")
def folder(oracle, tmp_path_factory) -> Path:
    """A model with its finder."""
    folder = tmp_path_factory.mktemp("found")
    for path in (oracle, sidecar_path(oracle)):
        shutil.copy(path, folder / path.name)
    write_marker_finder(folder / "finder.tflite")
    return folder


@pytest.fixture(scope="module")
def two_browser(tmp_path_factory):
    clip = write_clip(tmp_path_factory.mktemp("clips") / "two.y4m", np.stack([draw_people([LARGE, SMALL])] * 2), FPS)
    with open_browser(camera(clip)) as browser:
        yield browser


def off(result: dict, box) -> float:
    """How many heatmap cells the worst sure joint lies off the person in a box; infinite where few joints are sure.

    Dots of someone who moves fast may lie outside the crop, which is around the joints of the image before.
    """
    sure = np.array(result["scores"]) > 0.5
    places = points(result["keypoints_2d"], 2)
    return cells_off(result | {"keypoints_2d": places[sure]}, joints_px(box)[sure], 256) if sure.sum() > 8 else np.inf


# It has a browser of its own, and so comes first: playwright opens one at a time.
def test_a_person_comes_near_leaves_and_comes_back(folder, tmp_path):
    way = [FAR + (NEAR - FAR) * i / (STEPS - 1) for i in range(STEPS)]
    frames = [draw_people([box]) for box in way] + [draw_people([])] * AWAY
    clip = write_clip(tmp_path / "walk.y4m", np.stack(frames), FPS)
    with serving(folder / "oracle.tflite", http=True) as url, open_browser(camera(clip)) as browser:
        with a_phone(browser, url) as phone:
            phone.open(FOUND).wait_for("running")
            phone.page.wait_for_function(HAS_FINDER)
            phone.page.wait_for_selector("#search:has-text('Step into view')")
            away = phone.latest()
            results = phone.results(2 * (STEPS + AWAY))
            phone.page.wait_for_selector("#search:has-text('Step into view')")
            phone.page.wait_for_selector("#search", state="hidden")
    assert away["lost"] and away["person_score"] == 0
    gone = [result for result in results if result["person_score"] == 0]
    here = [result for result in results if not result["lost"]]
    assert len(gone) > 10 and all(result["lost"] for result in gone)
    errors = [min(off(result, box) for box in way) for result in here]
    assert np.mean(np.array(errors) < 1) > 0.8, errors
    found = [result for result in here if result["person_score"]]
    assert 1 <= len(found) < 0.5 * len(here)  # the others are followed
    widths = [result["crop"]["width"] for result in here]
    assert min(widths) < 200 and max(widths) > 350  # from far, where the whole image shows no joints, to near
    lost = [result["lost"] for result in results]
    assert any(before and not after for before, after in zip(lost, lost[1:], strict=False))  # it came back


def test_a_tap_chooses_another_person(folder, two_browser, tmp_path):
    with serving(folder / "oracle.tflite", http=True) as url, a_phone(two_browser, url) as phone:
        phone.open(FOUND).wait_for("running")
        phone.page.wait_for_function(HAS_FINDER)
        follows(phone, LARGE)
        tap(phone, (500, 250), (480, 640))
        follows(phone, SMALL)
        phone.page.wait_for_timeout(2500)  # some checks later
        follows(phone, SMALL)
        phone.page.click("#pause")
        phone.wait_for("paused").page.click("#pause")
        follows(phone.wait_for("running"), SMALL)
        tap(phone, (300, 20), (480, 640))  # beside both
        follows(phone, LARGE)

        photo = tmp_path / "photo.png"
        cv2.imwrite(str(photo), draw_people([LARGE, SMALL], (500, 640))[..., ::-1])
        phone.page.set_input_files("#file-input", str(photo))
        phone.page.wait_for_function("() => poseDemo.latest?.picture[0] === 500")
        phone.page.wait_for_timeout(500)
        assert off(phone.latest(), LARGE) < 1
        tap(phone, (450, 300), (500, 640))
        phone.page.wait_for_timeout(500)
        assert off(phone.latest(), SMALL) < 1


def test_a_photo_of_nobody_is_told_and_one_of_somebody_distant_is_searched(folder, two_browser, tmp_path):
    """The finder searches the whole photo, then each of its windows; after that, the page says that nobody is there."""
    with serving(folder / "oracle.tflite", http=True) as url, a_phone(two_browser, url) as phone:
        phone.open(FOUND).wait_for("running")
        phone.page.wait_for_function(HAS_FINDER)
        follows(phone, LARGE)
        for name, people in (("nobody", []), ("somebody", [SMALL])):
            cv2.imwrite(str(tmp_path / f"{name}.png"), draw_people(people, (500, 644))[..., ::-1])
        phone.page.set_input_files("#file-input", str(tmp_path / "nobody.png"))
        phone.page.wait_for_selector("#search:has-text('No person found in this photo')")
        assert phone.latest()["lost"] and phone.latest()["person_score"] == 0
        phone.page.set_input_files("#file-input", str(tmp_path / "somebody.png"))
        phone.page.wait_for_selector("#search", state="hidden")
        phone.page.wait_for_timeout(500)
        assert off(phone.latest(), SMALL) < 1


def tap(phone, point: tuple[int, int], picture: tuple[int, int]) -> None:
    """A finger on a pixel (x, y) of the image (height, width)."""
    box = phone.page.locator("#overlay").bounding_box()
    scale = min(box["width"] / picture[1], box["height"] / picture[0])
    x, y = (
        box[start] + box[side] / 2 + scale * (value - length / 2)
        for start, side, value, length in zip("xy", ("width", "height"), point, picture[::-1], strict=True)
    )
    phone.page.touchscreen.tap(x, y)


def follows(phone, box) -> None:
    """Fails where the page does not follow the person in that box within some results."""
    errors = [off(result, box) for result in phone.results(6)]
    assert max(errors[-2:]) < 1, errors


@pytest.mark.parametrize("broken", ["version", "cut", "text", "other", "alone"])
def test_a_finder_that_cannot_be_used_is_told(broken, folder, two_browser, tmp_path):
    folder = shutil.copytree(folder, tmp_path / "model")
    finder = folder / "finder.tflite"
    values = json.loads(sidecar_path(finder).read_text())
    if broken in ("version", "other"):
        changes = {"version": {"format_version": 9}, "other": {"input_size": [128, 128]}}[broken]
        sidecar_path(finder).write_text(json.dumps(values | changes))
    elif broken == "cut":
        content = bytearray(finder.read_bytes())
        content[: len(content) // 2] = bytes(len(content) // 2)
        finder.write_bytes(content)
    else:
        finder.write_text("no model")
        if broken == "alone":
            sidecar_path(finder).unlink()
    with serving(folder / "oracle.tflite", http=True) as url, a_phone(two_browser, url) as phone:
        phone.open(FOUND).wait_for("running")
        phone.page.wait_for_selector("#notice:has-text('people finder cannot be used')")
        told = phone.page.inner_text("#notice-text")
        assert ("version 9" in told) == (broken == "version") and "\n" not in told
        assert phone.results(3)[-1]["person_score"] is None  # it works without a finder
        assert phone.state() == "running" and not phone.page.evaluate(HAS_FINDER)


def test_without_a_finder_nothing_is_told_and_one_may_be_chosen(oracle_url, folder, two_browser):
    with a_phone(two_browser, oracle_url) as phone:
        problems = []
        phone.page.on("console", lambda message: message.type == "error" and problems.append(message.text))
        phone.open(FOUND).wait_for("running").results(5)
        assert not phone.page.is_visible("#notice") and not phone.page.evaluate(HAS_FINDER)
        assert problems == []
        chosen = [folder / "oracle.tflite", folder / "finder.tflite"]  # files of the phone
        phone.page.set_input_files("#model-input", [str(path) for path in chosen])
        phone.page.wait_for_function(HAS_FINDER)
        follows(phone, LARGE)


def test_the_shipped_finder_is_loaded(two_browser):
    """`keras_pose.finding.score` says how well it finds people; here it loads and answers."""
    model = FINDER.with_name("phone") / "pose_int8.tflite"
    with serving(model, http=True) as url, a_phone(two_browser, url) as phone:
        phone.open("accelerator=wasm").wait_for("running")
        phone.page.wait_for_function(HAS_FINDER)
        score = phone.results(3)[-1]["person_score"]
        assert score is not None and 0 <= score <= 1 and not phone.page.is_visible("#notice")
