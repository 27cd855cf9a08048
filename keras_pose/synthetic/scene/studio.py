"""One image of a person: camera, surroundings, light, occluders, camera faults, and the labels."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from keras_pose.core import geometry
from keras_pose.core.geometry import Camera
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data.example import PoseExample, encode_jpeg
from keras_pose.synthetic.render import overlay
from keras_pose.synthetic.render.camera import camera_position, crop_camera, sample_camera
from keras_pose.synthetic.render.degrade import degrade
from keras_pose.synthetic.render.light import cast_shadows, sample_light
from keras_pose.synthetic.render.mesh import Mesh, PosedPerson
from keras_pose.synthetic.render.panorama import Panorama
from keras_pose.synthetic.render.raster import Raster, rasterize, to_homogeneous_pixels
from keras_pose.synthetic.render.shade import Solids, join_meshes, shade
from keras_pose.synthetic.scene import props
from keras_pose.synthetic.scene.background import draw_backdrop, sample_backdrop
from keras_pose.synthetic.scene.stopwatch import Stopwatch
from keras_pose.synthetic.scene.surfaces import Surfaces

# Largest depth of a visible joint below the skin along the line of sight; the trunk is thicker than the limbs.
HIDDEN_BEYOND_MM = np.full(HUMAN36M_17.num_joints, 180.0)
HIDDEN_BEYOND_MM[[0, 1, 4, 7, 8]] = 240.0  # pelvis, hips, spine, thorax
SHADOW_RADIUS_MM = 1600.0
_FEWEST_SEEN, _ATTEMPTS = 4, 8
_GROUND_JOINTS = (3, 6, 2, 5, 13, 16, 0, 10)  # ankles, knees, wrists, pelvis, head: they may touch the floor


@dataclass(frozen=True)
class SceneSettings:
    """The settings of scenes.

    Attributes:
        image_size: (height, width) in pixels.
        difficulty: (lowest, highest), each from 0 (easiest) to 1 (hardest).
        roll_share: share of images in which the camera or the person is rotated by any angle.
        jpeg_quality: quality of the stored image.
    """

    image_size: tuple[int, int]
    difficulty: tuple[float, float]
    roll_share: float
    jpeg_quality: int


@dataclass(frozen=True)
class Studio:
    """The assets of scenes, loaded once per worker: the panoramas of one split, and textures."""

    panoramas: list[Panorama]
    surfaces: Surfaces


@dataclass(frozen=True)
class Scene:
    """A composed scene in world coordinates.

    Attributes:
        meshes: the person first, then other people and objects.
        joints_mm: (J, 3) joints of the person.
        contacts_mm: (M, 4) soft shadows on the floor; see `contacts_below`.
    """

    meshes: list[Mesh]
    joints_mm: np.ndarray
    camera: Camera
    contacts_mm: np.ndarray
    difficulty: float


def make_example(
    rng: np.random.Generator,
    settings: SceneSettings,
    studio: Studio,
    person: PosedPerson,
    bystander: Callable[[], PosedPerson],
    clock: Stopwatch,
) -> PoseExample:
    """A rendered image of `person` with its labels; `bystander()` draws another person.

    The caller sets `subject`, `action`, `frame` and `source`. A scene that shows fewer than `_FEWEST_SEEN` joints is
    composed again, up to `_ATTEMPTS` times in all; the last scene is used as it is.
    """
    for _ in range(_ATTEMPTS):
        with clock("composition"):
            scene = compose(rng, settings, studio, person, bystander)
        with clock("joining meshes"):
            solids = join_meshes(scene.meshes)
        with clock("z-buffer"):
            homogeneous = to_homogeneous_pixels(solids.vertices_mm, scene.camera, scale=2.0)
            raster = rasterize(homogeneous, solids.faces, tuple(2 * n for n in settings.image_size))
        keypoints = scene.camera.project(scene.camera.to_camera(scene.joints_mm))
        hidden = hidden_joints(raster, solids.object_of_face, scene.camera, scene.joints_mm)
        if (geometry.inside_image(keypoints, settings.image_size) & ~hidden).sum() >= _FEWEST_SEEN:
            break
    image, covered = paint(rng, settings, studio, scene, solids, raster, clock)
    with clock("labels and JPEG"):
        hidden |= overlay.covered_joints(covered, keypoints)
        jpeg = encode_jpeg(image, settings.jpeg_quality)
        return label(scene.camera, scene.joints_mm, hidden, settings.image_size, jpeg, scene.difficulty)


def label(
    camera: Camera,
    joints_mm: np.ndarray,
    hidden: np.ndarray,
    image_size: tuple[int, int],
    image_jpeg: bytes,
    difficulty: float,
) -> PoseExample:
    """The example of an image: labels of (J, 3) world joints seen by a camera, with `hidden` (J,) per joint."""
    root, joints = HUMAN36M_17.root, camera.to_camera(joints_mm)
    return PoseExample(
        image_jpeg=image_jpeg,
        image_size=image_size,
        keypoints_2d_px=camera.project(joints),
        keypoint_valid=np.ones(len(joints), bool),
        keypoint_hidden=hidden,
        pose_3d_mm=geometry.root_relative(joints, root),
        pose_3d_valid=np.ones(len(joints), bool),
        root_position_mm=joints[root],
        intrinsics=camera.intrinsics,
        skeleton=HUMAN36M_17.name,
        difficulty=difficulty,
    )


# --- composition -----------------------------------------------------------------------------------------------


def place(person: PosedPerson, rotation: np.ndarray, position_mm: np.ndarray) -> PosedPerson:
    """Rotates a person about the point on the ground below the pelvis, then moves that point to `position_mm`."""
    foot = person.joints_mm[0] * [1.0, 0.0, 1.0]
    offset = position_mm - rotation @ foot
    mesh = person.mesh
    vertices = mesh.vertices_mm @ rotation.T.astype(np.float32) + offset.astype(np.float32)
    return PosedPerson(
        Mesh(vertices, mesh.faces, mesh.uv, mesh.material, mesh.materials), person.joints_mm @ rotation.T + offset
    )


def compose(
    rng: np.random.Generator,
    settings: SceneSettings,
    studio: Studio,
    person: PosedPerson,
    bystander: Callable[[], PosedPerson],
) -> Scene:
    """Arranges the person, the camera, other people and objects in the world."""
    difficulty = float(rng.uniform(*settings.difficulty))
    turned = rng.random() < settings.roll_share
    tumbles = turned and rng.random() < 0.4  # a handstand, a leap or a fall; otherwise the camera is rotated
    person = place(person, props.random_rotation(rng, np.pi if tumbles else None), np.zeros(3))
    if tumbles:
        height = -person.mesh.vertices_mm[:, 1].min() + max(rng.uniform(-400.0, 900.0), 0.0)
        person = place(person, np.eye(3), np.array([0.0, height, 0.0]))
    joints = person.joints_mm
    frame_camera = sample_camera(rng, joints, any_roll=turned and not tumbles)
    camera = crop_camera(rng, frame_camera, joints, settings.image_size, rng.random() < 0.05 + 0.25 * difficulty)

    people = [place(bystander(), *spot) for spot in _bystander_spots(rng, joints, camera, difficulty)]
    things = props.seat(rng, studio.surfaces.images, joints) if rng.random() < 0.7 else []
    if rng.random() < 0.15 + 0.6 * difficulty:
        things += props.furniture(rng, studio.surfaces.images, joints[0], camera)
    if rng.random() < 0.1 + 0.1 * difficulty:
        things.append(props.held_thing(rng, studio.surfaces.images, joints))
    if rng.random() < 0.45 * difficulty:
        things += [props.occluder(rng, studio.surfaces.images, joints, camera) for _ in range(int(rng.integers(1, 3)))]
    contacts = [contacts_below(p.joints_mm) for p in (person, *people)] + [_footprint(t) for t in things]
    meshes = [person.mesh, *(p.mesh for p in people), *things]
    return Scene(meshes, joints, camera, np.concatenate(contacts), difficulty)


def _bystander_spots(
    rng: np.random.Generator, joints_mm: np.ndarray, camera: Camera, difficulty: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rotation, position) of other people: at most one close by, and at most two farther behind."""
    center = joints_mm[0] * [1.0, 0.0, 1.0]
    away = center - camera_position(camera) * [1.0, 0.0, 1.0]
    away = away / max(np.linalg.norm(away), 1.0)
    side = np.array([away[2], 0.0, -away[0]])
    spots = []
    if rng.random() < 0.3 * difficulty:
        spots.append(rng.choice([-1, 1]) * rng.uniform(350.0, 1000.0) * side + rng.uniform(-700.0, 900.0) * away)
    if rng.random() < 0.3 * difficulty:
        for _ in range(int(rng.integers(1, 3))):
            distance = np.exp(rng.uniform(np.log(1200.0), np.log(9000.0)))
            spots.append(distance * away + rng.normal(0, 0.3) * distance * side)
    return [(props.random_rotation(rng, None), center + spot) for spot in spots]


