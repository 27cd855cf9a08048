"""Skeletons: joint names, parents, left/right pairs, and the mapping between skeletons.

All skeletons share one vocabulary of joint names, so joints are mapped by name.
If two data sets label almost the same place under different names, `STAND_INS` maps one to the other.
"""

import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from keras_pose.core.errors import UserError, unknown_name


@dataclass(frozen=True)
class Skeleton:
    """A named set of joints.

    `parents[j]` is the parent of joint `j`, or -1 for the top of a tree. `root` is the joint that `pose_3d` is relative
    to; None for 2D skeletons without such a joint. Raises UserError for duplicate names or invalid indices.
    """

    name: str
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    root: int | None = 0

    def __post_init__(self):
        count = len(self.joint_names)
        if len(set(self.joint_names)) != count:
            raise UserError(f"skeleton {self.name}: duplicate joint names; give each joint its own name")
        if len(self.parents) != count or not all(-1 <= p < count and p != j for j, p in enumerate(self.parents)):
            raise UserError(f"skeleton {self.name}: parents must be {count} joint indices, or -1 for a root")
        if any(self._is_its_own_ancestor(joint) for joint in range(count)):
            raise UserError(f"skeleton {self.name}: its parents form a cycle; give the root -1")
        if self.root is not None and not 0 <= self.root < count:
            raise UserError(f"skeleton {self.name}: root {self.root} is not a joint index below {count}")

    def _is_its_own_ancestor(self, joint: int) -> bool:
        parent = self.parents[joint]
        for _ in self.parents:
            if parent in (-1, joint):
                return parent == joint
            parent = self.parents[parent]
        return False  # it hangs below a cycle, whose joints are reported

    @property
    def num_joints(self) -> int:
        return len(self.joint_names)

    @cached_property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """(parent, child) of each bone, ordered by child."""
        return tuple((parent, child) for child, parent in enumerate(self.parents) if parent >= 0)

    @cached_property
    def left_right_pairs(self) -> tuple[tuple[int, int], ...]:
        """(left, right) joint indices of each pair, found by the names `left_*` and `right_*`."""
        return tuple(
            (j, self.index("right_" + name[5:]))
            for j, name in enumerate(self.joint_names)
            if name.startswith("left_") and "right_" + name[5:] in self.joint_names
        )

    @cached_property
    def flip_permutation(self) -> tuple[int, ...]:
        """Joint order after mirroring the image: use `keypoints[flip_permutation]`."""
        permutation = list(range(self.num_joints))
        for left, right in self.left_right_pairs:
            permutation[left], permutation[right] = right, left
        return tuple(permutation)

    @cached_property
    def symmetric_bones(self) -> tuple[tuple[tuple[int, int], tuple[int, int]], ...]:
        """Pairs of bones (parent, child), the left one and its mirror image on the right, for Eq. 8 of the paper."""
        mirror = self.flip_permutation
        bones = set(self.bones)
        return tuple(
            ((parent, child), (mirror[parent], mirror[child]))
            for parent, child in self.bones
            if self.joint_names[child].startswith("left_") and (mirror[parent], mirror[child]) in bones
        )

    def index(self, joint_name: str) -> int:
        """The joint's index; raises UserError that lists the known names."""
        try:
            return self.joint_names.index(joint_name)
        except ValueError:
            raise unknown_name(f"joint of {self.name}", joint_name, self.joint_names) from None

    def to_dict(self) -> dict:
        return {
            "name": self.name,
            "joint_names": list(self.joint_names),
            "parents": list(self.parents),
            "root": self.root,
        }

    @classmethod
    def from_dict(cls, values: dict) -> "Skeleton":
        """The inverse of `to_dict`; raises UserError if a key is missing."""
        missing = {"name", "joint_names", "parents"} - set(values)
        if missing:
            raise UserError(f"skeleton lacks {', '.join(sorted(missing))}; give name, joint_names, parents and root")
        return cls(values["name"], tuple(values["joint_names"]), tuple(values["parents"]), values.get("root"))


