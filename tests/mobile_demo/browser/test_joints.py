"""From the camera to what is drawn: joints that are known beforehand."""

import numpy as np
import pytest

from keras_pose.core.skeleton import HUMAN36M_17
from mobile_demo.browser import camera, open_browser
from tests.mobile_demo.browser.clips import dot_layouts, write_dots
from tests.mobile_demo.browser.conftest import a_phone, serving
from tests.mobile_demo.browser.oracle import HEXAPOD_6, SIZES, pose_of
from tests.mobile_demo.browser.phone import points

FIXED = "crop=whole&smoothing=0&threads=1&accelerator=wasm"


def cells_off(result: dict, places: np.ndarray, input_width: int) -> float:
    """How many heatmap cells the worst joint of a result lies off (J, 2) places in the picture."""
    cell_px = result["crop"]["width"] / (input_width / 4)
    return np.abs(points(result["keypoints_2d"], 2) - places).max() / cell_px


@pytest.mark.parametrize("skeleton, model", [(HUMAN36M_17, "oracle"), (HEXAPOD_6, "hexapod")])
def test_joints_lie_within_a_heatmap_cell(skeleton, model, request, layouts, dots):
    places = layouts[:, : skeleton.num_joints]
    with serving(request.getfixturevalue(model), http=True) as url, open_browser(camera(dots)) as browser:
        with a_phone(browser, url) as phone:
            results = phone.open(FIXED).wait_for("running").results(40)
    errors = np.array([[cells_off(result, place, SIZES[skeleton][1]) for place in places] for result in results])
    settled = errors.min(1) < 1
    assert settled.mean() > 0.9  # the others saw a frame that Chromium mixed of two
    assert len(set(errors.argmin(1)[settled])) >= 3  # several layouts, so no result that stands still
    for result in np.array(results)[settled]:
        assert min(result["scores"]) > 0.8
        expected = pose_of(points(result["raw_keypoints_2d"], 2), skeleton)
        np.testing.assert_allclose(points(result["pose_3d"], 3), expected, atol=0.1)


def test_the_crop_follows_the_joints_until_they_are_gone(oracle_url, tmp_path):
    places = dot_layouts(HUMAN36M_17.num_joints, (180, 120, 460, 400), count=1)
    clip = write_dots(tmp_path / "gone.y4m", np.concatenate([places] * 3 + [places + 5000] * 2), hold=10, fps=10)
    with open_browser(camera(clip)) as browser, a_phone(browser, oracle_url) as phone:
        results = phone.open("smoothing=0&threads=1&accelerator=wasm").wait_for("running").results(60)
    widths = np.array([result["crop"]["width"] for result in results])
    assert widths.max() == 640 and (widths == 640).sum() > 5  # while nobody was there
    assert any(result["lost"] for result in results if result["crop"]["width"] < 640)  # looked for nearby as well
    followed = [result for result in results if result["crop"]["width"] < 450 and not result["lost"]]
    assert len(followed) > 20
    assert np.mean([cells_off(result, places[0], 256) < 1 for result in followed]) > 0.9
