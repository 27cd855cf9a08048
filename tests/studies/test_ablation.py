"""The ablation command at toy size: lifters on poses without images, which train in seconds."""

import json
import subprocess
from dataclasses import replace

import pytest
from absl import flags

from keras_pose import ablation
from keras_pose.core.errors import UserError
from keras_pose.flags import build_experiment, resolve
from keras_pose.studies import runs
from keras_pose.studies.kept_figures import KeptFigures
from tests.conftest import ROOT
from tests.flags.test_flags import parse
from tests.training.runs import write_poses

SIZES = "--phases=lifter --lifter_epochs=1 --width=8 --batch_size=8"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two rows, their data, a document, and the runs of one seed."""
    folder = tmp_path_factory.mktemp("ablation")
    poses = write_poses(folder / "poses", {"train": 16, "validation": 8, "test": 8})
    (folder / "a.flags").write_text(f"# plain\n# paper: 100 mm\n--dataset={poses}\n")
    (folder / "b.flags").write_text(f"# symmetric\n# paper: 90 mm\n--flagfile={folder / 'a.flags'}\n--delta=3\n")
    (folder / "doc.md").write_text("<!-- table -->\n<!-- end of table -->\n")
    run(folder, f"--doc={folder / 'doc.md'}", f"--json={folder / 'numbers.json'}")
    return folder


def run(folder, *arguments: str) -> int:
    values = flags.FlagValues()
    ablation.define_own_flags(values)
    given = [f"--rows={folder}/*.flags", f"--output={folder / 'runs'}", "--seeds=4", f"--with={SIZES}", *arguments]
    ablation.FLAGS, before = values, ablation.FLAGS
    try:
        return ablation.main(values(["ablation", *given])[1:])
    finally:
        ablation.FLAGS = before


def no_training(monkeypatch) -> None:
    monkeypatch.setattr(runs, "train", lambda *_: pytest.fail("a run was trained"))


def test_every_row_is_trained_and_reported(folder):
    rows = json.loads((folder / "numbers.json").read_text())["rows"]
    assert [(row["row"], row["paper_mpjpe_mm"]) for row in rows] == [("a", 100), ("b", 90)]
    scores = [json.loads((folder / f"runs/{name}/seed4/evaluation.json").read_text())["mpjpe_mm"] for name in "ab"]
    assert [row["mpjpe_mm"]["mean"] for row in rows] == scores and scores[0] != scores[1]
    text = (folder / "doc.md").read_text()
    ratio = scores[1] / scores[0]
    assert f"| b | symmetric | 90.00 | 0.900 | {ratio:.3f} | {scores[1]:.1f} |" in text and "| a | b | -10.0 |" in text
    resolved = (folder / "runs/b/seed4/resolved.flags").read_text()
    assert "--delta=3" in resolved and "--seed=4" in resolved and "--width=8" in resolved
    assert "lifter epoch 1/1" in (folder / "runs/a/seed4.log").read_text()


def test_finished_runs_are_skipped(folder, monkeypatch, capsys):
    no_training(monkeypatch)
    assert run(folder) == 0
    assert "| a | plain |" in capsys.readouterr().out
    assert run(folder, "--seeds=4,5", "--notrain") == 0
    path = folder / "runs/a/seed4/resolved.flags"  # of an older version, which had no such flag
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "clip_norm" not in line))
    assert run(folder) == 0


def test_a_finished_run_with_other_flags_is_not_reused(folder, monkeypatch):
    no_training(monkeypatch)
    with pytest.raises(UserError, match="seed4 holds a finished run with other flags"):
        run(folder, f"--with={SIZES} --dropout=0.2")


def test_figures_are_kept_and_continue_where_the_runs_are_gone(folder, monkeypatch, tmp_path, capsys):
    no_training(monkeypatch)
    figures = f"--figures={tmp_path / 'figures.json'}"
    assert run(folder, figures) == 0
    table = capsys.readouterr().out
    assert run(folder, figures, f"--output={tmp_path / 'elsewhere'}") == 0
    assert capsys.readouterr().out == table and "| b | symmetric | 90.00 |" in table
    asked = []
    monkeypatch.setattr(runs, "train", lambda arguments, folder: asked.append(folder.name) or 143)
    assert run(folder, figures, f"--output={tmp_path / 'elsewhere'}", "--seeds=4,5") == 143 and asked == ["seed5"]
    with pytest.raises(UserError, match="figures.json holds a trained with other flags; name another file"):
        run(folder, figures, f"--output={tmp_path / 'elsewhere'}", f"--with={SIZES} --dropout=0.2")


def test_figures_do_not_depend_on_the_machines_precision(folder, monkeypatch, tmp_path):
    kept = KeptFigures(tmp_path / "figures.json")
    kept.put("a", 1, resolve(["--seed=1", "--delta=3", "--precision=mixed_bfloat16"]), {"mpjpe_mm": 9.5})
    again = KeptFigures(tmp_path / "figures.json")
    assert again.get("a", 1, resolve(["--seed=1", "--delta=3", "--precision=float32"])) == {"mpjpe_mm": 9.5}
    assert again.get("a", 2, resolve(["--seed=2", "--delta=3"])) is None and again.get("b", 1, "") is None


@pytest.mark.parametrize("content", ["", "[1]", '{"a": {}}', '{"a": {"flags": [], "seeds": {"0": {"mpjpe_mm": "x"}}}}'])
def test_a_file_that_holds_no_figures_is_named(tmp_path, content):
    (tmp_path / "figures.json").write_text(content)
    with pytest.raises(UserError, match="figures.json does not hold figures of runs"):
        KeptFigures(tmp_path / "figures.json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rows=none/*.flags",), "no file matches none"),
        (("--seeds=1,x",), "--seeds lists 'x'"),
        (("--with=--none_such=1",), "a.flags --none_such=1 --seed=4: Unknown command line flag"),
        (("--with=e2e.flags",), "'e2e.flags' is not a flag; write --name=value"),
        (("runs",), "unknown argument 'runs'"),
    ],
)
def test_mistakes_are_reported_before_anything_is_trained(folder, monkeypatch, arguments, message):
    no_training(monkeypatch)
    with pytest.raises(UserError, match=message):
        run(folder, *arguments)


def test_a_failed_run_names_its_log(folder, monkeypatch):
    real = subprocess.Popen

    def start(script):
        monkeypatch.setattr(subprocess, "Popen", lambda command, **kw: real(["/bin/sh", "-c", script], **kw))

    start("echo 'error: no such thing' >&2; echo bye; exit 2")
    with pytest.raises(UserError, match=r"seed5 failed \(no such thing\); see .*seed5.log, fix the problem and run"):
        run(folder, "--seeds=5")
    start("kill -9 $$")
    with pytest.raises(UserError, match="seed5 was ended by SIGKILL; see .*seed5.log"):
        run(folder, "--seeds=5")
    start("exit 143")
    assert run(folder, "--seeds=5") == 143


def test_rows_of_table_1_train_what_they_describe(toy_dataset, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = {}
    for row in runs.find_rows(["configs/ablations/[0-9]*.flags"]):
        values = parse(*runs.arguments_of(row, 0, ["--input_size=64x96", f"--dataset={toy_dataset}"]))
        found[row.name] = build_experiment(values)
    terms = {n: [bool(getattr(e.loss, t)) for t in ("alpha", "beta", "gamma", "delta")] for n, e in found.items()}
    assert terms["1_encoder"] == [False, True, False, False] and len(found["1_encoder"].train.phases) == 1
    assert terms["2_heatmaps"] == [True, True, False, False] and terms["3_decoder"] == [True, True, True, False]
    assert terms["4_symmetry"] == [True, True, False, True] and all(terms["5_regularisers"] + terms["6_skip"])
    for name, experiment in found.items():
        assert experiment.model.skip_connection == name.startswith(("6", "7"))
        on_labels = name.endswith("ground_truth") or name == "7_adversarial"
        assert (experiment.loss.decoder_target == "ground_truth") == on_labels
        assert (experiment.loss.adversarial_weight > 0) == (name == "7_adversarial")
        assert name == "1_encoder" or [phase.name for phase in experiment.train.phases] == ["hrnet", "e2e"]
    assert found["6_skip_flat"].model.soft_argmax_form == "flat"
    assert found["6_skip_alpha_decay"].loss.alpha_decay < 1 == found["6_skip"].loss.alpha_decay
    # What the paper names as future work is row 6 and one thing more.
    plain, prior = found["6_skip_ground_truth"], found["7_adversarial"]
    assert replace(prior, loss=replace(prior.loss, adversarial_weight=0.0)) == plain
    (photos,) = runs.find_rows(["configs/ablations/photos.flags"])
    values = parse(*runs.arguments_of(photos, 0, ["--input_size=64x96"]))
    assert values.dataset.startswith("embedded:0.8,") and values.dataset.endswith(":0.2")
    values.dataset = str(toy_dataset)
    assert build_experiment(values) == plain