def _skeleton(name: str, root: str | None, joints: str) -> Skeleton:
    """Builds a skeleton from words like `joint<parent`; a word without `<` is the top of a tree."""
    pairs = [(word.split("<") + [""])[:2] for word in joints.split()]
    names = tuple(joint for joint, _ in pairs)
    parents = tuple(names.index(parent) if parent else -1 for _, parent in pairs)
    return Skeleton(name, names, parents, names.index(root) if root else None)


# Human3.6M's joint 9 lies between throat and nose ("Neck/Nose" in its own list): the name keeps both.
HUMAN36M_17 = _skeleton(
    "human36m_17",
    "pelvis",
    "pelvis right_hip<pelvis right_knee<right_hip right_ankle<right_knee "
    "left_hip<pelvis left_knee<left_hip left_ankle<left_knee "
    "spine<pelvis thorax<spine neck_nose<thorax head_top<neck_nose "
    "left_shoulder<thorax left_elbow<left_shoulder left_wrist<left_elbow "
    "right_shoulder<thorax right_elbow<right_shoulder right_wrist<right_elbow",
)
COCO_17 = _skeleton(
    "coco_17",
    None,
    "nose left_eye<nose right_eye<nose left_ear<left_eye right_ear<right_eye "
    "left_shoulder right_shoulder<left_shoulder left_elbow<left_shoulder right_elbow<right_shoulder "
    "left_wrist<left_elbow right_wrist<right_elbow left_hip<left_shoulder right_hip<right_shoulder "
    "left_knee<left_hip right_knee<right_hip left_ankle<left_knee right_ankle<right_knee",
)
MPII_16 = _skeleton(
    "mpii_16",
    "pelvis",
    "right_ankle<right_knee right_knee<right_hip right_hip<pelvis left_hip<pelvis left_knee<left_hip "
    "left_ankle<left_knee pelvis thorax<pelvis upper_neck<thorax head_top<upper_neck "
    "right_wrist<right_elbow right_elbow<right_shoulder right_shoulder<thorax "
    "left_shoulder<thorax left_elbow<left_shoulder left_wrist<left_elbow",
)
LSP_14 = _skeleton(
    "lsp_14",
    None,
    "right_ankle<right_knee right_knee<right_hip right_hip<neck left_hip<neck left_knee<left_hip "
    "left_ankle<left_knee right_wrist<right_elbow right_elbow<right_shoulder right_shoulder<neck "
    "left_shoulder<neck left_elbow<left_shoulder left_wrist<left_elbow neck head_top<neck",
)
MPI_INF_3DHP_17 = _skeleton(
    "mpi_inf_3dhp_17",
    "pelvis",
    "head_top<neck neck<spine right_shoulder<neck right_elbow<right_shoulder right_wrist<right_elbow "
    "left_shoulder<neck left_elbow<left_shoulder left_wrist<left_elbow right_hip<pelvis right_knee<right_hip "
    "right_ankle<right_knee left_hip<pelvis left_knee<left_hip left_ankle<left_knee "
    "pelvis spine<pelvis neck_nose<neck",
)
# COCO's joints and a pelvis: what BlazePose labels in 3D as a teacher.
BLAZEPOSE_18 = _skeleton(
    "blazepose_18",
    "pelvis",
    "pelvis nose<pelvis left_eye<nose right_eye<nose left_ear<left_eye right_ear<right_eye "
    "left_shoulder<pelvis right_shoulder<pelvis left_elbow<left_shoulder right_elbow<right_shoulder "
    "left_wrist<left_elbow right_wrist<right_elbow left_hip<pelvis right_hip<pelvis "
    "left_knee<left_hip right_knee<right_hip left_ankle<left_knee right_ankle<right_knee",
)
# The same, plus joints on the lines between them: what teachers label photos with.
TEACHER_22 = _skeleton(
    "teacher_22",
    "pelvis",
    "pelvis nose<neck_nose left_eye<nose right_eye<nose left_ear<left_eye right_ear<right_eye "
    "left_shoulder<neck right_shoulder<neck left_elbow<left_shoulder right_elbow<right_shoulder "
    "left_wrist<left_elbow right_wrist<right_elbow left_hip<pelvis right_hip<pelvis "
    "left_knee<left_hip right_knee<right_hip left_ankle<left_knee right_ankle<right_knee "
    "spine<pelvis neck<spine neck_nose<neck head_top<neck_nose",
)
SKELETONS = {s.name: s for s in (HUMAN36M_17, COCO_17, MPII_16, LSP_14, MPI_INF_3DHP_17, BLAZEPOSE_18, TEACHER_22)}

