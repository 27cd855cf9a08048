"""The contest measures what it claims; actual speeds need a quiet machine."""

from dataclasses import replace

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.studies.benchmark import contest, contestant, report
from tests.studies.benchmark.tiny import TINY


@pytest.fixture(scope="module")
def result():
    """One of each kind; who cannot start is among them."""
    with pytest.MonkeyPatch.context() as patch:
        # The real contest's compiler writes C++ for minutes; this one traces.
        patch.setitem(contest.CONTESTANTS["torch_compile"], "compiler", "eager")
        patch.setitem(contest.CONTESTANTS, "other", {"framework": "abacus"})
        return contest.run_contest(TINY, ["keras_fit", "keras_pose", "torch", "torch_compile", "other"])


def test_contestants_start_alike_and_compute_the_same(result):
    found = result["contestants"]
    assert list(found) == ["torch", "torch_compile", "keras_pose", "keras_fit"]
    for values in found.values():
        assert values["heatmaps_difference"] < 1e-3 and values["loss_difference"] < 1e-3
        assert values.get("gradient_norm_difference", 0.0) < 1e-3
    assert {"keras_pose", "torch_compile"} <= {name for name in found if "gradient_norm_difference" in found[name]}


def test_every_contestant_is_timed_in_both_tasks(result):
    for values in result["contestants"].values():
        for task in contest.TASKS:
            rate, milliseconds = values[f"{task}_images_per_second"], values[f"{task}_step_ms"]
            assert rate * milliseconds == pytest.approx(1000 * TINY.batch_size)
            assert values[f"{task}_cpu_ms"] > 0
        assert values["first_step_s"] > 0 and values["peak_memory_mib"] > 100
        assert 0 < values["outside_matrix_kernels_share"] < 0.95
    ours = result["contestants"]["keras_pose"]
    assert ours["training_time_over_keras_pose"] == ours["inference_time_over_keras_pose"] == 1
    rates = {name: values["training_images_per_second"] for name, values in result["contestants"].items()}
    fastest = rates["keras_pose"] / max(rates["torch"], rates["torch_compile"])
    assert result["best"]["training_speed_over_torch"] == pytest.approx(fastest)


def test_a_contestant_that_cannot_start_is_left_out_with_the_reason(result):
    assert list(result["left_out"]) == ["other"] and "abacus" in result["left_out"]["other"]
    with pytest.raises(UserError, match="PyTorch is measured in float32 and mixed_bfloat16"):
        contest.run_contest(replace(TINY, precision="mixed_float16"), ["torch"])


def test_bfloat16_computes_nearly_the_same():
    result = contest.run_contest(replace(TINY, precision="mixed_bfloat16", rounds=1), ["torch", "keras_pose_1"])
    assert result["left_out"] == {}
    difference = result["contestants"]["keras_pose_1"]["heatmaps_difference"]
    assert 1e-4 < difference < contest.TOLERANCES["mixed_bfloat16"]


def test_a_cpu_is_not_compared_with_a_gpu():
    with pytest.raises(
        UserError, match=r"torch on the gpu, keras_pose on the cpu\); hide GPUs with CUDA_VISIBLE_DEVICES"
    ):
        contest.check_devices({"torch": {"device": "gpu"}, "keras_pose": {"device": "cpu"}})


@pytest.mark.parametrize("key", ["heatmaps", "loss", "gradient_norm"])
def test_contestants_that_differ_are_not_compared(tmp_path, key):
    same = {"loss": 2.0, "gradient_norm": 5.0}
    found = {"torch": dict(same), "keras_pose": dict(same)}
    heatmaps = {name: np.ones((2, 4, 4, 3), np.float32) for name in found}
    if key == "heatmaps":
        heatmaps["keras_pose"][1, 2, 3, 0] = 1.1
    else:
        found["keras_pose"][key] *= 1.1
    for name, values in heatmaps.items():
        np.save(tmp_path / f"{name}.npy", values)
    contest.check_agreement(found, str(tmp_path), tolerance=0.2)
    assert found["keras_pose"][f"{key}_difference"] == pytest.approx(0.1, rel=1e-4)
    with pytest.raises(UserError, match=f"keras_pose does not compute the same as torch: {key} differs by 0.1"):
        contest.check_agreement(found, str(tmp_path), tolerance=0.05)


def test_a_contestant_that_dies_is_named_with_its_last_words(tmp_path):
    spec = TINY.spec("torch", str(tmp_path))
    log = tmp_path / "log"
    with contest.Contestant(replace(spec, input_size=None), log) as one, pytest.raises(UserError, match="^torch: "):
        one.read()
    with contest.Contestant(spec, log) as one:
        one._process.kill()
        one._process.wait()
        with pytest.raises(UserError, match="torch ended with status -9"):
            one.ask("memory")


def test_only_known_tasks_are_done():
    with pytest.raises(ValueError, match="no task 'sleep'"):
        contestant.answer(contestant.Side(), {"do": "sleep"})


def test_tables_show_the_contest(result):
    left_out = result | {"left_out": {"torch_compile": "RuntimeError: no compiler"}}
    lines = report.format_results({"contest": left_out, "workers": {"worker_scaling": 1.5}}, {"loop": "why not"})
    assert {line.split()[0] for line in lines} >= set(result["contestants"])
    assert "torch_compile did not take part: RuntimeError: no compiler" in lines
    assert any(line.startswith("two workers over one") and line.endswith("1.50") for line in lines)
    assert lines[-1] == "--- loop was left out: why not"
