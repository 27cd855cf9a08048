"""The numbers that the page's own tests are held against are those of keras_pose."""

import json

import numpy as np

from tests.mobile_demo import golden


def test_the_file_is_what_keras_pose_gives():
    assert_close(json.loads(golden.FILE.read_text()), golden.plain(golden.make()), "golden.json")


def test_the_track_has_what_it_is_to_show():
    track = golden.make()["track"]
    heights = [crop["height"] for crop in track["crops"]]
    assert max(a / b for a, b in zip(heights, heights[1:], strict=False)) > 4  # a zoom that was limited
    assert np.mean(track["outputs"][-1]["scores"]) < 0.2 < min(np.mean(o["scores"]) for o in track["outputs"][:-1])


def assert_close(found, expected, where: str) -> None:
    assert type(found) is type(expected) or isinstance(found, (int, float)), where
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for name in expected:
            assert_close(found[name], expected[name], f"{where}: {name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for i, pair in enumerate(zip(found, expected, strict=True)):
            assert_close(*pair, f"{where}[{i}]")
    elif expected is None or isinstance(expected, str):
        assert found == expected, where
    else:
        fix = "if Python was meant to change, run: python -m tests.mobile_demo.golden"
        assert np.isclose(found, expected, rtol=1e-6, atol=1e-6), f"{where}; {fix}"
