import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import COCO_17, HUMAN36M_17, LSP_14, MPII_16
from keras_pose.models import hrnet_checkpoint, weight_names
from keras_pose.models.hrnet import VARIANTS
from keras_pose.models.pose_model import PoseModelConfig, build_keypoint_model
from keras_pose.studies.benchmark import torch_hrnet

TINY = VARIANTS["w8_tiny"]


def imagenet_weights(network, row) -> dict:
    """The names of an ImageNet classifier around the network's trunk: a head, and all outputs of the last module."""
    weights = {k: v for k, v in network.state_dict().items() if not k.startswith("final_layer.")}
    widths = row.widths
    last = torch_hrnet.Exchange(widths, row.units, 4).state_dict()
    prefix = f"stage4.{row.modules[2] - 1}."
    weights |= {prefix + k: v for k, v in last.items() if prefix + k not in weights}
    head = {"incre_modules.0.0.conv1.weight": torch.zeros(32, row.channels, 1, 1)}
    head |= {"downsamp_modules.0.0.bias": torch.zeros(256), "final_layer.0.weight": torch.zeros(2048, 1024, 1, 1)}
    head |= {"final_layer.1.running_mean": torch.zeros(2048), "classifier.bias": torch.zeros(1000)}
    return weights | head


def tiny_weights(num_joints: int = 17) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in torch_hrnet.build(TINY, num_joints).state_dict().items()}


def torch_heatmaps(network, image: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.tensor(image).float().permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()


def relative_difference(network, model, size: tuple[int, int]) -> float:
    """The largest difference of heatmaps over a random picture, against the largest heatmap value."""
    image = np.random.default_rng(3).integers(0, 256, (1, *size, 3)).astype(np.uint8)
    theirs = torch_heatmaps(network, image)
    ours = np.asarray(model(image, training=False)["heatmaps"])
    assert theirs.std() > 0.1  # the network says something
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize("variant,joints", [("w32", 17), ("w48", 16)])
def test_equals_the_official_network(variant, joints):
    network = torch_hrnet.build(VARIANTS[variant], joints)
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    model, config, accounting = hrnet_checkpoint.convert(weights, input_size=(256, 192))
    assert config.variant == variant
    assert config.get_skeleton() == {17: COCO_17, 16: MPII_16}[joints]
    assert set(accounting.used) | set(accounting.unused) == set(weights) and not accounting.initial
    square = build_keypoint_model(PoseModelConfig(variant, config.skeleton, (256, 256)))
    hrnet_checkpoint.load_weights(square.get_layer("hrnet"), weights, variant)
    for converted, size in ((model, (256, 192)), (square, (256, 256))):
        difference = relative_difference(network, converted, size)
        print(f"{variant} {size[0]} x {size[1]}: {difference:.1e} of the largest heatmap value")
        assert difference < 1e-4


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_recognised_by_its_weights(variant):
    with torch.device("meta"):
        shapes = torch_hrnet.TorchHRNet(VARIANTS[variant], 17).state_dict()
    weights = {name: np.broadcast_to(np.float32(0), tuple(value.shape)) for name, value in shapes.items()}
    assert weight_names.find_variant(weights) == variant


def test_imagenet_classifiers_leave_their_head_out():
    network = torch_hrnet.build(TINY, 17)
    weights = {name: value.numpy() for name, value in imagenet_weights(network, TINY).items()}
    model, config, accounting = hrnet_checkpoint.convert(weights, LSP_14, (64, 96))
    assert config.get_skeleton() == LSP_14 and model.output["heatmaps"].shape[1:] == (16, 24, 14)
    assert set(accounting.used) | set(accounting.unused) == set(weights)
    assert accounting.initial == ("final_layer",)
    assert {"classifier.bias", "final_layer.0.weight", "stage4.0.fuse_layers.2.0.0.0.weight"} <= set(accounting.unused)
    assert "stage4.0.fuse_layers.0.1.0.weight" in accounting.used
    assert any("keeps random weights" in line for line in accounting.lines())
    assert hrnet_checkpoint.convert(weights, None, (64, 96))[1].get_skeleton() == HUMAN36M_17
    stem = model.get_layer("hrnet").get_layer("conv2").kernel.numpy()
    np.testing.assert_array_equal(stem, network.conv2.weight.detach().numpy().transpose(2, 3, 1, 0))


def test_keypoints_are_read_where_official_targets_put_them():
    model, _, _ = hrnet_checkpoint.convert(tiny_weights(), input_size=(64, 96))
    plain = build_keypoint_model(PoseModelConfig("w8_tiny", "coco_17", (64, 96), soft_argmax_beta=20.0))
    plain.get_layer("hrnet").set_weights(model.get_layer("hrnet").get_weights())
    image = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3)).astype(np.uint8)
    to_left_px = (np.asarray(plain(image)["keypoints_2d"]) - np.asarray(model(image)["keypoints_2d"])) * [96, 64]
    np.testing.assert_allclose(to_left_px, 1.5, atol=1e-4)  # a peak at pixel index 4 i, not in the middle of cell i