def contacts_below(joints_mm: np.ndarray) -> np.ndarray:
    """(M, 4) soft shadows (x, z, radius, strength) below `_GROUND_JOINTS`; wider and weaker for higher joints."""
    joints = joints_mm[list(_GROUND_JOINTS)]
    radius = 110.0 + 0.45 * joints[:, 1]
    strength = 0.75 * np.exp(-np.maximum(joints[:, 1] - 80.0, 0.0) / 280.0)
    return np.stack([joints[:, 0], joints[:, 2], radius, strength], axis=-1)


def _footprint(mesh: Mesh) -> np.ndarray:
    """(1, 4) the soft shadow of an object; wider and weaker the higher it is above the floor."""
    low, high = mesh.vertices_mm.min(0), mesh.vertices_mm.max(0)
    radius = 0.35 * np.linalg.norm((high - low)[[0, 2]]) + 0.3 * max(low[1], 0.0) + 30.0
    strength = 0.7 * np.exp(-max(float(low[1]), 0.0) / 250.0)
    return np.array([[(low[0] + high[0]) / 2, (low[2] + high[2]) / 2, radius, strength]])


# --- rendering -------------------------------------------------------------------------------------------------


def paint(
    rng: np.random.Generator,
    settings: SceneSettings,
    studio: Studio,
    scene: Scene,
    solids: Solids,
    raster: Raster,
    clock: Stopwatch,
) -> tuple[np.ndarray, np.ndarray]:
    """The finished (H, W, 3) uint8 sRGB image, and (H, W) bool: which pixels a pasted shape or border covers."""
    size, camera, difficulty = settings.image_size, scene.camera, scene.difficulty
    panorama = studio.panoramas[rng.integers(len(studio.panoramas))]
    light = sample_light(rng, panorama, difficulty)
    center = scene.joints_mm.mean(0)
    with clock("shadow map"):
        shadows = cast_shadows(solids.vertices_mm, solids.faces, light, center, SHADOW_RADIUS_MM, max(size))
    with clock("background"):
        count = len(studio.surfaces.images)
        backdrop = sample_backdrop(rng, panorama, count, camera, center, scene.contacts_mm, difficulty)
        background = draw_backdrop(backdrop, studio.surfaces, camera, raster, light, shadows)
        if rng.random() < 0.6 * difficulty:
            background = overlay.paste_clutter(rng, background, studio.surfaces.images, int(rng.integers(1, 16)))
    with clock("shading"):
        linear = shade(raster, solids, background, light, shadows, camera_position(camera))
    with clock("shapes and faults"):
        covered = np.zeros(size, bool)
        if rng.random() < 0.3 * difficulty:
            linear, covered = overlay.paste_shapes(rng, linear, studio.surfaces.images)
        image = degrade(rng, linear, difficulty)
        if rng.random() < 0.05 + 0.1 * difficulty:
            image, ended = overlay.paste_border(rng, image)
            covered |= ended
    return image, covered


