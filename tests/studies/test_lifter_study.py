"""The lifter study at toy size, training in the test's process."""

import json

import pytest
from absl import flags

from keras_pose import lifter_study, train
from keras_pose.core.errors import UserError
from keras_pose.flags import build_experiment, resolved_flags
from keras_pose.studies import lifter, runs
from keras_pose.training import run_folder, trainer
from tests.conftest import ROOT
from tests.flags.test_flags import parse
from tests.training.runs import write_poses


def train_here(arguments, folder) -> int:
    values = parse(*arguments, f"--output={folder}")
    experiment = build_experiment(values)
    run_folder.claim(experiment.output, resolved_flags(experiment, values))
    trainer.train(experiment)
    train._evaluate(experiment)
    return 0


def run(*arguments: str) -> int:
    values = flags.FlagValues()
    lifter_study.define_own_flags(values)
    lifter_study.FLAGS, before = values, lifter_study.FLAGS
    try:
        return lifter_study.main(values(["lifter_study", *arguments])[1:])
    finally:
        lifter_study.FLAGS = before


def test_both_are_trained_for_the_same_time_and_reported_in_one_table(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(runs, "train", train_here)
    poses = write_poses(tmp_path / "poses", {"train": 32, "validation": 8, "test": 8})
    doc, numbers = tmp_path / "doc.md", tmp_path / "numbers.json"
    doc.write_text("<!-- baseline -->\n<!-- end of baseline -->\n")
    arguments = (
        f"--dataset={poses}",
        f"--output={tmp_path / 'runs'}",
        "--seeds=3",
        f"--doc={doc}",
        f"--json={numbers}",
    )
    sizes = "--with=--lifter_epochs=1 --width=16 --batch_size=8"
    assert run(*arguments, sizes) == 0
    rows = {row["row"]: row for row in json.loads(numbers.read_text())["rows"]}
    assert list(rows) == ["martinez_exact", "lifter_exact", "martinez_noisy", "lifter_noisy"]
    for kind in ("exact", "noisy"):
        ours, baseline = rows[f"lifter_{kind}"], rows[f"martinez_{kind}"]
        assert ours["processor_seconds"] == baseline["processor_seconds"] and ours["processor_seconds"]["mean"] > 0
        assert ours["parameters"]["mean"] == pytest.approx(baseline["parameters"]["mean"], rel=0.02)
        assert all(row[name]["mean"] > 0 for row in (ours, baseline) for name in ("mpjpe_mm", "mpjpe_noisy_mm"))
        assert (tmp_path / f"runs/martinez_{kind}/seed3/cost.json").is_file()
    noisy = (tmp_path / "runs/lifter_noisy/seed3/resolved.flags").read_text()
    assert "--augment_keypoint_noise=0.01" in noisy and "--width=16" in noisy
    text = doc.read_text()
    assert text.count("lower than the baseline") == 2 and "| martinez_exact | Martinez et al. on exact joints |" in text

    monkeypatch.setattr(runs, "train", lambda *_: pytest.fail("a run was trained again"))
    monkeypatch.setattr(lifter, "train_baseline", lambda *_: pytest.fail("a baseline was trained again"))
    assert run(*arguments, sizes) == 0
    with pytest.raises(UserError, match="holds a finished run with other flags"):
        run(*arguments, sizes + " --dropout=0.3")
    cost = tmp_path / "runs/martinez_noisy/seed3/cost.json"
    cost.write_text(json.dumps(json.loads(cost.read_text()) | {"noise": 0.05}))
    with pytest.raises(UserError, match=r"was trained with another noise \(0.05, now 0.01\); delete it, or choose"):
        run(*arguments, sizes)


def test_mistakes_give_one_line_errors():
    with pytest.raises(UserError, match="add --dataset=FOLDER"):
        run()
    with pytest.raises(UserError, match="unknown argument 'mocap'"):
        run("mocap")
