"""The source of poses: motion capture, balanced over pose space, with or replaced by procedural poses."""

import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_pose.core.errors import UserError, unknown_name
from keras_pose.io.archives import check_archive
from keras_pose.io.bvh import is_motion_file, parse_bvh
from keras_pose.synthetic.body import rotation
from keras_pose.synthetic.body.rig import BONES, PARENTS, PoseSample, bone, t_pose_direction
from keras_pose.synthetic.motion.procedural_poses import KINDS, sample_kind
from keras_pose.synthetic.motion.retarget import mirror_pose, retarget

SPLITS = ("train", "validation", "test")
_HELD_OUT_SHARE = 0.1
_CLUSTERS = 96
_CLUSTERING_FRAMES = 6000
# A cluster of n frames is drawn with probability proportional to n to this power: 1 treats frames equally, 0 clusters.
_BALANCE = 0.3
# The share of a cluster's frames that count as extreme (farthest from its center), and how often only these are drawn.
_EXTREME_PART, _EXTREME_SHARE = 0.1, 0.2
_NOISE_DEG = {"Arm": 5.0, "UpLeg": 4.0, "Head": 8.0, "Neck": 4.0, "Hand": 8.0, "Foot": 5.0, "Spine": 3.0}
_NOISE_RAD = np.deg2rad([_NOISE_DEG.get(name.removeprefix("Left").removeprefix("Right"), 0.0) for name in BONES])
_HINGE_NOISE_DEG = 6.0
_HINGES = [bone(name) for name in ("LeftLeg", "RightLeg", "LeftForeArm", "RightForeArm")]
_HINGE_AXES = np.array([[1.0, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0]])  # axis about which each of `_HINGES` bends
_FINGERS = [bone("LeftFingers"), bone("RightFingers")]
_STRAIGHTENED_SHARE, _HARDLY_BENT_DEG = 0.35, 50.0
_FINGER_CURL_DEG = (-5.0, 70.0)


class PoseLibrary:
    """Poses in three splits by sequence; `load_pose_library` makes one from files.

    Args:
        motions: sequence name -> (F, len(BONES), 3, 3) local rotations; empty for only procedural poses.
        seed: of the clustering.
        procedural_share: share of procedural samples; raises UserError unless it is 0 to 1.
    """

    def __init__(self, motions: dict[str, np.ndarray], seed: int = 0, procedural_share: float = 0.15):
        if not 0 <= procedural_share <= 1:
            raise UserError(f"procedural_share is {procedural_share}; give a share from 0 to 1")
        self._procedural_share = procedural_share if motions else 1.0
        self._splits = _split(sorted(motions))
        self._frames = {}
        if motions:
            features = {name: pose_features(frames) for name, frames in motions.items()}
            centres = cluster_centres(np.concatenate(list(features.values())), np.random.default_rng(seed))
            self._frames = {
                split: _BalancedFrames({name: motions[name] for name in names}, features, centres)
                for split, names in self._splits.items()
                if names
            }

    def sequences(self, split: str) -> tuple[str, ...]:
        """Names of a split's captured sequences; splits share none. Raises UserError for an unknown split."""
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        return self._splits[split]

    def sample(self, rng: np.random.Generator, split: str = "train") -> PoseSample:
        """Draws a pose with any yaw, mirrored half of the time, and perturbed.

        Raises UserError if the split is unknown, or empty because the library has too few sequences.
        """
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        if rng.random() < self._procedural_share:
            kind = str(rng.choice(list(KINDS)))
            sequence, frame, local = f"drawn_{kind}", 0, sample_kind(kind, rng)
        elif split in self._frames:
            sequence, frame, local = self._frames[split].sample(rng)
        else:
            raise UserError(f"the motion capture has no sequence for the split {split}; give it at least three files")
        mirrored = bool(rng.random() < 0.5)
        local = perturb(mirror_pose(local) if mirrored else local, rng)
        yaw = rotation.about(np.array([0, 1, 0]), rng.uniform(-np.pi, np.pi))
        local[bone("Hips")] = yaw @ _without_heading(local[bone("Hips")])
        return PoseSample(local.astype(np.float32), sequence, frame, mirrored)


