"""The command `python -m keras_pose.synthetic.clip`: renders a short video of one synthetic person in motion.

    python -m keras_pose.synthetic.clip --output=clip.mp4
    python -m keras_pose.synthetic.clip --output=walk.mp4 --mocap=mocap_bvh.zip --sequence=cmu_02_01 --seconds=2

Camera, background and light are constant. The true joints of each frame go to clip.json beside clip.mp4.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.core.progress import progress
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.core.units import units_of
from keras_pose.data.example import PoseExample
from keras_pose.data.prepare import parse_image_size
from keras_pose.io import atomic
from keras_pose.io.video import VideoWriter
from keras_pose.synthetic.body.assets import load_body_assets
from keras_pose.synthetic.body.clothes import load_wardrobe
from keras_pose.synthetic.body.person import sample_person
from keras_pose.synthetic.body.rig import PoseSample
from keras_pose.synthetic.generate import SURFACES
from keras_pose.synthetic.motion.sequences import captured_motion, drawn_motion, steps_on_the_ground
from keras_pose.synthetic.people import seed_of
from keras_pose.synthetic.render.camera import camera_position, crop_camera, sample_camera
from keras_pose.synthetic.render.degrade import degrade
from keras_pose.synthetic.render.light import cast_shadows, sample_light
from keras_pose.synthetic.render.mesh import PosedPerson
from keras_pose.synthetic.render.panorama import Panorama, drawn_panorama, list_panoramas, load_panorama
from keras_pose.synthetic.render.raster import rasterize, to_homogeneous_pixels
from keras_pose.synthetic.render.shade import join_meshes, shade
from keras_pose.synthetic.scene.background import draw_backdrop, sample_backdrop
from keras_pose.synthetic.scene.studio import SHADOW_RADIUS_MM, contacts_below, hidden_joints, label, place
from keras_pose.synthetic.scene.surfaces import Surfaces, draw_surfaces

FLAGS = flags.FLAGS
_DIFFICULTY = 0.0  # no occluders, and hardly any camera faults
UNITS = units_of("keypoints_px", "pose_3d_mm", "root_position_mm")


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("output", None, "Video file: clip.mp4, or clip.webp for web pages.", flag_values=values)
    flags.DEFINE_float("seconds", 4.0, "Length of the video.", lower_bound=0.1, upper_bound=60, flag_values=values)
    flags.DEFINE_float(
        "fps", 30.0, "Frames per second; motion capture is not resampled.", 1, upper_bound=240, flag_values=values
    )
    flags.DEFINE_string("image_size", "480", "Size in pixels: one number, or HEIGHTxWIDTH.", flag_values=values)
    flags.DEFINE_integer("seed", 0, "Seed of person, motion, camera and scene.", 0, flag_values=values)
    flags.DEFINE_string("mocap", None, "Folder or zip of BVH files; default: procedural motion.", flag_values=values)
    flags.DEFINE_string("sequence", None, "Name of the BVH file without its extension.", flag_values=values)
    flags.DEFINE_integer("start", 1, "First frame to use; frame 0 is often a T-pose.", 0, flag_values=values)
    flags.DEFINE_string("clothes_dir", None, "Folder of MakeHuman clothes; default: painted ones.", flag_values=values)
    flags.DEFINE_string("panoramas", None, "Folder of panoramas; default: procedural ones.", flag_values=values)


def main(argv: list[str]) -> int:
    """Runs the command."""
    if argv:
        raise UserError(f"unknown argument {argv[0]!r}; flags are written --name=value")
    if not FLAGS.output:
        raise UserError("nothing to do; give --output=clip.mp4")
    if bool(FLAGS.mocap) != bool(FLAGS.sequence):
        raise UserError("--mocap=FILE.zip and --sequence=NAME must be used together; give both, or neither")
    output = Path(FLAGS.output)
    for path in (output, output.with_suffix(".json")):
        if path.exists():
            raise UserError(f"{path} already exists; choose another --output")
    writer = VideoWriter(output, FLAGS.fps)
    size, count = parse_image_size(FLAGS.image_size), max(1, round(FLAGS.seconds * FLAGS.fps))
    rng = np.random.default_rng(seed_of(FLAGS.seed, "clip"))
    if FLAGS.mocap:
        motion = captured_motion(FLAGS.mocap, FLAGS.sequence, FLAGS.start, count)
    else:
        motion = drawn_motion(rng, count, FLAGS.fps)
    people = people_in_motion(rng, motion, FLAGS.clothes_dir)
    panorama, surfaces = choose_panorama(rng, FLAGS.panoramas), draw_surfaces(FLAGS.seed, SURFACES)
    examples = []
    try:
        frames = render(rng, size, panorama, surfaces, people)
        for image, example in progress(frames, count, "frame"):
            writer.write(image)
            examples.append(example)
    finally:
        writer.close()
    writer.publish()
    atomic.write_json(output.with_suffix(".json"), truth(examples, FLAGS.fps))
    print(f"{output}: {count} frames; the true joints are in {output.with_suffix('.json')}")
    return 0


def people_in_motion(rng: np.random.Generator, motion: np.ndarray, clothes_dir: str | None) -> list[PosedPerson]:
    """One random person in each pose of (F, len(BONES), 3, 3) local rotations, walking on the ground."""
    assets = load_body_assets()
    person = sample_person(rng, assets, load_wardrobe(clothes_dir, assets))
    colours = rng.bit_generator.state
    people = []
    for frame, rotations in enumerate(motion):
        rng.bit_generator.state = colours  # same colors in every frame
        people.append(person.pose(PoseSample(rotations, "clip", frame, False), rng))
        people[-1].mesh.materials = people[0].mesh.materials  # shared, because textures are large
    steps = steps_on_the_ground(np.stack([posed.joints_mm for posed in people]))
    return [
        place(posed, np.eye(3), posed.joints_mm[0] * [1, 0, 1] + step)
        for posed, step in zip(people, steps, strict=True)
    ]


def choose_panorama(rng: np.random.Generator, folder: str | None) -> Panorama:
    """One of a folder's panoramas, or a procedural one without a folder."""
    if folder is None:
        return drawn_panorama("drawn", rng)
    paths = list_panoramas(folder)
    return load_panorama(paths[rng.integers(len(paths))])


