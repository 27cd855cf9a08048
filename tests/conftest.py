"""Shared by several test modules: small data sets, and the rule for missing data."""

import gc
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest

from keras_pose.core import geometry
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data import shards
from keras_pose.data.example import PoseExample, encode_jpeg

ROOT = Path(__file__).parent.parent

# Files that take a minute or more. They run first: at the end, one of them would keep one process busy and the other
# idle.
SLOW_FILES = [
    "training/test_kill.py",
    "training/test_workers.py",
    "training/test_trainer.py",
    "training/test_replicas.py",
    "studies/benchmark/test_contest.py",
    "studies/benchmark/test_rows.py",
    "data/test_service.py",
    "exporters/test_files.py",
    "exporters/test_commands.py",
    "test_train.py",
    "test_backends.py",
    "faults/test_fuzz.py",
    "studies/test_ablation.py",
    "studies/test_lifter_study.py",
    "models/test_hrnet_checkpoint.py",
]


# The tests of `make test-fast` (`--fast`): the laws of every part. Training, conversions, browsers and new processes
# that import TensorFlow are left out.
FAST = [
    "core/test_geometry.py",
    "core/test_skeleton.py",
    "data/sources",
    "data/test_augment.py",
    "data/test_inspection.py",
    "data/test_order.py",
    "data/test_pipeline.py",
    "data/test_shards.py",
    "evaluation/test_metrics.py",
    "flags",
    "inference",
    "io",
    "losses",
    "mobile_demo/test_addresses.py",
    "mobile_demo/test_models.py",
    "models/test_decoders.py",
    "models/test_pose_autoencoder.py",
    "models/test_soft_argmax.py",
    "synthetic/body",
    "synthetic/motion",
    "synthetic/render",
    "test_documents.py",
    "test_imports.py",
    "training/test_cluster.py",
    "training/test_optimizer.py",
    "training/test_schedule.py",
    "visualization",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="run only the quick tests, in under four minutes")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `--fast`, files outside `FAST` are not even imported."""
    if not config.getoption("--fast") or not collection_path.name.startswith("test_"):
        return None
    name = collection_path.relative_to(ROOT / "tests").as_posix()
    return None if any(name == fast or name.startswith(f"{fast}/") for fast in FAST) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {ROOT / "tests" / name: rank for rank, name in enumerate(SLOW_FILES)}
    assert all(path.is_file() for path in ranks)
    assert all((ROOT / "tests" / name).exists() for name in FAST)
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.fixture(scope="module", autouse=True)
def light_collections():
    """Freezes objects that a file's tests leave behind (traced functions, Keras' names), to keep collection fast."""
    yield
    gc.collect()
    gc.freeze()


def shared_data(name: str) -> Path:
    """A file or folder of ../shared/data; skips if it is absent, fails if CI promises it."""
    path = ROOT.parent / "shared" / "data" / name
    if not path.exists():
        message = f"needs ../shared/data/{name}, which is not here"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return path


def make_example(
    rng: np.random.Generator, index: int = 0, image_size: tuple[int, int] = (64, 96), **changes
) -> PoseExample:
    """A person-sized random cloud of 17 joints seen by a camera, with bright dots at the joints as the image."""
    height, width = image_size
    pose = rng.normal(0, 300, (17, 3)).astype(np.float32)
    pose[0] = 0
    root = np.array([rng.uniform(-300, 300), rng.uniform(-300, 300), 4000.0], np.float32)
    focal = 1.5 * height
    intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], np.float32)
    keypoints = geometry.project_points(pose + root, intrinsics)
    image = rng.integers(0, 60, (height, width, 3)).astype(np.uint8)
    for j, (x, y) in enumerate(keypoints):
        if 0 <= x < width and 0 <= y < height:
            image[int(y), int(x)] = (255, 15 * j, 255 - 15 * j)
    values = {
        "image_jpeg": encode_jpeg(image),
        "image_size": image_size,
        "keypoints_2d_px": keypoints,
        "keypoint_valid": np.ones(17, bool),
        "keypoint_hidden": np.arange(17) % 5 == 0,
        "pose_3d_mm": pose,
        "pose_3d_valid": np.ones(17, bool),
        "root_position_mm": root,
        "intrinsics": intrinsics,
        "subject": f"s{index % 3}",
        "action": ("walk", "sit")[index % 2],
        "frame": index,
        "source": "toy",
        "difficulty": index / 64,
    }
    return PoseExample(**(values | changes))


def write_dataset(directory: Path, counts: dict[str, int], seed: int = 0, shard_size: int = 7, **changes) -> Path:
    """Writes a small data set of random examples; `changes` go to every example."""
    rng = np.random.default_rng(seed)
    splits = {}
    for split, count in counts.items():
        total = -(-count // shard_size)
        splits[split] = tuple(
            shards.write_shard(
                directory / shards.shard_name(split, s, total),
                (make_example(rng, i, **changes) for i in range(s * shard_size, min(count, (s + 1) * shard_size))),
            )
            for s in range(total)
        )
    size = changes.get("image_size", (64, 96))
    manifest = shards.Manifest("toy", HUMAN36M_17, size, splits, {"name": "tests", "version": "1", "command": ""})
    shards.write_manifest(directory, manifest)
    return directory


@pytest.fixture(scope="session")
def toy_dataset(tmp_path_factory) -> Path:
    """64 x 96 images of random joints: 24 for training, 10 for validation, 6 for the test."""
    return write_dataset(tmp_path_factory.mktemp("toy"), {"train": 24, "validation": 10, "test": 6})
