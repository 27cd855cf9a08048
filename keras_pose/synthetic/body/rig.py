"""The skeleton of the synthetic people: bones, skin weights, and posing.

The bones are those of MakeHuman's `cmu_mb` rig; bones that never move on their own here are merged into their
neighbors. Poses are relative to the T-pose: the identity for all bones is a person who stands upright and faces +z,
arms along +-x, palms down, legs along -y. Each body has its own resting pose (an A-pose), which `align` converts to the
T-pose. The joints of HUMAN36M_17 are pivots of bones, except `head_top`, which moves with the head, and `spine`; see
`bent_middle`. So every bone of that skeleton keeps its length in all poses.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.synthetic.body import rotation
from keras_pose.synthetic.body.assets import BodyAssets

_SIDE = "{0}Shoulder<Spine {0}Arm<{0}Shoulder {0}ForeArm<{0}Arm {0}Hand<{0}ForeArm {0}Fingers<{0}Hand "
_LEG = "{0}UpLeg<Hips {0}Leg<{0}UpLeg {0}Foot<{0}Leg "
_TREE = "Hips LowerBack<Hips Spine<LowerBack Neck<Spine Head<Neck " + "".join(
    part.format(side) for part in (_SIDE, _LEG) for side in ("Left", "Right")
)
BONES = tuple(word.split("<")[0] for word in _TREE.split())
PARENTS = tuple(BONES.index(word.split("<")[1]) if "<" in word else -1 for word in _TREE.split())
MIRROR = tuple(
    BONES.index(b.replace("Left", "Right") if b.startswith("Left") else b.replace("Right", "Left")) for b in BONES
)

# Bones of `cmu_mb` that move with others, and how those share their skin weights.
_FOLDED = {
    "LHipJoint": {"Hips": 1.0},
    "RHipJoint": {"Hips": 1.0},
    "Spine1": {"Spine": 1.0},
    "Neck1": {"Neck": 0.5, "Head": 0.5},
    **{f"{s[0]}Thumb": {f"{s}Hand": 1.0} for s in ("Left", "Right")},
    **{f"{s}FingerBase": {f"{s}Hand": 1.0} for s in ("Left", "Right")},
    **{f"{s}HandFinger1": {f"{s}Fingers": 1.0} for s in ("Left", "Right")},
    **{f"{s}ToeBase": {f"{s}Foot": 1.0} for s in ("Left", "Right")},
}


def bone(name: str) -> int:
    """The bone's index."""
    return BONES.index(name)


def t_pose_direction(name: str) -> np.ndarray:
    """(3,) the direction of a bone of an arm or a leg in the T-pose."""
    if name.endswith(("Arm", "Hand")):
        return np.array([1.0 if name.startswith("Left") else -1.0, 0.0, 0.0])
    return np.array([0.0, -1.0, 0.0])


@dataclass(frozen=True)
class PoseSample:
    """A pose for any body: `rotations` (len(BONES), 3, 3) are local and relative to the T-pose."""

    rotations: np.ndarray
    sequence: str
    frame: int
    mirrored: bool


@dataclass(frozen=True)
class Twist:
    """A limb whose skin twists gradually along it, using two helper transforms besides the bone's own.

    Attributes:
        bone: the limb's bone.
        source: the bone whose local rotation has the twist.
        shares: fractions of that twist at the limb's start, middle and end, added to the rotation of `bone`.
        columns: the transforms that carry these fractions.
    """

    bone: int
    source: int
    shares: tuple[float, float, float]
    columns: tuple[int, int, int]


def _twists() -> tuple[Twist, ...]:
    twists, column = [], len(BONES)
    for name in ("LeftArm", "RightArm", "LeftUpLeg", "RightUpLeg"):  # the bone twists, its start stays with the trunk
        twists.append(Twist(bone(name), bone(name), (-1.0, -0.5, 0.0), (column, column + 1, bone(name))))
        column += 2
    for side in ("Left", "Right"):  # the hand twists; the forearm follows, most at the wrist
        fore = bone(f"{side}ForeArm")
        twists.append(Twist(fore, bone(f"{side}Hand"), (0.0, 0.5, 1.0), (fore, column, column + 1)))
        column += 2
    return tuple(twists)


