"""The weights that a run starts from, and what stays untrained."""

from dataclasses import replace

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import COCO_17, HUMAN36M_17, MPI_INF_3DHP_17
from keras_pose.io.model_info import ModelInfo
from keras_pose.models import model_folder, pretrained
from keras_pose.models.hrnet_checkpoint import Accounting
from keras_pose.models.pose_model import PoseModelConfig, PoseStatistics, build_keypoint_model, build_pose_model
from keras_pose.training.experiment import PhaseConfig
from keras_pose.training.initial_weights import load_initial_weights
from keras_pose.training.phases import parts_of
from tests.training.runs import run, tiny_experiment

SIZE = (64, 96)
STATISTICS = PoseStatistics(np.zeros((17, 2)), np.ones((17, 2)), np.zeros((17, 3)), np.ones((17, 3)))


def config(skeleton=HUMAN36M_17, variant: str = "w8_tiny") -> PoseModelConfig:
    return PoseModelConfig(variant=variant, skeleton=skeleton.to_dict(), input_size=SIZE, width=16)


def write_conversion(path, skeleton=HUMAN36M_17, initial=(), variant: str = "w8_tiny"):
    """A converted file of random weights, and its model."""
    model = build_keypoint_model(config(skeleton, variant))
    checkpoint = path.with_suffix(".pth")
    checkpoint.touch()
    pretrained.save(path, model, config(skeleton, variant), Accounting(initial=initial), checkpoint)
    return model


def write_run(folder, skeleton):
    """A run of the whole model, and that model."""
    model = build_pose_model(config(skeleton), STATISTICS)
    folder.mkdir()
    model_folder.write_model(folder, model, ModelInfo("pose", skeleton, SIZE))
    return model


def final_layer(model) -> np.ndarray:
    return model.get_layer("hrnet").get_layer("final_layer").get_weights()[0]


def start(tmp_path, capsys, build=build_keypoint_model, **train):
    """A new Human3.6M model before and after it takes its initial weights, and what is printed."""
    model = build(*((config(),) if build is build_keypoint_model else (config(), STATISTICS)))
    before = [array.copy() for array in model.get_weights()]
    load_initial_weights(tiny_experiment(tmp_path / "run", "toy", train=train), model)
    return model, before, capsys.readouterr().out.strip()


@pytest.mark.parametrize(
    ("skeleton", "initial", "untrained"),
    [
        (HUMAN36M_17, (), ""),
        (COCO_17, (), "; untrained: hrnet/final_layer"),  # as many joints, other ones
        (HUMAN36M_17, ("final_layer",), "; untrained: hrnet/final_layer"),  # from a classifier
    ],
)
def test_the_last_layer_is_taken_only_for_the_same_joints(tmp_path, capsys, skeleton, initial, untrained):
    path = tmp_path / "hrnet.keras"
    source = write_conversion(path, skeleton, initial)
    model, before, printed = start(tmp_path, capsys, pretrained=str(path))
    assert printed == f"weights from {path}{untrained}"
    first = [m.get_layer("hrnet").get_layer("conv1").get_weights()[0] for m in (model, source)]
    np.testing.assert_array_equal(*first)
    assert np.array_equal(final_layer(model), final_layer(source)) == (not untrained)
    if untrained:
        assert any(np.array_equal(final_layer(model), array) for array in before)


