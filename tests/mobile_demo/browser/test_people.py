"""What ships, before rendered people: the page computes what Python's LiteRT computes from the same pixels.

The clip has the size of the model's input, so that the crop of the whole frame is the frame itself: how a browser and
OpenCV resample would differ by more than is asked here, and where crops lie is proven with dots (test_joints.py).
"""

import os
from pathlib import Path

import numpy as np
import pytest

from keras_pose.inference.runtimes import open_model
from mobile_demo.browser import camera, open_browser
from mobile_demo.clip import write_clip
from tests.mobile_demo.browser import people
from tests.mobile_demo.browser.conftest import a_phone, serving
from tests.mobile_demo.browser.phone import points

WEIGHTS = Path(__file__).parents[3] / "keras_pose" / "weights" / "phone"
TOLERANCE_MM = 2.0
PEOPLE = 4
# The video's pixels (H, W, 4) beside each result, as the page's own canvas would read them.
FRAMES = """count => new Promise((resolve) => {
    const found = new Set();
    const canvas = document.createElement("canvas");
    const context = canvas.getContext("2d", {willReadFrequently: true});
    let left = count;
    const timer = setInterval(() => {
        const video = document.querySelector("video");
        [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
        context.drawImage(video, 0, 0);
        found.add(context.getImageData(0, 0, canvas.width, canvas.height).data.join());
        if (--left) return;
        clearInterval(timer);
        resolve([[canvas.height, canvas.width, 4], [...found]]);
    }, 100);
})"""


@pytest.fixture(scope="session")
def int8_model(tmp_path_factory) -> Path:
    """The file that ships; where none ships yet, a small one that was not trained."""
    if not WEIGHTS.is_dir():
        return people.write_int8(tmp_path_factory.mktemp("int8") / "run")
    model = WEIGHTS / "pose_int8.tflite"
    if not model.is_file():
        message = f"needs {model}, which is not here"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return model


def test_the_same_pose_as_python(int8_model, tmp_path):
    model = open_model(int8_model)
    clip = write_clip(tmp_path / "people.y4m", people.frames(PEOPLE, model.input_size).repeat(10, axis=0), 10)
    with serving(int8_model, http=True) as url, open_browser(camera(clip)) as browser:
        with a_phone(browser, url) as phone:
            phone.open("crop=whole&smoothing=0&threads=1&accelerator=wasm").wait_for("running").results(2)
            shape, texts = phone.page.evaluate(FRAMES, 10 * PEOPLE)
            results = phone.results(10 * PEOPLE)
    seen = np.array([np.array(text.split(","), np.uint8).reshape(shape)[..., :3] for text in texts])
    assert seen.shape == (PEOPLE, *model.input_size, 3)
    expected = np.concatenate([model.run(frame[None])["pose_3d"] for frame in seen])  # (N, J, 3)
    found = np.stack([points(result["pose_3d"], 3) for result in results])
    distances = np.linalg.norm(found[:, None] - expected[None], axis=-1).max(-1)  # (results, N): the worst joint's
    assert distances.min(1).max() < TOLERANCE_MM
    assert len(set(distances.argmin(1))) >= PEOPLE - 1
    apart = np.linalg.norm(expected[:, None] - expected[None], axis=-1).max(-1) + 1000 * np.eye(len(expected))
    assert apart.min() > 2 * TOLERANCE_MM  # else a result could be taken for another person's
