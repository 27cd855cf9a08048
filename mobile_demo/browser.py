"""Headless Chromium with a clip as its camera, for the page's tests and the benchmark."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from keras_pose.core.errors import UserError

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE = {
    "viewport": {"width": 412, "height": 915},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}


def find_chromium() -> Path:
    """The browser's path; raises UserError if there is none."""
    for name in NAMES:
        if found := shutil.which(name):
            return Path(found)
    raise UserError("Chromium is not installed; on Debian, run: apt-get install chromium")


def camera(clip: Path | None, allowed: bool = True) -> list[str]:
    """Chromium's options for a camera that repeats `clip`, or for no camera if it is None."""
    permission = "--use-fake-ui-for-media-stream" + ("" if allowed else "=deny")
    if clip is None:
        return [permission, "--use-fake-device-for-media-stream=device-count=0"]
    return [permission, "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={clip}"]


@contextlib.contextmanager
def open_browser(options: list[str], home: Path | None = None) -> Iterator:
    """Yields a `playwright` Browser; with `home`, a phone's BrowserContext with its profile and authorities in it.

    Raises UserError if Chromium or playwright is missing.
    """
    executable = find_chromium()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise UserError("playwright is not installed; run: pip install playwright") from None
    settings = {"executable_path": str(executable), "args": [*QUIET, *options]}
    with sync_playwright() as playwright:
        if home is None:
            browser = playwright.chromium.launch(**settings)
        else:
            environment = os.environ | {"HOME": str(home)}
            profile = str(home / "profile")
            browser = playwright.chromium.launch_persistent_context(profile, env=environment, **settings, **PHONE)
        try:
            yield browser
        finally:
            browser.close()
