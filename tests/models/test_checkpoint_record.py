"""HRNet in the files of other training frameworks, built here with PyTorch as those frameworks do."""

import numpy as np
import pytest
import torch

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import COCO_17, HUMAN36M_17, MPII_16
from keras_pose.models import hrnet_checkpoint
from keras_pose.models.checkpoint_record import find_record
from keras_pose.models.hrnet import VARIANTS
from keras_pose.studies.benchmark import torch_hrnet
from tests.models.test_hrnet_checkpoint import relative_difference, tiny_weights

SIZE = (64, 96)
NAMES = ("conv1.weight", "transition1.0.0.weight", "stage2.0.branches.0.0.bn1.bias")
RGB = "model = dict(data_preprocessor=dict(type='PoseDataPreprocessor', mean=[123.675, 116.28, 103.53], "
RGB += "std=[58.395, 57.12, 57.375], bgr_to_rgb=True))\n"
BGR = RGB.replace("123.675, 116.28, 103.53", "103.53, 116.28, 123.675").replace("True", "False")
BGR = BGR.replace("58.395, 57.12, 57.375", "57.375, 57.12, 58.395")
OLD = "test_pipeline = [dict(type='LoadImageFromFile'), dict(type='TopDownAffine'), dict(type='ToTensor'),\n"
OLD += "    dict(type='NormalizeTensor', mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])]\n"
OLD += "data = dict(test=dict(type='TopDownCocoDataset', pipeline=test_pipeline))\n"


OLD_BGR = OLD.replace("'LoadImageFromFile'", "'LoadImageFromFile', channel_order='bgr'")
OLD_BGR = OLD_BGR.replace("0.485, 0.456, 0.406", "0.406, 0.456, 0.485").replace(
    "0.229, 0.224, 0.225", "0.225, 0.224, 0.229"
)


def trunk(prefix: str = "", value: float = 1.0) -> dict[str, np.ndarray]:
    return {prefix + name: np.full((4, 3, 3, 3), value, np.float32) for name in NAMES}


def mmpose(weights: dict, head: str = "head.") -> dict:
    """Official names to MMPose's."""
    return {(head if name.startswith("final_layer") else "backbone.") + name: w for name, w in weights.items()}


def saved(tmp_path, values):
    torch.save(values, tmp_path / "a.pth")
    return tmp_path / "a.pth"


