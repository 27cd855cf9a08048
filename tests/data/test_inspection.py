import dataclasses
import json

import cv2
import numpy as np
import pytest

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import COCO_17, HUMAN36M_17, map_joints
from keras_pose.data import inspect, inspection, shards
from keras_pose.data.example import PoseExample
from tests.conftest import make_example, write_dataset
from tests.poses import STANDING_MM

SIZE = (96, 128)


def people(count: int = 40, seed: int = 0, **changes) -> list[PoseExample]:
    """A standing person with bent knees who mostly faces the camera, seen from many sides."""
    rng = np.random.default_rng(seed)
    intrinsics = np.array([[160.0, 0, 64], [0, 160.0, 48], [0, 0, 1]])
    examples = []
    for i in range(count):
        angle = rng.uniform(-1.9, 1.9)
        turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        pose, root = STANDING_MM @ turn.T, np.array([0.0, 0, 4000])
        values = {"pose_3d_mm": pose, "root_position_mm": root, "intrinsics": intrinsics, "image_size": SIZE}
        values["keypoints_2d_px"] = geometry.project_points(pose + root, intrinsics)
        examples.append(make_example(rng, i, **(values | changes)))
    return examples


def problems(examples, skeleton=HUMAN36M_17) -> list[str]:
    return inspection.find_problems(inspection.collect(examples, skeleton))


def changed(examples, change) -> list[PoseExample]:
    return [dataclasses.replace(example, **change(example)) for example in examples]


def swap(example: PoseExample) -> dict:
    order = list(HUMAN36M_17.flip_permutation)
    return {"pose_3d_mm": example.pose_3d_mm[order], "keypoints_2d_px": example.keypoints_2d_px[order]}


def test_right_labels_look_right():
    assert problems(people()) == []


def test_people_without_a_joint_in_2d_and_3d_do_not_hide_wrong_cameras():
    """Six in ten have no joint with both labels; 3D poses of the others project onto other joints."""
    mirrored = list(HUMAN36M_17.flip_permutation)
    wrong = changed(people(16), lambda e: {"pose_3d_mm": e.pose_3d_mm[mirrored]})
    only_3d = changed(people(24, seed=1), lambda e: {"keypoint_valid": np.zeros(17, bool)})
    assert any("project" in line for line in problems(wrong + only_3d))


@pytest.mark.parametrize(
    "change,seen",
    [
        (swap, "knees bend backward"),
        (swap, "left and right may be swapped"),
        (lambda e: {"pose_3d_mm": e.pose_3d_mm * [1, 1, -1]}, "knees bend backward"),
        (lambda e: {"pose_3d_mm": e.pose_3d_mm[list(HUMAN36M_17.flip_permutation)]}, "project"),
        (lambda e: {"pose_3d_mm": e.pose_3d_mm / 2.54}, "check the unit"),
        (lambda e: {"pose_3d_mm": e.pose_3d_mm / 1000}, "millimeters"),
        (lambda e: {"keypoints_2d_px": e.keypoints_2d_px + [60, 0]}, "outside their crop"),
        (lambda e: {"keypoints_2d_px": [0, 96] + e.keypoints_2d_px * [1, -1]}, "heads are below ankles"),
        (lambda e: {"keypoints_2d_px": e.keypoints_2d_px * np.nan}, "NaN"),
        (lambda e: {"keypoint_valid": np.arange(17) != 9}, "never labeled: neck_nose"),
        (lambda e: {"image_jpeg": e.image_jpeg[:200]}, "does not decode"),
    ],
)
def test_problems_are_reported(change, seen):
    found = problems(changed(people(), change))
    assert any(seen in line for line in found), found
    assert all("\n" not in line for line in found)


def test_swapped_sides_show_in_images_without_3d():
    def flat(example: PoseExample, order) -> PoseExample:
        keypoints, valid = map_joints(example.keypoints_2d_px[order], np.ones(17, bool), HUMAN36M_17, COCO_17)
        values = {"skeleton": "coco_17", "pose_3d_valid": np.zeros(17, bool), "pose_3d_mm": np.zeros((17, 3))}
        return dataclasses.replace(
            example, keypoints_2d_px=keypoints, keypoint_valid=valid, keypoint_hidden=np.zeros(17, bool), **values
        )

    straight, order = np.arange(17), list(HUMAN36M_17.flip_permutation)
    assert not any("swapped" in p for p in problems([flat(e, straight) for e in people()], COCO_17))
    assert any("swapped" in p for p in problems([flat(e, order) for e in people()], COCO_17))