WRAPS = ["plain", "state_dict", "module", "parameters"]


@pytest.mark.parametrize(
    "file,wrap",
    [(file, wrap) for file in ("zip.pth", "legacy.pth") for wrap in WRAPS]
    + [("flat.safetensors", w) for w in WRAPS[::2]],
)
def test_files_of_all_kinds_hold_the_same_weights(tmp_path, file, wrap):
    weights = torch_hrnet.build(TINY, 17).state_dict()
    values = {
        "plain": weights,
        "state_dict": {"epoch": 3, "state_dict": weights, "perf": np.float64(0.9)},
        "module": {f"module.{name}": value for name, value in weights.items()},
        "parameters": {k: torch.nn.Parameter(v) if v.is_floating_point() else v for k, v in weights.items()},
    }[wrap]
    path = tmp_path / file
    if file.endswith(".safetensors"):
        save_file(values, path)
    else:
        torch.save(values, path, _use_new_zipfile_serialization=file.startswith("zip"))
    found = hrnet_checkpoint.read_checkpoint(path)
    assert set(found) == set(weights)
    for name, value in weights.items():
        np.testing.assert_array_equal(found[name], value.numpy())


def change(weights: dict, name: str, value) -> dict:
    changed = {k: v for k, v in weights.items() if k != name}
    return changed if value is None else {**changed, name: value}


@pytest.mark.parametrize(
    "name,value,named",
    [
        ("stage3.0.branches.2.0.conv1.weight", None, "stage3_0_branches_2_0_conv1"),
        ("bn2.running_var", None, "moving_variance of bn2"),
        ("final_layer.bias", None, "bias of final_layer"),
        ("layer1.0.conv2.weight", np.zeros((8, 8, 5, 5), np.float32), "layer1_0_conv2"),
        ("bn1.weight", np.full(16, np.nan, np.float32), "bn1"),
        ("attention.weight", np.zeros((3, 3), np.float32), "attention.weight"),
        ("conv1.weight", None, "conv1.weight"),
        ("conv1.weight", np.zeros((24, 3, 3, 3), np.float32), "not one of"),
        ("final_layer.weight", np.zeros((21, 8, 1, 1), np.float32), "--skeleton"),
    ],
)
def test_weights_that_do_not_fit_are_named(name, value, named):
    with pytest.raises(UserError, match=named):
        hrnet_checkpoint.convert(change(tiny_weights(), name, value), input_size=(64, 64))


def test_another_skeleton_than_the_heatmaps_is_refused():
    with pytest.raises(UserError, match="final_layer"):
        hrnet_checkpoint.convert(tiny_weights(17), MPII_16, (64, 64))


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0{}", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}"])
def test_broken_safetensors_are_named(tmp_path, content):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="a.safetensors"):
        hrnet_checkpoint.read_checkpoint(path)


@pytest.mark.parametrize("file", ["none.pth", "none.safetensors"])
def test_missing_files_are_named(tmp_path, file):
    with pytest.raises(UserError, match=f"no file .*{file}"):
        hrnet_checkpoint.read_checkpoint(tmp_path / file)