CONTAINERS = {
    "mmpose 1.x": lambda w: {"meta": {"mmengine_version": "0.10"}, "state_dict": mmpose(w), "message_hub": {}},
    "mmpose 0.x": lambda w: {"meta": {"mmcv_version": "1.7"}, "state_dict": mmpose(w, "keypoint_head.")},
    "mmpose, published": lambda w: {"state_dict": mmpose(w)},
    "mmpose, DataParallel": lambda w: {"state_dict": {f"module.{k}": v for k, v in mmpose(w).items()}},
    "lightning, model": lambda w: {"epoch": 1, "state_dict": {f"model.{k}": v for k, v in w.items()}, "loops": {}},
    "lightning, net": lambda w: {"state_dict": {f"net.{k}": v for k, v in w.items()} | {"loss.w": torch.ones(3)}},
    "lightning around mmpose": lambda w: {"state_dict": {f"model.{k}": v for k, v in mmpose(w).items()}},
    "compiled": lambda w: {"model": {f"_orig_mod.{k}": v for k, v in w.items()}},
    "DataParallel, compiled": lambda w: {f"module._orig_mod.{k}": v for k, v in w.items()},
    "nested": lambda w: {"trainer": {"model": {"weights": w}}, "optimizer": {"state": {0: {"avg": torch.ones(3)}}}},
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_trainers_container_gives_the_same_weights(tmp_path, name):
    weights = torch_hrnet.build(VARIANTS["w8_tiny"], 17).state_dict()
    found = hrnet_checkpoint.read_checkpoint(saved(tmp_path, CONTAINERS[name](weights)))
    assert set(found) == set(weights)
    for key, value in weights.items():
        np.testing.assert_array_equal(found[key], value.numpy())
    assert any("assumed, because the file does not say: RGB" in note for note in found.notes)


@pytest.mark.parametrize("name", ["mmpose 1.x", "mmpose 0.x"])
def test_an_mmpose_checkpoint_gives_the_networks_heatmaps(tmp_path, name):
    network = torch_hrnet.build(VARIANTS["w8_tiny"], 17)
    record = hrnet_checkpoint.read_checkpoint(saved(tmp_path, CONTAINERS[name](network.state_dict())))
    model, config, accounting = hrnet_checkpoint.convert(record, input_size=SIZE)
    assert relative_difference(network, model, SIZE) < 1e-4
    assert config.get_skeleton() == COCO_17 and not accounting.initial
    assert "joints: coco_17, assumed from their number" in accounting.lines()


AVERAGED = {
    "ema_state_dict": {"state_dict": trunk(value=1), "ema_state_dict": trunk(value=2)},
    "state_dict_ema, timm": {"state_dict": trunk(value=1), "state_dict_ema": trunk(value=2)},
    "model_ema": {"model": trunk(value=1), "model_ema": trunk("module.", 2)},
    "ema, nested": {"model": trunk(value=1), "ema": {"decay": 0.99, "shadow": trunk(value=2)}},
    "prefixes of one dict": {"state_dict": trunk("model.", 1) | trunk("ema_model.module.", 2)},
    "prefixes, one without": {"state_dict": trunk("", 1) | trunk("ema.", 2)},
    "swa": {"model": trunk(value=1), "swa_model": trunk("module.", 2) | {"n_averaged": np.array(5)}},
    "mmengine exchanges them": {
        "meta": {"mmengine_version": "0.10.4"},
        "state_dict": trunk("backbone.", 2),
        "ema_state_dict": trunk("module.backbone.", 1) | {"steps": np.array(7)},
    },
    "lightning exchanges them": {
        "state_dict": trunk("net.", 2),
        "current_model_state": trunk("net.", 1),
        "averaging_state": {"n_averaged": np.array(3)},
    },
}


@pytest.mark.parametrize("name", AVERAGED)
def test_averaged_weights_are_used_and_reported(name):
    record = find_record(AVERAGED[name])
    assert set(record) == set(NAMES)
    assert all((weight == 2).all() for weight in record.values())
    assert "averaged" in record.notes[0]
    assert len([why for why in record.unused.values() if "another copy" in why]) == len(NAMES)


def test_mmcvs_buffers_are_the_raw_weights():
    raw = {"ema_" + name.replace(".", "_"): value for name, value in trunk("backbone.", 1).items()}
    record = find_record({"state_dict": trunk("backbone.", 2) | raw})
    assert set(record) == set(NAMES) and all((weight == 2).all() for weight in record.values())
    assert set(raw) <= set(record.unused)


def test_two_networks_are_not_chosen_between():
    with pytest.raises(UserError, match=r"more than one HRNet, .*teacher\.\* and .*student\.\*; save the state_dict"):
        find_record({"state_dict": trunk("teacher.") | trunk("student.")})


@pytest.mark.parametrize(
    ("values", "seen"),
    [
        ({"state_dict": {"backbone.layer1.0.conv1.weight": np.ones(3)}}, r"backbone\.layer1\.0\.conv1\.weight \(1 in"),
        ({f"encoder.{i}": np.ones(3) for i in range(20)}, r"encoder\.0, encoder\.1, .*encoder\.19 \(20\)"),
    ],
)
def test_names_that_do_not_fit_are_listed(values, seen):
    with pytest.raises(UserError, match=f"it is not an HRNet.*its names are {seen}"):
        find_record(values)


@pytest.mark.parametrize("values", [{}, [], None, {"state_dict": {}}, {"model": "w32"}])
def test_no_weights_are_named(values):
    with pytest.raises(UserError, match="no named weights"):
        find_record(values)


def test_a_head_of_another_kind_is_not_used():
    weights = trunk("backbone.") | {"head.deconv_layers.0.weight": np.ones(3), "head.final_layer.weight": np.ones(3)}
    record = find_record({"state_dict": weights})
    assert set(record) == set(NAMES)
    assert "not a single convolution" in record.unused["head.final_layer.weight"]


# --- images and heatmaps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["cfg", "config"])
@pytest.mark.parametrize("config", [RGB, OLD])
def test_official_preprocessing_is_reported_and_changes_nothing(key, config):
    record = find_record({"meta": {key: config}, "state_dict": trunk("backbone.")})
    assert any("according to the file: RGB" in note for note in record.notes)
    np.testing.assert_array_equal(record["conv1.weight"], trunk()["conv1.weight"])


@pytest.mark.parametrize(
    ("config", "order", "factor"),
    [
        (BGR, [2, 1, 0], 1.0),
        (RGB.replace("58.395, 57.12, 57.375", "116.79, 114.24, 114.75"), [0, 1, 2], 0.5),
        (OLD_BGR, [2, 1, 0], 1.0),
    ],
)
def test_other_images_are_converted_so_that_the_heatmaps_are_the_same(config, order, factor):
    network = torch_hrnet.build(VARIANTS["w8_tiny"], 17)
    theirs = {name: value.numpy() for name, value in network.state_dict().items()}
    theirs["conv1.weight"] = theirs["conv1.weight"][:, order] / factor  # takes what the configuration says
    record = find_record({"meta": {"cfg": config}, "state_dict": mmpose(theirs)})
    np.testing.assert_allclose(record["conv1.weight"], network.conv1.weight.detach().numpy(), rtol=1e-3)
    assert any("converted" in note for note in record.notes)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (RGB.replace("123.675", "127.5"), "the mean 127.5, 116.28, 103.53 .RGB., not ImageNet's"),
        (RGB.replace("True", "False"), "the mean .* .BGR., not ImageNet's"),
        ("codec = dict(type='UDPHeatmap', sigma=2)\n" + RGB, "UDP's heatmaps"),
        (RGB + "train_pipeline = [dict(type='TopdownAffine', use_udp=True)]", "UDP's heatmaps"),
        ("model = dict(test_cfg=dict(flip_test=True, use_udp=True))", "UDP's heatmaps"),
    ],
)
def test_unconvertible_checkpoints_are_refused(config, message):
    with pytest.raises(UserError, match=message):
        find_record({"meta": {"config": config}, "state_dict": trunk("backbone.")})


