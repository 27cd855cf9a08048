"""The tables and files of an evaluation."""

import json

import cv2
import numpy as np
import pytest

from keras_pose.core.skeleton import HUMAN36M_17, LSP_14
from keras_pose.data import shards
from keras_pose.data.dataset import open_dataset
from keras_pose.evaluation import report
from keras_pose.evaluation.report import format_tables, write_evaluation
from tests.conftest import make_example
from tests.evaluation.conftest import KEYS, evaluate, oracle


def test_report_files(dataset, tmp_path):
    noise = np.random.default_rng(0).normal(0, 60, (6, 17, 3)).astype(np.float32) * np.arange(6)[:, None, None]

    def predict(batch):
        mm = noise[batch["frame"]]
        return {"pose_3d": batch["pose_3d"] + mm, "keypoints_2d": batch["keypoints_2d"] + mm[..., :2] / 5000}

    result = evaluate(predict, dataset, name="noisy")
    write_evaluation(tmp_path / "out", result)
    values = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert set(values) == KEYS and values["dataset"]["skeleton"] == "human36m_17"
    for name in ("evaluation_errors.png", "evaluation_samples.png"):
        assert cv2.imread(str(tmp_path / "out" / name)).std() > 5
    places = [(sample.place, int(sample.example["frame"])) for sample in result.samples]
    assert places[0] == ("best", 0) and places[6] == ("worst", 5) and len(places) == 9
    assert result.samples[0].error < result.samples[3].error < result.samples[6].error


def test_a_row_has_as_many_samples_as_there_are(tmp_path, monkeypatch):
    """Two of six examples have labels: best, median and worst have two samples each."""
    rng = np.random.default_rng(0)
    examples = [make_example(rng, i, keypoint_valid=np.full(17, i < 2)) for i in range(6)]
    entry = shards.write_shard(tmp_path / shards.shard_name("test", 0, 1), examples)
    shards.write_manifest(tmp_path, shards.Manifest("few", HUMAN36M_17, (64, 96), {"test": (entry,)}, {}))
    drawn = []
    monkeypatch.setattr(report, "contact_sheet", lambda pictures, columns, _: drawn.append((len(pictures), columns)))
    report.draw_samples(evaluate(lambda batch: {"keypoints_2d": batch["keypoints_2d"]}, open_dataset(str(tmp_path))))
    assert drawn == [(6, 2)]


def test_what_is_killed_before_its_pictures_is_no_finished_run(dataset, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    result = evaluate(oracle, dataset)
    for step in ("figures.plot_error_histograms", "save_png"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(f"keras_pose.evaluation.report.{step}", killed)
            write_evaluation(tmp_path, result)
        assert not (tmp_path / "evaluation.json").exists()


def test_tables_are_aligned_and_leave_out_empty_columns(dataset, lsp_dataset):
    text = format_tables(evaluate(oracle, dataset))
    blocks = [block.splitlines() for block in text.split("\n\n")]
    assert len(blocks) == 5 and [len(block) for block in blocks[2:]] == [18, 3, 3]
    for block in blocks[1:]:
        assert len({len(line) for line in block}) == 1

    def predict(batch):
        return {"keypoints_2d": batch["keypoints_2d"]}

    text_2d = format_tables(evaluate(predict, lsp_dataset, skeleton=LSP_14))
    assert "MPJPE mm" in text and "MPJPE mm" not in text_2d.split("\n\n")[2]