TWISTS = _twists()
TRANSFORMS = len(BONES) + 2 * len(TWISTS)
# The helper transforms in column order, and for each its bone, source of the twist, axis and fraction.
_HELPERS = [
    (column, twist, share)
    for twist in TWISTS
    for share, column in zip(twist.shares, twist.columns, strict=True)
    if column >= len(BONES)
]
_HELPERS.sort(key=lambda helper: helper[0])
_TWIST_BONES = np.array([twist.bone for _, twist, _ in _HELPERS])
_TWIST_SOURCES = np.array([twist.source for _, twist, _ in _HELPERS])
_TWIST_AXES = np.array([t_pose_direction(BONES[twist.bone]) for _, twist, _ in _HELPERS])
_TWIST_SHARES = np.array([share for _, _, share in _HELPERS])


def base_skin_weights(assets: BodyAssets) -> np.ndarray:
    """(V, TRANSFORMS) float32 skin weights of the base mesh's vertices; rows sum to 1."""
    vertices = assets.mesh.vertices
    weights = np.zeros((len(vertices), TRANSFORMS), np.float32)
    for name, (indices, values) in assets.weights.items():
        for target, share in _FOLDED.get(name, {name: 1.0}).items():
            weights[indices, bone(target)] += share * values
    pivots = rest_pivots(assets, vertices)
    for twist in TWISTS:
        child = PARENTS.index(twist.bone)
        axis = pivots[child] - pivots[twist.bone]
        along = (vertices - pivots[twist.bone]) @ axis / (axis @ axis)  # (V,) 0 at the bone's head, 1 at its end
        along = np.clip((along - 0.05) / 0.8, 0, 1)
        total = weights[:, twist.bone].copy()
        weights[:, twist.bone] = 0
        middle = 1 - np.abs(2 * along - 1)
        for column, part in zip(
            twist.columns, (np.clip(1 - 2 * along, 0, 1), middle, np.clip(2 * along - 1, 0, 1)), strict=True
        ):
            weights[:, column] += total * part
    return weights / weights.sum(1, keepdims=True)


def rest_pivots(assets: BodyAssets, vertices: np.ndarray) -> np.ndarray:
    """(len(BONES), 3) pivots of the bones for (V, 3) base vertices, in their unit; symmetric about x = 0."""

    def joint(cube: str) -> np.ndarray:
        return assets.joint(vertices, cube)

    nose = assets.regressors["nose"] @ vertices
    thorax = 0.65 * joint("neck") + 0.35 * (joint("l-clavicle") + joint("r-clavicle")) / 2
    hips = {side: joint(f"{side}-upper-leg") * (1.15, 1, 1) for side in "lr"}
    pivots = {
        "Hips": (hips["l"] + hips["r"]) / 2,
        "LowerBack": joint("spine-4"),
        "Spine": joint("spine-2"),
        "Neck": thorax,
        "Head": 0.6 * joint("head") + 0.2 * joint("neck") + 0.2 * nose,
    }
    for side, s in (("Left", "l"), ("Right", "r")):
        pivots |= {
            f"{side}Shoulder": thorax,
            f"{side}Arm": joint(f"{s}-shoulder"),
            f"{side}ForeArm": joint(f"{s}-elbow"),
            f"{side}Hand": joint(f"{s}-hand"),
            f"{side}Fingers": joint(f"{s}-finger-3-1"),
            f"{side}UpLeg": hips[s],
            f"{side}Leg": joint(f"{s}-knee"),
            f"{side}Foot": joint(f"{s}-ankle"),
        }
    table = np.array([pivots[name] for name in BONES], np.float64)
    return (table + table[list(MIRROR)] * (-1, 1, 1)) / 2


_VERTEBRAE_MM = 30.0  # how far behind the pivot of Spine the guide of the joint `spine` lies; see `bent_middle`
_JOINT_BONES = {
    "pelvis": "Hips",
    "thorax": "Neck",
    "neck_nose": "Head",
    **{
        f"{side.lower()}_{joint}": side + name
        for side in ("Left", "Right")
        for joint, name in (
            ("shoulder", "Arm"),
            ("elbow", "ForeArm"),
            ("wrist", "Hand"),
            ("hip", "UpLeg"),
            ("knee", "Leg"),
            ("ankle", "Foot"),
        )
    },
}


