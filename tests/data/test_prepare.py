"""The command keras_pose.data.prepare, from the outside, on the simplest of its sources."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.data import prepare, shards
from keras_pose.data.sources import SOURCES, get_source
from keras_pose.data.sources.base import Item, Options, optional_import
from keras_pose.io.folder_lock import LOCK, locked
from tests.conftest import ROOT
from tests.data.sources import toy


@pytest.fixture(scope="module")
def download(tmp_path_factory):
    """150 pictures with poses for training, 10 for validation, in the form of Human3.6M's challenge."""
    folder = tmp_path_factory.mktemp("challenge")
    for part, count in (("Train", 150), ("Val", 10)):
        (folder / part / "POSE").mkdir(parents=True)
        for i in range(1, count + 1):
            pose = np.random.default_rng(i).uniform(-500, 500, (17, 3))
            np.savetxt(folder / part / "POSE" / f"{i:05d}.csv", pose - pose[0], delimiter=",")
            toy.write_picture(folder / part / "IMG" / f"{i:05d}.jpg", np.full((40, 30, 3), i % 256, np.uint8))
    return folder


def command(*arguments):
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    line = [sys.executable, "-m", "keras_pose.data.prepare", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, env=environment, timeout=120)


def test_the_list_tells_each_source_in_a_line():
    result = command("--source=list")
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == list(SOURCES)
    assert all(" Terms: " in line for line in lines)


def test_the_command_converts_in_parallel_and_a_second_run_finds_it_done(download, tmp_path):
    arguments = ["--source=human36m_challenge", f"--input={download}", f"--output={tmp_path / 'out'}"]
    arguments += ["--image_size=64x32", "--workers=2", "--shard_size=50"]
    result = command(*arguments)
    assert result.returncode == 0, result.stderr
    assert "train: 150 frames\nvalidation: 10 frames" in result.stdout
    manifest = shards.read_manifest(tmp_path / "out")
    shards.check_shards(tmp_path / "out", manifest, checksums=True)
    assert manifest.image_size == (64, 32) and manifest.count("train") == 150
    assert "academic" in manifest.licences[0]["licence"] and "--image_size=64x32" in manifest.generator["command"]
    assert "is complete already" in command(*arguments).stdout
    assert json.loads((tmp_path / "out" / "settings.json").read_text())["teacher"] is None  # as in older folders
    other = command(*arguments, "--frame_step=2")
    assert other.returncode == 2
    assert re.fullmatch(r"error: .* was started with frame_step 1, now it is 2; .*\n", other.stderr)


def test_a_stopped_run_goes_on_to_the_same_bytes(download, tmp_path):
    arguments = ["--source=human36m_challenge", f"--input={download}", "--image_size=512", "--shard_size=5"]
    line = [sys.executable, "-m", "keras_pose.data.prepare", *arguments, "--workers=2", f"--output={tmp_path / 'a'}"]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    process = subprocess.Popen(
        line,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job starts with it ignored
    )
    while not any((tmp_path / "a").glob("*.tfrecord")):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130 and process.stderr.read().endswith("stopped\n")
    assert not (tmp_path / "a" / "manifest.json").exists()
    for folder in ("a", "b"):
        assert command(*arguments, "--workers=1", f"--output={tmp_path / folder}").returncode == 0
    assert shards.read_manifest(tmp_path / "a").digest() == shards.read_manifest(tmp_path / "b").digest()


def test_a_folder_that_another_process_fills_is_refused(download, tmp_path):
    with locked(tmp_path), pytest.raises(UserError, match="is being written by process"):
        prepare.prepare(get_source("human36m_challenge"), download, tmp_path, Options((64, 32)))
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source=human36n"], "--input is missing"),
        (["--source=human36n", "--input=.", "--output=x"], "unknown source 'human36n'; known: .*human36m,"),
        (["--source=human36m", "--input=nowhere", "--output=x"], "--input=nowhere is not a folder; human36m needs"),
        (["--source=human36m", "--input=.", "--output=x", "--image_size=256x"], "--image_size=256x is neither"),
        (["--source=human36m", "--input=.", "--output=x", "--skeleton=cat"], "unknown skeleton 'cat'"),
        (["--source=human36m", "--input=.", "--output=x", "--items=7:7"], "--items=7:7 is not START:STOP"),
        (["--source=human36m", "data"], "unexpected argument 'data'"),
    ],
)
def test_mistakes_get_one_line(arguments, message):
    result = command(*arguments)
    assert result.returncode == 2
    assert re.match(f"error: .*{message}", result.stderr) and result.stderr.count("\n") == 1