def load_pose_library(path: str | os.PathLike | None, seed: int = 0, procedural_share: float = 0.15) -> PoseLibrary:
    """Reads a folder or zip of BVH files; without a path all poses are procedural.

    Raises UserError that names the file if one cannot be read or has no joint for a bone.
    """
    motions = {} if path is None else {n: retarget(parse_bvh(text, n)) for n, text in bvh_texts(Path(path))}
    return PoseLibrary(motions, seed, procedural_share)


def perturb(local: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Adds noise to (len(BONES), 3, 3) local rotations, curls the fingers, and straightens the legs of some poses.

    Noise never bends elbows or knees backward.
    """
    local = np.array(local, np.float64)
    if rng.random() < _STRAIGHTENED_SHARE:
        straighten_legs(local, rng.uniform(0.3, 1))
    vectors = np.clip(rng.normal(0, 1, (len(BONES), 3)), -2, 2) * _NOISE_RAD[:, None]
    bent = (rotation.to_vector(local[_HINGES]) * _HINGE_AXES).sum(1)  # (4,)
    angles = np.clip(rng.normal(0, 1, len(_HINGES)), -2, 2) * np.deg2rad(_HINGE_NOISE_DEG)
    vectors[_HINGES] = np.maximum(angles, -np.maximum(bent, 0))[:, None] * _HINGE_AXES
    local[_FINGERS] = np.eye(3)
    vectors[_FINGERS] = np.deg2rad(rng.uniform(*_FINGER_CURL_DEG)) * np.array([[0, 0, -1.0], [0, 0, 1.0]])
    return local @ rotation.from_vector(vectors)


def straighten_legs(local: np.ndarray, share: float) -> None:
    """Reduces the bend of slightly bent knees by `share`, in place; the feet keep their direction from the hips.

    CMU's captured skeletons never quite straighten their legs, unlike people who stand.
    """
    for side in ("Left", "Right"):
        thigh, shin, foot = (bone(side + name) for name in ("UpLeg", "Leg", "Foot"))
        angle = np.linalg.norm(rotation.to_vector(local[shin]))
        if angle < np.deg2rad(_HARDLY_BENT_DEG):
            half = rotation.about(np.array([1.0, 0, 0]), share * angle / 2)
            local[shin] = rotation.from_vector(rotation.to_vector(local[shin]) * (1 - share))
            local[thigh] = local[thigh] @ half
            local[foot] = half @ local[foot]


def pose_features(local: np.ndarray) -> np.ndarray:
    """(F, D) float32 features that compare poses: directions of trunk, head and limbs, without the heading."""
    local = np.array(local, np.float64)
    local[:, bone("Hips")] = _without_heading(local[:, bone("Hips")])
    turns = rotation.to_global(local, PARENTS)
    directions = [turns[:, bone("Hips"), :, 1], turns[:, bone("Spine"), :, 1], turns[:, bone("Head"), :, 2]]
    directions += [
        turns[:, bone(side + limb)] @ t_pose_direction(side + limb)
        for side in ("Left", "Right")
        for limb in ("Arm", "ForeArm", "UpLeg", "Leg")
    ]
    return np.concatenate(directions, axis=1).astype(np.float32)


def cluster_centres(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(K, D) float32 centers of (F, D) `features`, by k-means on a sample, started with k-means++."""
    sample = features[rng.choice(len(features), min(_CLUSTERING_FRAMES, len(features)), replace=False)]
    centres = sample[rng.integers(len(sample))][None]
    distance = ((sample - centres) ** 2).sum(1).astype(np.float64)
    while len(centres) < _CLUSTERS and distance.sum() > 1e-6:
        centre = sample[rng.choice(len(sample), p=distance / distance.sum())]
        centres = np.concatenate([centres, centre[None]])
        distance = np.minimum(distance, ((sample - centre) ** 2).sum(1))
    for _ in range(10):
        belongs = _nearest(sample, centres)[0][:, None] == np.arange(len(centres))  # (F, K)
        sizes = belongs.sum(0)[:, None]
        centres = np.where(sizes > 0, belongs.T.astype(np.float32) @ sample / np.maximum(sizes, 1), centres)
    return centres.astype(np.float32)


class _BalancedFrames:
    """The frames of one split, drawn by cluster."""

    def __init__(self, motions: dict[str, np.ndarray], features: dict[str, np.ndarray], centres: np.ndarray):
        self._names = list(motions)
        self._motions = motions
        lengths = [len(motions[name]) for name in self._names]
        self._sequence = np.repeat(np.arange(len(lengths)), lengths)
        self._frame = np.concatenate([np.arange(length) for length in lengths])
        nearest, distance = _nearest(np.concatenate([features[name] for name in self._names]), centres)
        order = np.lexsort((distance, nearest))  # by cluster, the farthest frames last
        self._members = [
            m for m in np.split(order, np.searchsorted(nearest[order], np.arange(1, len(centres)))) if len(m)
        ]
        sizes = np.array([len(m) for m in self._members], np.float64) ** _BALANCE
        self._probability = sizes / sizes.sum()

    def sample(self, rng: np.random.Generator) -> tuple[str, int, np.ndarray]:
        """A frame's sequence name, number and (len(BONES), 3, 3) local rotations."""
        members = self._members[rng.choice(len(self._members), p=self._probability)]
        first = int(len(members) * (1 - _EXTREME_PART)) if rng.random() < _EXTREME_SHARE else 0
        row = members[rng.integers(first, len(members))]
        name, frame = self._names[self._sequence[row]], int(self._frame[row])
        return name, frame, self._motions[name][frame]


def _nearest(features: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The index of the nearest center and the squared distance to it, (F,) each."""
    distance = (features**2).sum(1)[:, None] - 2 * features @ centres.T + (centres**2).sum(1)
    nearest = distance.argmin(1)
    return nearest, distance[np.arange(len(features)), nearest]


def _without_heading(hips: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotations of the hips, rotated about the vertical until their left points to +x seen from above."""
    left = hips[..., :, 0]
    heading = np.arctan2(-left[..., 2], left[..., 0])
    return rotation.about(np.array([0, 1, 0]), -heading) @ hips


def _split(names: list[str]) -> dict[str, tuple[str, ...]]:
    """Assigns names to splits by the order of their hashes. Fewer than three names all go to train."""
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    held = max(round(len(order) * _HELD_OUT_SHARE), 1) if len(order) >= 3 else 0
    parts = {"test": order[:held], "validation": order[held : 2 * held], "train": order[2 * held :]}
    return {split: tuple(sorted(parts[split])) for split in SPLITS}


def bvh_texts(path: Path) -> Iterator[tuple[str, str]]:
    """Name without extension, and text, of each BVH file in a folder or zip.

    Raises UserError if the path cannot be read or has no BVH file.
    """
    count = 0
    try:
        for name, content in _folder_files(path) if path.is_dir() else _zip_files(path):
            count += 1
            yield name[: -len(".bvh")], content.decode("utf-8", errors="replace")
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
        raise UserError(f"cannot read motion capture from {path} ({error}); give a folder or zip of .bvh") from error
    if not count:
        raise UserError(f"{path} contains no .bvh file; give a folder or zip of .bvh files")


def _folder_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path for path in folder.rglob("*") if is_motion_file(path.name)):
        yield file.relative_to(folder).as_posix(), file.read_bytes()


def _zip_files(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        check_archive(archive, path)
        for name in sorted(archive.namelist()):
            if is_motion_file(name):
                yield name, archive.read(name)