@dataclass(frozen=True)
class BodySkeleton:
    """The skeleton of one body at rest.

    Attributes:
        pivots_mm: (len(BONES), 3), see `rest_pivots`.
        crown_mm: (3,) the top of the skull.
    """

    pivots_mm: np.ndarray
    crown_mm: np.ndarray

    @classmethod
    def fit(cls, assets: BodyAssets, vertices_mm: np.ndarray) -> "BodySkeleton":
        """The skeleton of (V, 3) base vertices."""
        skull = vertices_mm[assets.body_vertices]
        crown = skull[skull[:, 1].argmax()] * (0, 1, 1)
        return cls(rest_pivots(assets, vertices_mm), crown)

    @cached_property
    def align(self) -> np.ndarray:
        """(len(BONES), 3, 3) rotations from this body's rest to the T-pose."""
        align = np.tile(np.eye(3), (len(BONES), 1, 1))
        for side in ("Left", "Right"):
            arm, fore, hand = (bone(side + part) for part in ("Arm", "ForeArm", "Hand"))
            upper, lower = self.pivots_mm[fore] - self.pivots_mm[arm], self.pivots_mm[hand] - self.pivots_mm[fore]
            hinge = np.cross(upper, lower)  # the elbow is bent at rest, which determines its axis
            t_pose = rotation.frame(t_pose_direction(f"{side}Arm"), [0, -1 if side == "Left" else 1, 0])
            align[arm] = t_pose @ rotation.frame(upper, hinge).T
            align[[fore, hand, bone(f"{side}Fingers")]] = t_pose @ rotation.frame(lower, hinge).T
            for name in ("UpLeg", "Leg"):
                b = bone(side + name)
                direction = self.pivots_mm[PARENTS.index(b)] - self.pivots_mm[b]
                align[b] = rotation.frame([0, -1, 0], [1, 0, 0]) @ rotation.frame(direction, [1, 0, 0]).T
        return align

    def pose(self, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Poses the skeleton, with the pelvis at its resting position.

        Args:
            rotations: (len(BONES), 3, 3) local rotations relative to the T-pose.

        Returns:
            Matrices (TRANSFORMS, 3, 3) and offsets (TRANSFORMS, 3) that move resting skin to the pose, and the (17, 3)
            joints of HUMAN36M_17 in mm.
        """
        turns = rotation.to_global(rotations, PARENTS)
        matrices = np.empty((TRANSFORMS, 3, 3))
        matrices[: len(BONES)] = turns @ self.align
        pivots = self.pivots_mm.copy()
        for b, parent in enumerate(PARENTS):
            if parent >= 0:
                pivots[b] = pivots[parent] + matrices[parent] @ (self.pivots_mm[b] - self.pivots_mm[parent])
        offsets = np.empty((TRANSFORMS, 3))
        offsets[: len(BONES)] = pivots - np.einsum("bij,bj->bi", matrices[: len(BONES)], self.pivots_mm)
        angles = rotation.twist_angle(rotations[_TWIST_SOURCES], _TWIST_AXES)
        partial = rotation.from_vector(_TWIST_SHARES[:, None] * angles[:, None] * _TWIST_AXES)
        matrices[len(BONES) :] = turns[_TWIST_BONES] @ partial @ self.align[_TWIST_BONES]
        moved = np.einsum("bij,bj->bi", matrices[len(BONES) :], self.pivots_mm[_TWIST_BONES])
        offsets[len(BONES) :] = pivots[_TWIST_BONES] - moved
        return matrices, offsets, self._joints(pivots, matrices, offsets)

    @cached_property
    def _trunk_mm(self) -> tuple[float, float]:
        """Lengths from pelvis to spine and from spine to thorax along the pivots; no pose can exceed their sum."""
        path = self.pivots_mm[[bone("Hips"), bone("LowerBack"), bone("Spine"), bone("Neck")]]
        lower, middle, upper = np.linalg.norm(np.diff(path, axis=0), axis=1)
        return lower + middle, upper

    def _joints(self, pivots: np.ndarray, matrices: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        joints = {name: pivots[bone(b)] for name, b in _JOINT_BONES.items()}
        joints["head_top"] = matrices[bone("Head")] @ self.crown_mm + offsets[bone("Head")]
        guide = matrices[bone("LowerBack")] @ (self.pivots_mm[bone("Spine")] - (0, 0, _VERTEBRAE_MM))
        guide += offsets[bone("LowerBack")]
        joints["spine"] = bent_middle(joints["pelvis"], guide, joints["thorax"], *self._trunk_mm)
        return np.array([joints[name] for name in HUMAN36M_17.joint_names])


def bent_middle(lower: np.ndarray, guide: np.ndarray, upper: np.ndarray, first: float, second: float) -> np.ndarray:
    """(3,) the point where rods of length `first` from `lower` and `second` from `upper` meet, on the side of `guide`.

    The trunk bends at two pivots, but the skeleton of 17 joints only at the spine. This point keeps both lengths.
    """
    axis = upper - lower
    span = np.linalg.norm(axis)
    axis /= span
    along = (first**2 - second**2 + span**2) / (2 * span)
    side = guide - lower - axis * (axis @ (guide - lower))
    return lower + axis * along + side / np.linalg.norm(side) * np.sqrt(max(first**2 - along**2, 0.0))
