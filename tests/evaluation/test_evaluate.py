"""The evaluate command on run folders of each kind."""

import json

import keras
import numpy as np
import pytest
from absl import flags

from keras_pose import PosePredictor, evaluate
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data.dataset import open_dataset
from keras_pose.data.pipeline import make_batches
from keras_pose.evaluation.predictions import heatmap_predictor
from keras_pose.evaluation.result import evaluate_model
from keras_pose.inference.runtimes import LoadedModel
from keras_pose.io.model_info import OFFICIAL_CELL_CENTER, ModelInfo
from keras_pose.models import pretrained
from keras_pose.models.decoders import DECODERS, HeatmapDecoder, flip_average
from keras_pose.models.hrnet_checkpoint import Accounting
from keras_pose.models.model_folder import write_model
from keras_pose.models.pose_model import (
    PoseModelConfig,
    PoseStatistics,
    build_keypoint_model,
    build_lifter,
    build_pose_model,
)
from tests.conftest import write_dataset

SIZE = (32, 64)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The run folder of an untrained model of each kind; the lifters predict about the mean pose."""
    config = PoseModelConfig(variant="w8_tiny", input_size=SIZE, width=8, dropout=0.0)
    rng = np.random.default_rng(0)
    statistics = PoseStatistics(
        rng.random((17, 2)), np.full((17, 2), 0.2), rng.normal(0, 300, (17, 3)), np.full((17, 3), 1e-3)
    )
    models = {
        "pose": build_pose_model(config, statistics),
        "keypoints": build_keypoint_model(config),
        "lifter": build_lifter(config, statistics),
    }
    folder = tmp_path_factory.mktemp("runs")
    for kind, model in models.items():
        (folder / kind).mkdir()
        write_model(folder / kind, model, ModelInfo(kind, HUMAN36M_17, SIZE))
    return folder


def test_a_lifter_run_sees_unlabeled_joints_at_their_mean(runs, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(evaluate, "batch_predictor", lambda *arguments: seen.append(arguments[-1]))
    evaluate.open_predictor(str(runs / "lifter"), HUMAN36M_17)
    np.testing.assert_array_equal(seen[0], np.random.default_rng(0).random((17, 2)).astype(np.float32))


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A converted file of random weights."""
    path = tmp_path_factory.mktemp("converted") / "hrnet.keras"
    path.with_suffix(".pth").touch()
    config = PoseModelConfig(variant="w8_tiny", skeleton=HUMAN36M_17.to_dict(), input_size=SIZE)
    pretrained.save(path, build_keypoint_model(config), config, Accounting(), path.with_suffix(".pth"))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data"), {"train": 8, "test": 5}, image_size=SIZE)


@pytest.fixture
def run(runs, data, monkeypatch):
    def run(*arguments):
        values = flags.FlagValues()
        evaluate.define_flags(values)
        monkeypatch.setattr(evaluate, "FLAGS", values)
        return evaluate.main(values(["evaluate", f"--dataset={data}", *arguments])[1:])

    return run


@pytest.mark.parametrize(
    ("kind", "given", "empty"),
    [
        ("pose", ("mpjpe_mm", "pck_0_2", "auc"), ()),
        ("keypoints", ("pck_0_2", "pckh_0_5"), ("mpjpe_mm", "pa_mpjpe_mm", "auc")),
        ("lifter", ("mpjpe_mm", "n_mpjpe_mm"), ("pck_0_2", "left_right_collapse")),
    ],
)
def test_each_kind_of_run(run, runs, tmp_path, capsys, kind, given, empty):
    run(f"--model={runs / kind}", f"--json={tmp_path / 'numbers.json'}", "--batch_size=2", "--flip_test")
    values = json.loads((tmp_path / "numbers.json").read_text())
    assert values["count"] == 5 and values["model"]["flip_test"] is True
    assert all(values[name] is not None for name in given) and all(values[name] is None for name in empty)
    assert "joint" in capsys.readouterr().out


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_converted_checkpoint_is_scored_by_its_published_protocol(run, converted, data, monkeypatch, decoder):
    """Heatmaps of both views, their mean as in the official code, and the decoder on that."""
    results = []
    monkeypatch.setattr(evaluate, "format_tables", results.append)
    run(f"--model={converted}", f"--decoder={decoder}", "--flip_test", "--batch_size=2")
    assert results[0].model["decoder"] == decoder and results[0].model["flip_test"]
    model, dataset = keras.saving.load_model(converted), open_dataset(str(data))
    batch = next(make_batches(dataset, "test", 5, training=False).as_numpy_iterator())
    views = [np.asarray(model(np.float32(image))["heatmaps"]) for image in (batch["image"], batch["image"][:, :, ::-1])]
    mean = flip_average(*views, HUMAN36M_17, OFFICIAL_CELL_CENTER)
    keypoints_2d = DECODERS[decoder](mean, OFFICIAL_CELL_CENTER)
    expected = evaluate_model(lambda _: {"keypoints_2d": keypoints_2d}, HUMAN36M_17, dataset)
    np.testing.assert_allclose(results[0].scores["error_px"], expected.scores["error_px"], atol=0.02)


