"""https with the demo's own authority: clicked through, and installed as on a phone that then works offline."""

import shutil
import ssl
import subprocess
import urllib.request

import pytest

from mobile_demo.browser import camera, open_browser
from mobile_demo.server import Settings, serve
from tests.mobile_demo.browser.conftest import a_phone, needs, serving
from tests.mobile_demo.browser.phone import Phone
from tests.mobile_demo.browser.test_joints import FIXED, cells_off


def test_clicked_through(oracle, still, layouts, tmp_path):
    with serving(oracle, state_dir=tmp_path) as url, open_browser(camera(still)) as browser:
        with a_phone(browser, url) as phone:
            with pytest.raises(Exception, match="ERR_CERT_AUTHORITY_INVALID"):
                phone.open(FIXED.replace("threads=1", "threads=2"))
            phone.page.click("#details-button")
            phone.page.click("#proceed-link")
            result = phone.wait_for("running").results(3)[-1]
            assert phone.page.evaluate("() => crossOriginIsolated")
            assert phone.page.evaluate("() => poseDemo.stats().threads") == 2
    assert cells_off(result, layouts[0], 256) < 1


def test_offline_after_a_first_visit(oracle, still, layouts, tmp_path):
    home = tmp_path / "home"
    server = serve(Settings(model=oracle, port=0, state_dir=tmp_path / "state"))
    install_authority(server.url, home)
    with open_browser(camera(still), home=home) as context:
        phone = Phone(context.new_page(), server.url).open(FIXED).wait_for("running")
        phone.page.wait_for_function("() => navigator.serviceWorker.controller", timeout=60_000)
        server.close()
        phone.page.reload(timeout=60_000)
        result = phone.wait_for("running").results(3)[-1]
    assert cells_off(result, layouts[0], 256) < 1


def install_authority(url: str, home) -> None:
    """Installs what /ca.pem serves where Chromium under this home looks for authorities."""
    certutil = needs(shutil.which("certutil"), "no certutil here; on Debian: apt-get install libnss3-tools")
    unverified = ssl._create_unverified_context()  # as the phone's owner, who fetches the authority itself
    pem = home / "ca.pem"
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    with urllib.request.urlopen(f"{url}ca.pem", context=unverified, timeout=10) as response:
        pem.write_bytes(response.read())
    for arguments in (["-N", "--empty-password"], ["-A", "-t", "C,,", "-n", "demo", "-i", str(pem)]):
        subprocess.run([certutil, "-d", f"sql:{database}", *arguments], check=True, timeout=20)