def hidden_joints(raster: Raster, object_of_face: np.ndarray, camera: Camera, joints_mm: np.ndarray) -> np.ndarray:
    """(J,) bool per joint: whether something hides it. The raster is twice as large as the image.

    A joint is hidden if its pixel shows another object nearer than the joint, or the person's own surface farther than
    `HIDDEN_BEYOND_MM` from it along the line of sight. Joints outside the image count as visible, because their
    positions show that they are outside.
    """
    joints = camera.to_camera(joints_mm)
    keypoints = camera.project(joints)
    size = np.array(raster.face.shape)
    row, column = (np.floor(2 * keypoints[:, ::-1]).astype(int)).T
    inside = (row >= 0) & (row < size[0]) & (column >= 0) & (column < size[1])
    row, column = row.clip(0, size[0] - 1), column.clip(0, size[1] - 1)
    face, depth = raster.face[row, column], raster.depth_mm[row, column]
    drawn = inside & (face >= 0)
    own = drawn & (object_of_face[face] == 0)
    behind = joints[:, 2] - np.where(drawn, depth, np.inf)
    along_ray = behind * np.linalg.norm(joints, axis=-1) / joints[:, 2]
    return (own & (np.abs(along_ray) > HIDDEN_BEYOND_MM)) | (drawn & ~own & (behind > 0))
