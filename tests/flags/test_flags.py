from pathlib import Path

import pytest
from absl import flags

from keras_pose.core.errors import UserError
from keras_pose.flags import build_experiment, define_flags, resolved_flags
from keras_pose.models.model_folder import read_model_info
from keras_pose.training.experiment import PHASES
from keras_pose.weights import SHIPPED_WEIGHTS
from tests.conftest import ROOT
from tests.training.runs import write_poses


def parse(*arguments: str) -> flags.FlagValues:
    values = flags.FlagValues()
    flags.DEFINE_multi_string("flagfile", [], "", flag_values=values)
    define_flags(values)
    values(["train", *values.read_flags_from_files(list(arguments), force_gnu=False)])
    return values


def test_flags_become_one_configuration(toy_dataset):
    values = parse(
        f"--dataset={toy_dataset}", "--phases=e2e,hrnet", "--e2e_epochs=3", "--hrnet_learning_rate=0.5",
        "--noskip_connection", "--heatmap_kernel_size=0", "--schedule=step", "--step_epochs=5,7", "--augment_scale=0.3",
        "--variant=w8_tiny", "--ema=0.9", "--gamma=0.25", "--output=somewhere/", "--pretrained=hrnet.keras",
        "--init_without=encoder,hrnet/conv1",
    )  # fmt: skip
    experiment = build_experiment(values)
    e2e, hrnet = experiment.train.phases
    assert (e2e.name, e2e.epochs, e2e.flip) == ("e2e", 3, 0.0)
    assert (hrnet.name, hrnet.learning_rate, hrnet.flip) == ("hrnet", 0.5, 0.5)
    assert experiment.model.input_size == (64, 96) and experiment.model.skeleton == "human36m_17"
    assert not experiment.model.skip_connection and experiment.model.variant == "w8_tiny"
    assert experiment.loss.heatmap_kernel_size is None and experiment.loss.gamma == 0.25
    assert experiment.optimizer.step_epochs == (5, 7) and experiment.optimizer.ema == 0.9
    assert experiment.augment.scale == 0.3 and experiment.augment.flip == 0.0
    assert experiment.output == "somewhere" and experiment.train.pretrained == "hrnet.keras"
    assert experiment.train.init_without == ("encoder", "hrnet/conv1")


def changed(values: flags.FlagValues, name: str) -> str:
    """An argument that gives a flag another value than its default."""
    default, parser = values[name].default, values[name].parser
    if isinstance(default, bool):
        return f"--no{name}" if default else f"--{name}"
    if getattr(parser, "enum_values", None):
        return f"--{name}={next(value for value in parser.enum_values if value not in (default, 'auto', 'step'))}"
    if isinstance(default, int | float):
        return f"--{name}={default + 2 if isinstance(default, int) else default / 2 or 0.25}"
    return f"--{name}=other"


def test_every_flag_reaches_the_configuration(toy_dataset):
    values = parse(f"--dataset={toy_dataset}")
    own = flags.FlagValues()
    define_flags(own)
    others = {"dataset", "input_size", "phases", "step_epochs", "init_without"}  # tested above
    for name in sorted(set(own) - others):
        phase = name.partition("_")[0]
        phases = f"--phases={phase}" if phase in PHASES else "--phases=hrnet,e2e"
        plain = build_experiment(parse(f"--dataset={toy_dataset}", phases)).to_dict()
        argument = changed(values, name)
        assert build_experiment(parse(f"--dataset={toy_dataset}", phases, argument)).to_dict() != plain, argument


def test_resolved_flags_replay_the_run(toy_dataset, tmp_path):
    values = parse(
        f"--dataset={toy_dataset}",
        "--noskip_connection",
        "--schedule=step",
        "--step_epochs=5,7",
        "--augment_noise=0.1",
        "--seed=4",
    )
    experiment = build_experiment(values)
    path = tmp_path / "resolved.flags"
    path.write_text(resolved_flags(experiment, values))
    replayed = parse(f"--flagfile={path}")
    assert build_experiment(replayed) == experiment
    assert resolved_flags(experiment, replayed) == path.read_text()
    assert "--input_size=64x96" in path.read_text() and "--output" not in path.read_text().partition("\n")[2]


@pytest.mark.parametrize("name", ["e2e.flags", "configs/finetune.flags"])
def test_flag_files_have_the_network_of_the_weights_they_start_from(name, toy_dataset, monkeypatch):
    monkeypatch.chdir(ROOT)
    experiment = build_experiment(parse(f"--flagfile={name}", f"--dataset={toy_dataset}"))
    info = read_model_info(SHIPPED_WEIGHTS[experiment.train.init_from])
    assert experiment.model.variant == info.model["variant"]
    assert experiment.model.get_skeleton() == info.skeleton


