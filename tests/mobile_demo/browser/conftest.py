"""The demo as a phone would open it: a server, headless Chromium, clips for cameras; one browser a clip and module."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17
from mobile_demo.browser import PHONE, camera, find_chromium, open_browser
from mobile_demo.server import Settings, serve
from tests.mobile_demo.browser import clips
from tests.mobile_demo.browser.oracle import HEXAPOD_6, write_oracle
from tests.mobile_demo.browser.phone import Phone

BOX_PX = (60, 40, 580, 440)  # of the picture, where dots lie


def needs(value, otherwise: str):
    """The value; where there is none it fails in CI and skips elsewhere."""
    if not value:
        pytest.fail(otherwise) if os.environ.get("CI") else pytest.skip(otherwise)
    return value


@pytest.fixture(scope="session", autouse=True)
def chromium():
    """Every test of this folder needs a browser."""
    try:
        find_chromium()
    except UserError as error:
        needs(None, str(error))


@pytest.fixture(scope="session")
def oracle(tmp_path_factory) -> Path:
    """Dots of 17 colours to Human3.6M's joints."""
    return write_oracle(tmp_path_factory.mktemp("oracle") / "oracle.tflite")


@pytest.fixture(scope="session")
def hexapod(tmp_path_factory) -> Path:
    """Six joints of another skeleton, in a picture that is not square."""
    return write_oracle(tmp_path_factory.mktemp("hexapod") / "hexapod.tflite", HEXAPOD_6)


@pytest.fixture(scope="session")
def keypoints_only(tmp_path_factory) -> Path:
    """An oracle without 3D."""
    return write_oracle(tmp_path_factory.mktemp("keypoints") / "keypoints.tflite", part="keypoints")


@pytest.fixture(scope="session")
def layouts() -> np.ndarray:
    """(N, 17, 2) pixels of the picture: where the dots of `dots` lie, one layout after the other."""
    return clips.dot_layouts(HUMAN36M_17.num_joints, BOX_PX)


@pytest.fixture(scope="session")
def dots(layouts, tmp_path_factory) -> Path:
    """Each layout for a second."""
    return clips.write_dots(tmp_path_factory.mktemp("clips") / "dots.y4m", layouts, hold=10, fps=10)


@pytest.fixture(scope="session")
def still(layouts, tmp_path_factory) -> Path:
    """The first layout, always."""
    return clips.write_dots(tmp_path_factory.mktemp("clips") / "still.y4m", layouts[:1], hold=2, fps=10)


@contextlib.contextmanager
def serving(model: Path, **changes) -> Iterator[str]:
    """The address of a server of that model on this machine."""
    server = serve(Settings(model=model, port=0, **changes))
    try:
        yield server.url
    finally:
        server.close()


@contextlib.contextmanager
def a_phone(browser, url: str, **changes) -> Iterator[Phone]:
    """A new phone, which knows nothing of the ones before it."""
    context = browser.new_context(**PHONE | changes)
    try:
        yield Phone(context.new_page(), url)
    finally:
        context.close()


@pytest.fixture(scope="session")
def oracle_url(oracle) -> Iterator[str]:
    with serving(oracle, http=True) as url:
        yield url


@pytest.fixture(scope="module")
def still_browser(still) -> Iterator:
    with open_browser(camera(still)) as browser:
        yield browser


@pytest.fixture
def phone(still_browser, oracle_url) -> Iterator[Phone]:
    """A phone whose camera sees the first layout, and the 17-joint oracle."""
    with a_phone(still_browser, oracle_url) as phone:
        yield phone