def test_a_run_of_other_joints_gives_only_its_backbone(tmp_path, capsys):
    write_run(tmp_path / "other", MPI_INF_3DHP_17)
    _, _, printed = start(tmp_path, capsys, build_pose_model, init_from=str(tmp_path / "other"))
    assert printed.endswith("; untrained: hrnet/final_layer, encoder, decoder")
    source = write_run(tmp_path / "same", HUMAN36M_17)
    model, _, printed = start(tmp_path, capsys, build_pose_model, init_from=str(tmp_path / "same"))
    assert printed == f"weights from {tmp_path / 'same'}"
    for ours, theirs in zip(model.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("without", "untrained"),
    [
        (("hrnet/final_layer",), {"hrnet/final_layer"}),
        (("encoder", "hrnet/final_layer"), {"hrnet/final_layer", "encoder"}),
        (("hrnet", "decoder"), {"hrnet", "decoder"}),
    ],
)
def test_named_parts_and_layers_keep_their_random_weights(tmp_path, capsys, without, untrained):
    source = write_run(tmp_path / "same", HUMAN36M_17)
    model, before, printed = start(
        tmp_path, capsys, build_pose_model, init_from=str(tmp_path / "same"), init_without=without
    )
    assert set(printed.split("untrained: ")[1].split(", ")) == untrained
    random = {id(weight): array for weight, array in zip(model.weights, before, strict=True)}
    sources = parts_of(source)
    layers = [(part, layer) for part, submodel in parts_of(model).items() for layer in submodel.layers]
    for part, layer in layers:
        is_random = part in untrained or f"{part}/{layer.name}" in untrained
        for ours, theirs in zip(layer.weights, sources[part].get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(ours.numpy(), random[id(ours)] if is_random else theirs, err_msg=layer.name)


def test_training_starts_from_a_converted_backbone(tmp_path, toy_dataset):
    source = write_conversion(tmp_path / "hrnet.keras")
    still = PhaseConfig("hrnet", 1, learning_rate=1e-30)
    train = {"pretrained": str(tmp_path / "hrnet.keras"), "log_steps": 3}
    run(tiny_experiment(tmp_path / "run", toy_dataset, (still,), train=train))
    found = model_folder.load_run(tmp_path / "run")[0]
    for ours, theirs in zip(found.trainable_weights, source.trainable_weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=0, atol=1e-20)


def test_a_narrower_run_is_widened(tmp_path, capsys):
    """A wider network of the same layers starts by computing the same, and all of its channels can learn."""
    source = write_run(tmp_path / "narrow", HUMAN36M_17)
    rng = np.random.default_rng(0)
    hrnet = source.get_layer("hrnet")
    for weight in hrnet.weights:  # as after training: no batch norm is the identity
        if weight.path.rsplit("/", 1)[-1] != "kernel":
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    model_folder.write_model(
        tmp_path / "narrow", source, ModelInfo("pose", HUMAN36M_17, SIZE, model={"variant": "w8_tiny"})
    )
    wide = build_pose_model(config(variant="w16_tiny"), STATISTICS)
    experiment = tiny_experiment(tmp_path / "run", "toy", train={"init_from": str(tmp_path / "narrow")})
    load_initial_weights(replace(experiment, model=config(variant="w16_tiny")), wide)
    assert capsys.readouterr().out.strip() == f"weights from {tmp_path / 'narrow'}, HRNet w8_tiny, widened"
    image = rng.integers(0, 256, (2, *SIZE, 3)).astype("float32")
    before, after = (np.asarray(m(image, training=False)["heatmaps"]) for m in (source, wide))
    assert np.ptp(before) > 0.01
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-4 * np.abs(before).max())
    kernel = wide.get_layer("hrnet").get_layer("stage4_0_branches_0_0_conv1").get_weights()[0]
    assert (kernel[:, :, 8:, :8] == 0).all() and (kernel[:, :, :, 8:] != 0).all()
    np.testing.assert_allclose(kernel[:, :, :, 8:].std(), kernel[:, :, :8, :8].std(), rtol=0.2)


# --- bad input -------------------------------------------------------------------------------------------------


def refused(tmp_path, message: str, **train) -> None:
    with pytest.raises(UserError, match=message) as error:
        load_initial_weights(tiny_experiment(tmp_path / "run", "toy", train=train), build_keypoint_model(config()))
    assert "\n" not in str(error.value)


def test_each_flag_names_the_other_for_the_wrong_kind(tmp_path):
    write_run(tmp_path / "e2e", HUMAN36M_17)
    write_conversion(tmp_path / "hrnet.keras")
    refused(tmp_path, "--init_from=.*hrnet.keras is a file;.*--pretrained", init_from=str(tmp_path / "hrnet.keras"))
    refused(tmp_path, "--pretrained=.*e2e is a folder;.*--init_from", pretrained=str(tmp_path / "e2e"))
    own_model = str(tmp_path / "e2e" / "model.keras")
    refused(tmp_path, "lacks model.keras.json;.*--init_from", pretrained=own_model)


def test_what_is_left_out_must_exist(tmp_path):
    write_conversion(tmp_path / "hrnet.keras")
    for name in ("encoders", "hrnet/last", "final_layer", ""):
        refused(
            tmp_path,
            f"--init_without: this model has no {name}; name parts .hrnet, encoder.* or layers of them, such as hrnet/",
            pretrained=str(tmp_path / "hrnet.keras"),
            init_without=(name,),
        )


def test_what_leaves_nothing_out_is_no_error(tmp_path, capsys):
    """So a flag file may say it for all phases, and for runs from nothing."""
    write_run(tmp_path / "e2e", HUMAN36M_17)
    train = {"init_from": str(tmp_path / "e2e"), "init_without": ("encoder",)}
    load_initial_weights(tiny_experiment(tmp_path / "run", "toy", train=train), build_keypoint_model(config()))
    assert capsys.readouterr().out.strip() == f"weights from {tmp_path / 'e2e'}"
    tiny_experiment(tmp_path / "run", "toy", train={"init_without": ("encoder",)})


def test_a_broken_conversion_is_reported(tmp_path):
    path = tmp_path / "hrnet.keras"
    refused(tmp_path, "there is no such file; convert one", pretrained=str(path))
    write_conversion(path, variant="w16_small")
    refused(tmp_path, "is HRNet w16_small, the run has w8_tiny; add --variant=w16_small", pretrained=str(path))
    for text in ("{", "[]", "{}"):
        (tmp_path / "hrnet.keras.json").write_text(text)
        refused(tmp_path, "hrnet.keras.json is damaged", pretrained=str(path))
