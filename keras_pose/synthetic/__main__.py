"""The command `python -m keras_pose.synthetic`: renders synthetic people to shards.

    python -m keras_pose.synthetic --preview=sheet.png
    python -m keras_pose.synthetic --output=people --count=100000 --mocap=mocap_bvh.zip --panoramas=hdri

The same command again finishes an interrupted run. docs/synthetic.md explains how to get the assets.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.core.progress import progress
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data.prepare import parse_image_size
from keras_pose.io import atomic
from keras_pose.synthetic.generate import Generator, Settings, command_line, generate, loaded_generator
from keras_pose.synthetic.people import EXAMPLES_PER_BLOCK
from keras_pose.synthetic.scene.studio import SceneSettings
from keras_pose.visualization import drawing

FLAGS = flags.FLAGS
_PREVIEW_COUNT, _PREVIEW_COLUMNS, _PREVIEW_HEIGHT = 24, 3, 256
_WARM_UP = 20  # examples before a profile begins, because the first ones load and compile


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("output", None, "Folder for the shards: new, or from an interrupted run.")
    flags.DEFINE_integer("count", 1000, "Number of examples in all splits together.", lower_bound=1)
    flags.DEFINE_string("image_size", "256", "Size of the images in pixels: one number, or HEIGHTxWIDTH.")
    flags.DEFINE_integer("seed", 0, "Seed; the same seed and settings give the same bytes.", lower_bound=0)
    flags.DEFINE_list("split_fractions", ["0.9", "0.05", "0.05"], "Shares of train, validation and test.")
    flags.DEFINE_string("difficulty", "0:1", "LOW:HIGH, drawn per image, from 0 (easiest) to 1 (hardest).")
    flags.DEFINE_string("mocap", None, "Motion capture: a folder or zip of BVH files; default: procedural poses.")
    flags.DEFINE_string("clothes_dir", None, "Folder of MakeHuman clothes; default: painted clothes.")
    flags.DEFINE_string("panoramas", None, "Folder of .exr, .hdr or .exr.js files; procedural ones are always used.")
    flags.DEFINE_float("roll_share", 0.3, "Share of images rotated by any angle.", lower_bound=0.0, upper_bound=1.0)
    flags.DEFINE_float(
        "drawn_pose_share",
        0.15,
        "With --mocap: share of procedural poses, which are drawn within joint limits.",
        lower_bound=0,
        upper_bound=1,
    )
    flags.DEFINE_integer("bodies", 400, "Number of people in all splits together.", lower_bound=3)
    flags.DEFINE_integer("jpeg_quality", 92, "JPEG quality of the images.", lower_bound=30, upper_bound=100)
    flags.DEFINE_integer("workers", os.cpu_count() or 1, "Number of parallel processes.", lower_bound=1)
    flags.DEFINE_integer("shard_size", 500, "Number of examples per shard.", lower_bound=1)
    flags.DEFINE_string("preview", None, f"PNG file for the first {_PREVIEW_COUNT} examples with their poses.")
    flags.DEFINE_integer(
        "profile", None, "Render this many examples (best 512) in one process and print the time per stage.", 1
    )
    flags.DEFINE_string("json", None, "With --profile: JSON file to write the figures to.")


def main(argv: list[str]) -> int:
    """Runs the command."""
    if argv:
        raise UserError(f"unknown argument {argv[0]!r}; flags are written --name=value")
    if not (FLAGS.output or FLAGS.preview or FLAGS.profile):
        raise UserError("nothing to do; give --output=DIR, --preview=sheet.png or --profile=200")
    settings = settings_from_flags()
    if FLAGS.profile:
        print_profile(loaded_generator(settings, Settings.people), FLAGS.profile, FLAGS.json)
    if FLAGS.preview:
        draw_preview(loaded_generator(settings, Settings.people), FLAGS.preview)
    if FLAGS.output:
        for library in ("OMP", "OPENBLAS", "MKL"):
            os.environ[f"{library}_NUM_THREADS"] = "1"  # for the workers, which already run in parallel
        manifest = generate(
            settings, Path(FLAGS.output), FLAGS.shard_size, FLAGS.workers, command_line=command_line(sys.argv[1:])
        )
        counts = ", ".join(f"{split} {sum(e.count for e in entries)}" for split, entries in manifest.splits.items())
        print(f"{FLAGS.output}: {counts}")
    return 0


def settings_from_flags() -> Settings:
    """The settings from the flags; raises UserError for invalid values."""
    try:
        fractions = tuple(float(word) for word in FLAGS.split_fractions)
        low, high = (float(word) for word in FLAGS.difficulty.split(":"))
    except ValueError as error:
        raise UserError(f"give --split_fractions=0.9,0.05,0.05 and --difficulty=0:1 as numbers ({error})") from error
    if len(fractions) != 3:
        raise UserError(f"--split_fractions has {len(fractions)} numbers; give train,validation,test")
    size = parse_image_size(FLAGS.image_size)
    scene = SceneSettings(size, (low, high), FLAGS.roll_share, FLAGS.jpeg_quality)
    assets = {name: FLAGS[name].value for name in ("mocap", "clothes_dir", "panoramas")}
    return Settings(
        FLAGS.count, FLAGS.seed, fractions, scene, FLAGS.bodies, **assets, drawn_pose_share=FLAGS.drawn_pose_share
    )


def draw_preview(generator: Generator, path: str) -> None:
    """Draws a contact sheet of the first training examples: image, 2D joints (hidden ones hollow), 3D from the side."""
    cells = []
    for index in progress(range(_PREVIEW_COUNT), _PREVIEW_COUNT, "images"):
        example = generator.example("train", index)
        picture = drawing.fit_height(example.decode_image(), _PREVIEW_HEIGHT)
        scores = (~example.keypoint_hidden).astype(float)
        joints = drawing.draw_keypoints(
            example.decode_image(), example.keypoints_2d_px, HUMAN36M_17, scores=scores, min_height=_PREVIEW_HEIGHT
        )
        size = (_PREVIEW_HEIGHT, _PREVIEW_HEIGHT)
        side = drawing.draw_pose_3d(example.pose_3d_mm, HUMAN36M_17, size, yaw_deg=60, label="3D, from the side")
        cells.append(np.concatenate([picture, drawing.fit_height(joints, _PREVIEW_HEIGHT), side], axis=1))
    drawing.save_png(path, drawing.contact_sheet(cells, _PREVIEW_COLUMNS))
    print(f"{path}: {len(cells)} examples")


def print_profile(generator: Generator, count: int, json_path: str | None) -> None:
    """Prints processor milliseconds per stage and example, in one process; also writes them to `json_path`, if any."""
    for index in range(_WARM_UP):
        generator.example("train", index)
    generator.clock.seconds.clear()
    start = time.process_time()
    first = EXAMPLES_PER_BLOCK  # a block starts with dressing; 512 examples, a whole block, have the true share of it
    for index in progress(range(first, first + count), count, "images"):
        generator.example("train", index)
    total = 1000 * (time.process_time() - start) / count
    stages = generator.clock.milliseconds(count)
    for stage, milliseconds in stages.items():
        print(f"{stage:24} {milliseconds:7.2f} ms")
    print(f"{'all':24} {total:7.2f} ms, {1000 / total:.0f} images/s per process")
    if json_path:
        values = {"stages_ms": stages, "total_ms": total, "images_per_second": 1000 / total}
        atomic.write_json(json_path, values | {"image_size": list(generator.settings.scene.image_size)})


if __name__ == "__main__":
    define_flags()
    command.run(main)
