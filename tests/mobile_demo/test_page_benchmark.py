"""The benchmark's numbers are of the page: a short run over a model that costs next to nothing."""

import gzip

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from mobile_demo import benchmark
from mobile_demo.clip import write_clip
from mobile_demo.content import WEB
from tests.mobile_demo.browser.conftest import chromium  # noqa: F401 a fixture
from tests.mobile_demo.browser.oracle import write_oracle

FRAMES = 80
# MB per 1,000 frames. A picture of 640 x 480 that the browser keeps of each would be 1,200.
MOST_GROWTH_MB = 400


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_oracle(tmp_path_factory.mktemp("oracle") / "oracle.tflite")


def test_numbers(model, tmp_path, capsys):
    clip = write_clip(tmp_path / "moving.y4m", benchmark.moving_pattern(), benchmark.CLIP_FPS)
    row = benchmark.measure(str(model), clip, 2, FRAMES)
    assert row["threads_used"] == 2
    assert 0 < row["inference_ms_median"] <= row["latency_ms_median"] <= row["latency_ms_p90"]
    assert 1 < row["frames_per_second"] < 100
    assert 0 < row["longest_task_ms"]
    assert 0 < row["longest_task_cpu_ms"] < 50
    assert len(row["memory"]) == 11 and row["memory"][-1]["frame"] - row["memory"][0]["frame"] >= FRAMES
    assert 20 < row["memory_start_mb"] < 500 and row["memory_end_mb"] <= row["memory_peak_mb"] + 50 < 500
    assert max(row["memory_growth_mb"], row["other_memory_growth_mb"]) < MOST_GROWTH_MB
    # What is sent is the files, packed; each once, and neither the model nor the runtime among them.
    files = {name: (WEB / (name or "index.html")).read_bytes() for name in row["page_files_kb"]}
    assert {"", "style.css", "worker.js", "page/main.js", "page/inference.js"} <= set(files)
    assert row["page_unpacked_kb"] == pytest.approx(sum(map(len, files.values())) / 1000)
    assert row["page_kb"] == pytest.approx(sum(len(gzip.compress(file)) for file in files.values()) / 1000, rel=0.01)
    assert row["page_kb"] < 60
    benchmark.print_row(2, row)
    assert capsys.readouterr().out.count("\n") == 1 + len(benchmark.UNITS)


def test_growth_is_the_slope_after_the_browser_has_settled():
    points = [{"frame": 20 + frame, "mb": 90 + 0.05 * frame - (40 if frame < 50 else 0)} for frame in range(0, 501, 50)]
    assert benchmark.growth_mb(points, "mb") == pytest.approx(50)
    assert benchmark.growth_mb([point | {"mb": 90.0} for point in points], "mb") == pytest.approx(0, abs=1e-6)
    assert np.isnan(benchmark.growth_mb(points[:1], "mb"))


def test_a_page_that_does_not_run_is_told_of(model, tmp_path):
    """Not by a number of some other page."""
    clip = write_clip(tmp_path / "moving.y4m", benchmark.moving_pattern(), benchmark.CLIP_FPS)
    model.write_bytes(b"no model")
    with pytest.raises(UserError, match="the page does not run: "):
        benchmark.measure(str(model), clip, 1, FRAMES)