def test_3d_labels_of_some_joints_look_right():
    """Joints without a 3D label are anywhere: no figure and no check takes notice, nor is one drawn."""
    lacking = [HUMAN36M_17.index(name) for name in ("spine", "thorax", "neck_nose", "head_top")]
    valid = ~np.isin(np.arange(17), lacking)

    def part(example: PoseExample) -> dict:
        return {"pose_3d_valid": valid, "pose_3d_mm": np.where(valid[:, None], example.pose_3d_mm, 5e3)}

    examples = changed(people(), part)
    assert problems(examples) == []
    summary, whole = (inspection.summarize(inspection.collect(e, HUMAN36M_17)) for e in (examples, people()))
    assert summary["pose_3d_share"] == whole["pose_3d_joint_share"] == 1
    assert summary["pose_3d_joint_share"] == pytest.approx(13 / 17, abs=1e-4)
    bones = summary["bone_median_mm"]
    assert bones == {name: whole["bone_median_mm"][name] for name in bones} and len(bones) == 10
    assert summary["radius_range_mm"] == whole["radius_range_mm"]
    assert summary["reprojection_median_crop_heights"] < 1e-4
    elsewhere = changed(examples, lambda e: {"pose_3d_mm": np.where(valid[:, None], e.pose_3d_mm, -5e3)})
    np.testing.assert_array_equal(*(inspect.draw_example(e[0], HUMAN36M_17) for e in (examples, elsewhere)))
    unit = changed(examples, lambda e: {"pose_3d_mm": e.pose_3d_mm / 2.54})
    assert any("check the unit" in line for line in problems(unit))


def test_numbers_are_of_the_labels():
    examples = people(keypoint_valid=np.arange(17) < 10, keypoint_hidden=np.arange(17) < 5)
    summary = inspection.summarize(inspection.collect(examples, HUMAN36M_17))
    assert summary["examples"] == 40 and summary["subjects"] == 3 and summary["actions"] == 2
    assert summary["labelled_share"] == pytest.approx(10 / 17, abs=1e-4) and summary["hidden_share"] == 0.5
    assert summary["outside_share"] == 0 and summary["pose_3d_share"] == 1
    thigh = np.linalg.norm(STANDING_MM[2] - STANDING_MM[1])
    assert summary["bone_median_mm"]["right_hip-right_knee"] == round(float(thigh))
    assert summary["distance_range_mm"] == [4000, 4000] and summary["reprojection_median_crop_heights"] < 1e-4


def write(folder, examples) -> str:
    half = len(examples) // 2
    parts = {"train": examples[:half], "test": examples[half:]}
    splits = {
        name: tuple(shards.write_shard(folder / shards.shard_name(name, i, 2), part[i::2]) for i in range(2))
        for name, part in parts.items()
    }
    generator = {"name": "tests", "version": "1", "command": ""}
    shards.write_manifest(folder, shards.Manifest("toy", HUMAN36M_17, SIZE, splits, generator))
    return str(folder)


def test_data_without_examples_are_one_line(tmp_path):
    entry = shards.write_shard(tmp_path / shards.shard_name("train", 0, 1), iter(()))
    manifest = shards.Manifest("empty", HUMAN36M_17, (64, 96), {"train": (entry,)}, {"name": "tests"})
    shards.write_manifest(tmp_path, manifest)
    with pytest.raises(UserError, match="has no examples to draw"):
        inspect.inspect(str(tmp_path), str(tmp_path / "sheet.png"))


def test_inspect_draws_a_sheet_and_writes_the_numbers(tmp_path, capsys):
    spec = write(tmp_path / "data", changed(people(), swap))
    found = inspect.inspect(spec, str(tmp_path / "sheet.png"), pictures=8, json_path=tmp_path / "numbers.json")
    assert json.loads((tmp_path / "numbers.json").read_text()) == found
    assert found["splits"]["train"]["count"] == 20
    printed = capsys.readouterr().out
    assert "looks wrong: train: knees" in printed and "share 3 subjects" in printed
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape[0] > 2 * 160 and sheet.std() > 20


def test_large_splits_are_sampled(tmp_path):
    spec = write(tmp_path / "data", people())
    found = inspect.inspect(spec, str(tmp_path / "sheet.png"), pictures=4, limit=6)
    assert found["splits"]["train"]["examples"] == 6 and found["splits"]["train"]["count"] == 20


def test_poses_without_images_are_drawn(tmp_path):
    folder = write_dataset(tmp_path / "poses", {"train": 6}, image_jpeg=b"")
    assert inspect.inspect(str(folder), str(tmp_path / "sheet.png"))["splits"]["train"]["examples"] == 6


@pytest.mark.parametrize("arguments", [[], ["a", "b"]])
def test_one_data_set_must_be_named(arguments):
    with pytest.raises(UserError, match="name one data set"):
        inspect.main(arguments)