# Target joint: the source joints whose mean replaces it if the source does not have it.
# pelvis: Human3.6M's own definition, the middle of the hips. neck and thorax: both mark the base of the neck;
# annotators of LSP point a few centimeters above Human3.6M's marker-based thorax.
STAND_INS = {
    "pelvis": ("left_hip", "right_hip"),
    "neck": ("thorax",),
    "thorax": ("neck",),
}


def get_skeleton(name: str) -> Skeleton:
    """The skeleton with that name, or the one in a .json file (see `Skeleton.to_dict`), which is then registered.

    Raises UserError that lists the known skeletons, or explains what is wrong with the file.
    """
    if name.endswith(".json"):
        return register_skeleton(_read_skeleton(name))
    try:
        return SKELETONS[name]
    except KeyError:
        raise unknown_name("skeleton", name, SKELETONS) from None


def register_skeleton(skeleton: Skeleton) -> Skeleton:
    """Makes a skeleton known to `get_skeleton` and returns it; raises UserError if another one has its name."""
    if SKELETONS.setdefault(skeleton.name, skeleton) != skeleton:
        raise UserError(f"skeleton {skeleton.name}: the name is taken by other joints; choose another name")
    return skeleton


def _read_skeleton(path: str) -> Skeleton:
    try:
        with open(path, encoding="utf-8") as file:
            return Skeleton.from_dict(dict(json.load(file)))
    except FileNotFoundError:
        raise UserError(f"no skeleton file {path}; known skeletons: {', '.join(sorted(SKELETONS))}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (ValueError, TypeError, OSError) as error:
        raise UserError(f"{path} is not a skeleton ({error}); give name, joint_names, parents and root") from error


def map_joints(
    joints: np.ndarray, valid: np.ndarray, source: Skeleton, target: Skeleton
) -> tuple[np.ndarray, np.ndarray]:
    """Maps the joints of one skeleton to another by name, or by `STAND_INS`.

    Args:
        joints: (..., J_source, D) coordinates, 2D or 3D, in any unit.
        valid: (..., J_source) bool, which joints are labeled.

    Returns:
        (..., J_target, D) and (..., J_target) bool; joints that the source does not have are zero and invalid.

    Raises:
        UserError: the shapes do not belong to `source`.
    """
    joints, valid = np.asarray(joints), np.asarray(valid, bool)
    if joints.shape[-2] != source.num_joints or valid.shape != joints.shape[:-1]:
        raise UserError(
            f"{source.name} has {source.num_joints} joints, got coordinates {joints.shape} and masks {valid.shape}"
        )
    mapped = np.zeros((*joints.shape[:-2], target.num_joints, joints.shape[-1]), joints.dtype)
    mapped_valid = np.zeros((*joints.shape[:-2], target.num_joints), bool)
    for j, name in enumerate(target.joint_names):
        parts = (name,) if name in source.joint_names else STAND_INS.get(name, ())
        if not parts or any(part not in source.joint_names for part in parts):
            continue
        indices = [source.index(part) for part in parts]
        mapped_valid[..., j] = valid[..., indices].all(-1)
        mapped[..., j, :] = joints[..., indices, :].mean(-2) * mapped_valid[..., j, None]
    return mapped, mapped_valid