@pytest.mark.parametrize("config", ["import os\nos.remove('a')", "a = (", "x = " + "[" * 5000, "a = 9**9**9", 7, None])
def test_a_configuration_is_never_run_and_may_be_broken(config):
    record = find_record({"meta": {"cfg": config}, "state_dict": trunk("backbone.")})
    assert any("assumed" in note for note in record.notes)


@pytest.mark.parametrize(
    ("meta", "joints", "expected"),
    [
        ({"dataset_meta": {"dataset_name": "h36m"}}, 17, HUMAN36M_17),
        ({"dataset_meta": {"dataset_name": "coco"}}, 17, COCO_17),
        ({"cfg": "dataset_type = 'MpiiDataset'"}, 16, MPII_16),
        ({"config": "data = dict(train=dict(dataset_type='Human36mDataset'))"}, 17, HUMAN36M_17),
        ({}, 16, MPII_16),
        ({"dataset_meta": {"dataset_name": "posetrack18"}}, 17, "posetrack18.*--skeleton"),
        ({"dataset_meta": {"dataset_name": "coco"}}, 16, "16 heatmaps are for data set 'coco'"),
    ],
)
def test_the_joints_are_those_of_the_data_set_that_the_file_names(meta, joints, expected):
    record = find_record({"meta": meta, "state_dict": mmpose(tiny_weights(joints))})
    if isinstance(expected, str):
        with pytest.raises(UserError, match=expected):
            hrnet_checkpoint.convert(record, input_size=SIZE)
    else:
        assert hrnet_checkpoint._published_skeleton(record["final_layer.weight"], record.dataset) == expected
