"""From the camera to what is drawn: joints that are known beforehand."""

import numpy as np
import pytest

from keras_pose.skeleton import HUMAN36M_17
from mobile_demo.browser import camera, open_browser
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