def test_few_bad_frames_are_left_out_with_a_count_and_a_list(download, tmp_path, capsys):
    broken = tmp_path / "in"
    broken.mkdir()
    for part in ("Train", "Val"):
        (broken / part).mkdir()
        (broken / part / "POSE").symlink_to(download / part / "POSE")
        (broken / part / "IMG").mkdir()
        for path in (download / part / "IMG").iterdir():
            (broken / part / "IMG" / path.name).symlink_to(path)
    (broken / "Train/IMG/00077.jpg").unlink()
    examples = toy.convert("human36m_challenge", broken, tmp_path / "out")
    assert 77 not in {e.frame for e in examples["train"]} and len(examples["train"]) == 149
    assert "1 bad frames left out" in capsys.readouterr().out
    assert "00077.jpg: the image is missing" in (tmp_path / "out/bad_frames.txt").read_text()


def test_a_changed_input_is_noticed_before_it_mixes_with_the_old(download, tmp_path):
    source = get_source("human36m_challenge")
    prepare.prepare(source, download, tmp_path / "out", toy.SMALL, limit=3)
    with pytest.raises(UserError, match="started with limit 3, now it is 4"):
        prepare.prepare(source, download, tmp_path / "out", toy.SMALL, limit=4)
    fewer = tmp_path / "in"
    for part in ("Train", "Val"):
        (fewer / part / "POSE").mkdir(parents=True)
        (fewer / part / "IMG").symlink_to(download / part / "IMG")
        (fewer / part / "POSE/00002.csv").symlink_to(download / part / "POSE/00002.csv")
    with pytest.raises(UserError, match="started with input_listing"):
        prepare.prepare(source, fewer, tmp_path / "out", toy.SMALL, limit=3)


@pytest.mark.parametrize("limit", [1, 3, 7, 1000])
def test_a_limit_spreads_over_the_items_of_each_split(limit):
    items = [Item("train", f"S{i}", "", 20, "") for i in range(5)] + [Item("test", "S9", "", 4, "")]
    limited = prepare.limit_items(items, limit)
    train = [item.frames for item in limited if item.split == "train"]
    assert sum(train) == min(limit, 100) and max(train) - min(train) <= 1
    assert len(train) == min(limit, 5)
    assert sum(item.frames for item in limited if item.split == "test") == min(limit, 4)


def test_image_sizes_are_height_by_width():
    assert prepare.parse_image_size("256") == (256, 256)
    assert prepare.parse_image_size("256x192") == (256, 192)
    for text in ("", "x", "1", "256x192x3", "-256", "9999"):
        with pytest.raises(UserError):
            prepare.parse_image_size(text)


def test_a_missing_library_names_its_extra():
    with pytest.raises(UserError, match=r"needs no_such_library; run: pip install 'keras_pose\[data\]'"):
        optional_import("no_such_library")


def test_the_margin_widens_the_crop(tmp_path):
    from tests.data.sources.test_mpi_inf_3dhp import write_test

    write_test(tmp_path / "in/TS1")
    sizes = []
    for margin in (1.0, 2.0):
        options = Options((64, 64), margin=margin)
        example = toy.convert("mpi_inf_3dhp", tmp_path / "in", tmp_path / str(margin), options)["test"][0]
        sizes.append(np.ptp(example.keypoints_2d_px, axis=0).max())
    np.testing.assert_allclose(sizes, [64, 32], rtol=1e-4)
