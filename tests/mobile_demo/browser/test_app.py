"""The page as an app on a phone: installed, kept for when the server is away, renewed, read aloud, small."""

import shutil
import socket

import pytest

from mobile_demo import content
from mobile_demo.server import Settings, serve
from tests.mobile_demo.browser.conftest import a_phone
from tests.mobile_demo.browser.test_joints import FIXED, cells_off

PAGE_KB = 64  # as it is sent, without model and runtime, all icons with it
LEAST_TARGET_PX = 48  # of a control that a finger meets
NAMES = """() => [...document.querySelectorAll("button, input, select, [tabindex], video, canvas, [role]")]
    .filter((e) => e.checkVisibility())
    .filter((e) => e.ariaHidden !== "true")
    .map((e) => [e.id, e.getAttribute("aria-label") || e.labels?.[0]?.innerText || e.innerText || ""])"""
SMALL = """least => [...document.querySelectorAll("button, input, select")].filter((e) => e.checkVisibility())
    .map((e) => [e.id, (e.closest("label") ?? e).getBoundingClientRect()])
    .filter(([, box]) => box.width < least || box.height < least).map(([id]) => id)"""
CONTRAST = """() => {
    const channel = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
    const light = (color) => {
        const [r, g, b] = color.match(/[0-9.]+/g).map(Number).map(channel);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const solid = (e) => {
        for (; e; e = e.parentElement) {
            const color = getComputedStyle(e).backgroundColor;
            if (!/, 0\\)$/.test(color)) return color;
        }
    };
    return [...document.querySelectorAll("p, button, td, th, dt, dd, label, span, caption, h2")]
        .filter((e) => e.checkVisibility() && e.innerText.trim() && !e.disabled && !e.closest(":disabled"))
        .map((e) => {
            const [a, b] = [light(getComputedStyle(e).color), light(solid(e))].sort();
            return [e.id || e.innerText, (b + 0.05) / (a + 0.05)];
        });
}"""


def test_it_can_be_installed(phone):
    phone.open(FIXED).wait_for("running")
    session = phone.page.context.new_cdp_session(phone.page)
    manifest = session.send("Page.getAppManifest")
    assert manifest["url"].endswith("/manifest.webmanifest") and not manifest["errors"]
    errors = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [error["errorId"] for error in errors] in ([], ["in-incognito"])  # as each test's browser profile is


def test_the_page_that_is_kept_is_renewed_as_a_whole(still_browser, oracle, layouts, tmp_path):
    web = tmp_path / "web"
    shutil.copytree(content.WEB, web)
    settings = Settings(model=oracle, port=0, http=True, web=web)
    server = serve(settings)
    with a_phone(still_browser, server.url) as phone:
        phone.open(FIXED).wait_for("running")
        phone.page.wait_for_function("() => navigator.serviceWorker.controller")
        assert phone.page.title() == "3D pose"
        server.close()
        index = web / "index.html"
        index.write_text(index.read_text().replace("<title>3D pose", "<title>Newer"))
        phone.page.reload()
        assert phone.page.title() == "3D pose"  # without the server as it was
        with serve(Settings(model=oracle, port=server.port, http=True, web=web)):
            phone.page.reload()
            assert phone.page.title() == "Newer"
            assert cells_off(phone.wait_for("running").results(2)[-1], layouts[0], 256) < 1
            # One version of the page, and the model; the worker removes the older version after it has taken over.
            phone.page.wait_for_function("async () => (await caches.keys()).length === 2")


def test_a_server_that_never_answers_is_not_waited_for(still_browser, oracle, layouts):
    """As away from the computer's network, where what is sent gets lost."""
    server = serve(Settings(model=oracle, port=0, http=True))
    with a_phone(still_browser, server.url) as phone:
        phone.open(FIXED).wait_for("running")
        phone.page.wait_for_function("() => navigator.serviceWorker.controller")
        server.close()
        with socket.create_server(("127.0.0.1", server.port)):
            phone.page.reload(timeout=60_000)
            assert cells_off(phone.wait_for("running", 40_000).results(2)[-1], layouts[0], 256) < 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_controls_are_large_named_and_readable(still_browser, oracle_url, scheme):
    with a_phone(still_browser, oracle_url, color_scheme=scheme) as phone:
        phone.open(FIXED).wait_for("running").results(2)
        for control in (None, "#measure", "#show-distances", "#more"):
            if control:
                phone.page.click(control)
                phone.page.wait_for_timeout(100)
            assert not [name for name in phone.page.evaluate(NAMES) if not name[1]]
            assert phone.page.evaluate(SMALL, LEAST_TARGET_PX) == []
            dim = [found for found in phone.page.evaluate(CONTRAST) if found[1] < 6]
            assert dim == []  # WCAG asks for 4.5; this is also for the sun


@pytest.mark.parametrize("size", [(360, 640), (412, 915), (740, 360), (1280, 800)])
def test_nothing_is_cut_off(phone, size):
    phone.page.set_viewport_size({"width": size[0], "height": size[1]})
    phone.open(FIXED).wait_for("running")
    phone.page.wait_for_selector("#rates")
    for control in (None, "#measure"):
        if control:
            phone.page.click(control)
        outside = phone.page.evaluate("""() => [...document.querySelectorAll("nav > button, #stage, #rates")]
            .map((e) => [e.id, e.getBoundingClientRect()])
            .filter(([, b]) => b.left < 0 || b.top < 0 || b.right > innerWidth || b.bottom > innerHeight || !b.width)
            .map(([id]) => id)""")
        assert outside == []
        label = "(e) => e.scrollWidth > e.clientWidth"
        assert not any(button.evaluate(label) for button in phone.page.locator("nav > button").all())


def test_the_keyboard_reaches_every_control(phone):
    phone.open(FIXED).wait_for("running")
    reached = set()
    for _ in range(15):
        phone.page.keyboard.press("Tab")
        reached.add(phone.page.evaluate("() => document.activeElement.id"))
    assert {"turn", "pause", "record", "file", "measure", "more"} <= reached
    phone.page.focus("#more")
    phone.page.keyboard.press("Enter")
    assert phone.page.evaluate("() => document.querySelector('#settings').open")
    phone.page.keyboard.press("Escape")
    assert not phone.page.evaluate("() => document.querySelector('#settings').open")


def test_the_page_is_small():
    page = content.read_page(content.WEB)
    sent = {path: len(found.packed or found.body) for path, found in page.items() if path != "/index.html"}
    assert sum(sent.values()) < PAGE_KB * 1000, sent
