import json
from dataclasses import replace

import pytest
from absl import flags

from keras_pose import scale as command
from keras_pose.studies import scale

MEASURED = scale.Measured(30_000.0, 196_608, 600.0, 114_000_000)
MACHINES = scale.Machines(gpus=8, nodes=4, batch_per_gpu=32, gpu_images_per_second=300.0, network_gbit=100.0)


def bounds(examples=3_600_000, **changes) -> dict:
    return scale.compute_bounds(MEASURED, replace(MACHINES, **changes), examples)


def test_more_nodes_make_an_epoch_shorter_and_leave_each_node_its_work():
    four, eight = bounds(), bounds(nodes=8)
    assert four["epoch_s"] == pytest.approx(2 * eight["epoch_s"]) == 3_600_000 / (4 * 8 * 300)
    for name in ("decoding_cores_per_node", "read_mb_per_second_and_node_by_files", "step_ms"):
        assert four[name] == eight[name]
    assert eight["read_mb_per_second_and_node_by_examples"] == 2 * four["read_mb_per_second_and_node_by_examples"]


def test_a_ring_sends_nothing_alone_and_never_twice_the_gradient():
    sent = [bounds(nodes=nodes)["gradient_mb_sent_per_step_and_node"] for nodes in (1, 2, 4, 1000)]
    assert sent[0] == 0 and sent == sorted(sent) and sent[1] == 114.0 and 227 < sent[3] < 228


def test_what_is_read_in_an_epoch_is_the_data_set():
    one = bounds(nodes=1)
    read_gb = one["read_mb_per_second_and_node_by_examples"] * one["epoch_s"] / 1000
    assert read_gb == pytest.approx(one["data_set_gb"]) == 108.0
    assert one["read_mb_per_second_and_node_by_examples"] == one["read_mb_per_second_and_node_by_files"]


def test_the_command_measures_this_machine(toy_dataset, tmp_path, monkeypatch, capsys):
    values = flags.FlagValues()
    command.define_flags(values)
    values(["scale", f"--dataset={toy_dataset}", "--variant=w8_tiny", f"--json={tmp_path / 'scale.json'}", "--nodes=2"])
    monkeypatch.setattr(command, "FLAGS", values)
    monkeypatch.setattr(scale, "MEASURED_EXAMPLES", 48)
    command.main([])
    found = json.loads((tmp_path / "scale.json").read_text())
    assert found["input_size"] == [64, 96] and found["picture_bytes"] == 64 * 96 * 3
    assert found["decode_images_per_core_second"] > 10
    shards = sum(path.stat().st_size for path in toy_dataset.glob("train-*.tfrecord"))
    assert found["example_bytes"] == pytest.approx(shards / 24)
    assert found["gradient_mb_sent_per_step_and_node"] == pytest.approx(found["gradient_bytes"] / 1e6)
    assert "decoding_cores_per_gpu" in capsys.readouterr().out