def test_a_decoder_does_not_change_the_3d_pose(run, runs, tmp_path):
    found = {}
    for name in ("", "dark"):
        path = tmp_path / f"{name or 'own'}.json"
        run(f"--model={runs / 'pose'}", f"--json={path}", *([f"--decoder={name}"] if name else []))
        found[name] = json.loads(path.read_text())
    assert found["dark"]["mpjpe_mm"] == found[""]["mpjpe_mm"] is not None
    assert found[""]["model"]["decoder"] is None


def test_a_decoder_needs_a_known_name_and_heatmaps(run, runs):
    with pytest.raises(flags.IllegalFlagValueError, match="dark.*quarter_offset.*soft_argmax"):
        run(f"--model={runs / 'pose'}", "--decoder=argmax")
    with pytest.raises(UserError, match="unknown decoder 'argmax'; known: dark, quarter_offset, soft_argmax"):
        HeatmapDecoder("argmax")
    with pytest.raises(UserError, match="is a lifter"):
        run(f"--model={runs / 'lifter'}", "--decoder=dark")
    exported = LoadedModel("pose.tflite", HUMAN36M_17, SIZE, run=None)
    with pytest.raises(UserError, match="pose.tflite has no heatmap output to decode"):
        heatmap_predictor(exported)


def test_peers_are_scored_on_the_same_examples(run, runs, tmp_path, capsys):
    run(f"--model={runs / 'lifter'}", f"--peer={runs / 'keypoints'}", f"--json={tmp_path / 'numbers.json'}")
    values = json.loads((tmp_path / "numbers.json").read_text())
    (other,) = values.pop("peers")
    assert other["model"]["name"] == "keypoints" and other["dataset"] == values["dataset"]
    assert other["pck_0_2"] is not None and other["mpjpe_mm"] is None and values["mpjpe_mm"] is not None
    table = capsys.readouterr().out.split("\n\n")[-1].splitlines()
    assert {line.split(",")[0] for line in table[1:]} == {"lifter", "keypoints"}
    with pytest.raises(UserError, match="no model 'none_such'"):
        run(f"--model={runs / 'lifter'}", "--peer=none_such")


def test_output_is_not_overwritten_silently(run, runs, tmp_path):
    arguments = (f"--model={runs / 'lifter'}", f"--output={tmp_path / 'out'}", "--split=train")
    run(*arguments)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("evaluation.json", "evaluation_errors.png", "evaluation_samples.png")
    }
    (tmp_path / "out" / "evaluation.json").write_text("mine")
    with pytest.raises(UserError, match="holds an evaluation.*--overwrite"):
        run(*arguments)
    run(*arguments, "--overwrite")
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["split"] == "train"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--split=test",), "add --model=RUN"),
        (("--model=none_such",), "no model 'none_such'"),
        (("--model=x", "--split=validation"), "no split 'validation'; it has train, test"),
        (("--model=x", "--dataset=none_such"), "'none_such' is neither a folder nor one of: embedded"),
        (("--model=x", "runs/e2e"), "unknown argument 'runs/e2e'"),
    ],
)
def test_mistakes_give_one_line_errors(run, arguments, message):
    with pytest.raises(UserError, match=message):
        run(*arguments)


def test_predictor_opens_runs_that_see_images(runs):
    result = PosePredictor(runs / "pose")(np.zeros((50, 70, 3), np.uint8))
    assert result.keypoints_px.shape == (17, 2) and result.pose_3d_mm.shape == (17, 3)
    assert PosePredictor(runs / "keypoints")(np.zeros((50, 70, 3), np.uint8)).pose_3d_mm is None
    with pytest.raises(UserError, match="sees no images"):
        PosePredictor(runs / "lifter")


def test_whole_images_are_searched_first(run, runs, tmp_path, monkeypatch):
    """The finder is asked once an image, and joints are of the image that it was asked about."""
    from keras_pose.inference.finder import PersonFinder
    from tests.oracles import DotPeople

    people = DotPeople()
    monkeypatch.setattr(
        evaluate,
        "PosePredictor",
        lambda source, flip_test: PosePredictor(source, PersonFinder(people, people.size), flip_test),
    )
    run(f"--model={runs / 'pose'}", "--whole", f"--json={tmp_path / 'numbers.json'}")
    values = json.loads((tmp_path / "numbers.json").read_text())
    assert len(people.images) >= values["count"] == 5
    assert values["mpjpe_mm"] is not None and values["pck_0_2"] is not None
    with pytest.raises(UserError, match="--whole cannot be combined with"):
        run(f"--model={runs / 'pose'}", "--whole", "--decoder=dark")