def render(
    rng: np.random.Generator,
    image_size: tuple[int, int],
    panorama: Panorama,
    surfaces: Surfaces,
    people: list[PosedPerson],
) -> Iterator[tuple[np.ndarray, PoseExample]]:
    """Yields each frame, (H, W, 3) uint8, and its labels (without the image).

    The fixed camera is placed so that it sees the person in all frames, `people`.
    """
    joints = np.concatenate([person.joints_mm for person in people])
    frame_camera = sample_camera(rng, joints, any_roll=False)
    camera = crop_camera(rng, frame_camera, joints, image_size, truncated=False)
    light = sample_light(rng, panorama, _DIFFICULTY)
    contacts = np.stack([contacts_below(person.joints_mm) for person in people]).astype(np.float32)  # (F, M, 4)
    backdrop = sample_backdrop(
        *(rng, panorama, len(surfaces.images), camera, joints.mean(0), contacts.reshape(-1, 4), _DIFFICULTY)
    )
    faults = rng.integers(2**32)
    for person, spots in zip(people, contacts, strict=True):
        solids = join_meshes([person.mesh])
        homogeneous = to_homogeneous_pixels(solids.vertices_mm, camera, scale=2.0)
        raster = rasterize(homogeneous, solids.faces, tuple(2 * n for n in image_size))
        center = person.joints_mm.mean(0)
        shadows = cast_shadows(solids.vertices_mm, solids.faces, light, center, SHADOW_RADIUS_MM, max(image_size))
        background = draw_backdrop(replace(backdrop, contacts_mm=spots), surfaces, camera, raster, light, shadows)
        linear = shade(raster, solids, background, light, shadows, camera_position(camera))
        hidden = hidden_joints(raster, solids.object_of_face, camera, person.joints_mm)
        example = label(camera, person.joints_mm, hidden, image_size, b"", _DIFFICULTY)
        yield degrade(np.random.default_rng(faults), linear, _DIFFICULTY), example


def truth(examples: list[PoseExample], fps: float) -> dict:
    """The labels of a clip's frames as values for JSON, under the names that `keras_pose.predict` uses."""
    return {
        "skeleton": HUMAN36M_17.to_dict(),
        "units": UNITS,
        "frames_per_second": fps,
        "image_size": list(examples[0].image_size),
        "intrinsics": examples[0].intrinsics.tolist(),
        "frames": [
            {
                "keypoints_px": np.round(example.keypoints_2d_px, 2).tolist(),
                "keypoint_hidden": example.keypoint_hidden.tolist(),
                "pose_3d_mm": np.round(example.pose_3d_mm, 1).tolist(),
                "root_position_mm": np.round(example.root_position_mm, 1).tolist(),
            }
            for example in examples
        ],
    }


if __name__ == "__main__":
    define_flags()
    command.run(main)