@pytest.mark.parametrize("name", ["e2e.flags", "configs/paper.flags"])
def test_flag_files_hold_known_flags_each_with_a_comment(name, toy_dataset, monkeypatch):
    monkeypatch.chdir(ROOT)
    experiment = build_experiment(parse(f"--flagfile={name}", f"--dataset={toy_dataset}", "--input_size=64x96"))
    flips = {phase.name: phase.flip for phase in experiment.train.phases}
    published = {"hrnet": 0.5, "e2e": 0.0}
    assert flips == (published if name == "configs/paper.flags" else {"hrnet": 0.5, "lifter": 0.5, "e2e": 0.5})
    assert {phase.learning_rate for phase in experiment.train.phases} == {0.001}  # Adam's, as published
    assert experiment.optimizer.name == "adam" and experiment.data.passes == 1
    assert experiment.augment.resamples == (name == "e2e.flags")
    assert experiment.data.batch_size == 32 and experiment.loss.decoder_target == "ground_truth"
    assert experiment.model.variant == ("w32" if name == "configs/paper.flags" else "w20_small")
    assert experiment.output == f"runs/{Path(name).stem}"
    assert experiment.train.init_from == ("" if name == "configs/paper.flags" else "phone_free")


@pytest.mark.parametrize(("crop", "size"), [((64, 96), (64, 96)), ((80, 80), (256, 256)), ((100, 80), (160, 128))])
def test_poses_without_images_need_no_size(tmp_path, crop, size):
    poses = write_poses(tmp_path, {"train": 3}, image_size=crop)
    experiment = build_experiment(parse(f"--dataset={poses}", "--phases=lifter"))
    assert experiment.kind == "lifter" and experiment.model.input_size == size


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--phases=hrnet,lift", "unknown phase 'lift'; known: e2e, hrnet, lifter"),
        ("--phases=", "no phase to train; choose from hrnet, lifter, e2e"),
        ("--phases=e2e,e2e", "phases e2e,e2e contain duplicates"),
        ("--e2e_epochs=0", "phase e2e has 0 epochs"),
        ("--hrnet_learning_rate=0", "learning rate of hrnet is 0"),
        ("--batch_size=0", "batch size is 0"),
        ("--input_size=128", "--input_size=128 is not HEIGHTxWIDTH"),
        ("--input_size=100x64", "input size 100x64: HRNet halves it"),
        ("--step_epochs=3,x", "--step_epochs lists 'x'"),
        ("--step_epochs=3,²", "--step_epochs lists '²'"),
        ("--step_epochs=3", "--schedule=step and --step_epochs must be used together"),
        ("--schedule=step", "--schedule=step and --step_epochs must be used together"),
        ("--schedule=step --step_epochs=3 --step_factor=-0.1", "factor of --schedule=step is -0.1"),
        ("--e2e_flip=50", "flip of e2e is 50.0; give --e2e_flip a number from 0 to 1"),
        ("--e2e_learning_rate=inf", "learning rate of e2e is inf"),
        ("--ema=1", "EMA decay is 1"),
        ("--clip_norm=-1", "gradient clipping is -1"),
        ("--warmup_steps=-1", "warm-up is -1"),
        ("--seed=-1", "seed is -1"),
        ("--init_from=runs/e2e --pretrained=hrnet.keras", "--init_from.*--pretrained.*give one of them"),
        ("--log_steps=0", "log interval is 0"),
        ("--checkpoint_steps=-1", "checkpoint interval is -1"),
        ("--dataset=nowhere", "data set 'nowhere' is neither a folder"),
    ],
)
def test_an_invalid_value_gives_a_one_line_error(toy_dataset, argument, message):
    values = parse(f"--dataset={toy_dataset}", *argument.split())
    with pytest.raises(UserError, match=message) as error:
        build_experiment(values)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("argument", "known"),
    [("--strategy=x", "one_device"), ("--precision=x", "mixed_bfloat16"), ("--variant=x", "w16_small"),
     ("--schedule=x", "cosine"), ("--decoder_target=x", "ground_truth")],
)  # fmt: skip
def test_an_unknown_choice_lists_the_known_ones(argument, known):
    with pytest.raises(flags.IllegalFlagValueError, match=known):
        parse(argument)


def test_auto_precision_is_resolved_before_it_is_recorded(toy_dataset):
    values = parse(f"--dataset={toy_dataset}", "--precision=auto")
    experiment = build_experiment(values)
    assert experiment.train.precision in ("float32", "mixed_bfloat16")
    assert f"--precision={experiment.train.precision}\n" in resolved_flags(experiment, values)
