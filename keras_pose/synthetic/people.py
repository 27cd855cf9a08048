"""The people of a generator: a pool of dressed bodies per split, and their poses."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from keras_pose.synthetic.body.assets import load_body_assets
from keras_pose.synthetic.body.clothes import load_wardrobe
from keras_pose.synthetic.body.person import sample_person
from keras_pose.synthetic.motion.poses import load_pose_library
from keras_pose.synthetic.render.mesh import PosedPerson

# Dressing a body takes 0.1 s and a few MB, so the examples of a block share a few bodies.
BODIES_PER_BLOCK = 16
EXAMPLES_PER_BLOCK = 512


@dataclass(frozen=True)
class Appearance:
    """A person in a pose, and its origin: `subject` names the body, `action` and `frame` the motion."""

    posed: PosedPerson
    subject: str
    action: str
    frame: int


class People:
    """MakeHuman bodies in the poses of a library; raises UserError if an asset is missing or broken.

    Args:
        mocap: a folder or zip of BVH files, or None for only procedural poses.
        clothes_dir: a folder of MakeHuman clothes, or None for painted ones.
        seed: of the whole data set.
        bodies: split name -> number of bodies.
        drawn_pose_share: share of procedural instead of captured poses, 0 to 1.
    """

    def __init__(
        self,
        mocap: str | os.PathLike | None,
        clothes_dir: str | os.PathLike | None,
        seed: int,
        bodies: dict[str, int],
        drawn_pose_share: float,
    ):
        self._assets = load_body_assets()
        self._wardrobe = load_wardrobe(clothes_dir, self._assets)
        self._library = load_pose_library(mocap, seed, drawn_pose_share)
        self._seed, self._bodies = seed, bodies
        self._dressed: Callable = lru_cache(maxsize=3 * BODIES_PER_BLOCK)(self._dress)

    def sample(self, rng: np.random.Generator, split: str, index: int) -> Appearance:
        """One of the bodies available to example `index` of a split, in a pose drawn from `rng`."""
        body = int(rng.choice(block_bodies(self._seed, split, index, self._bodies[split])))
        pose = self._library.sample(rng, split)
        posed = self._dressed(split, body).pose(pose, rng)
        return Appearance(posed, f"{split}_body{body:04d}", pose.sequence, pose.frame)

    def _dress(self, split: str, body: int):
        rng = np.random.default_rng(seed_of(self._seed, "body", split, body))
        return sample_person(rng, self._assets, self._wardrobe)


def block_bodies(seed: int, split: str, index: int, bodies: int) -> np.ndarray:
    """The numbers of the bodies, out of `bodies` in the split, that the block of example `index` uses."""
    rng = np.random.default_rng(seed_of(seed, "block", split, index // EXAMPLES_PER_BLOCK))
    return rng.choice(bodies, min(bodies, BODIES_PER_BLOCK), replace=False)


def seed_of(seed: int, *purpose: str | int) -> np.random.SeedSequence:
    """The seed for one purpose, such as ("body", "train", 17): the same on every machine and in any order."""
    words = [part if isinstance(part, int) else int.from_bytes(part.encode(), "little") for part in purpose]
    return np.random.SeedSequence([seed, *words])
