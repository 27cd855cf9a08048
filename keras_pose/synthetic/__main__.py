"""The command `python -m keras_pose.synthetic`: renders synthetic people into shards.

    python -m keras_pose.synthetic --preview=sheet.png
    python -m keras_pose.synthetic --output=people --count=100000 --mocap=mocap_bvh.zip --panoramas=hdri

A second run of the same command finishes what the first left. docs/synthetic.md tells how to get the parts.
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
_WARM_UP = 20  # examples that a profile leaves out: they load and compile


def define_flags() -> None:
    flags.DEFINE_string("output", None, "The folder for the shards; new, or one that an earlier run left unfinished.")
    flags.DEFINE_integer("count", 1000, "Examples in all splits together.", lower_bound=1)
    flags.DEFINE_string("image_size", "256", "Size of the images in pixels: one number, or HEIGHTxWIDTH.")
    flags.DEFINE_integer("seed", 0, "The same seed and settings give the same bytes.", lower_bound=0)
    flags.DEFINE_list("split_fractions", ["0.9", "0.05", "0.05"], "Shares of train, validation and test.")
    flags.DEFINE_string("difficulty", "0:1", "LOW:HIGH, drawn for each image; 0 is clean, 1 has every fault.")
    flags.DEFINE_string("mocap", None, "Motion capture: a folder or zip of BVH files. Without it poses are drawn.")
    flags.DEFINE_string("clothes_dir", None, "MakeHuman clothes. Without it clothes are painted on.")
    flags.DEFINE_string("panoramas", None, "A folder of .exr, .hdr or .exr.js files. Without it they are drawn.")
    flags.DEFINE_float("roll_share", 0.3, "Share of images turned by any angle.", lower_bound=0.0, upper_bound=1.0)
    flags.DEFINE_float(
        "drawn_pose_share",
        0.15,
        "Share of poses drawn within joint limits, beside --mocap.",
        lower_bound=0,
        upper_bound=1,
    )
    flags.DEFINE_integer("bodies", 400, "Different people in all splits together.", lower_bound=3)
    flags.DEFINE_integer("jpeg_quality", 92, "Of the stored images.", lower_bound=30, upper_bound=100)
    flags.DEFINE_integer("workers", os.cpu_count() or 1, "Processes that work in parallel.", lower_bound=1)
    flags.DEFINE_integer("shard_size", 500, "Examples in a shard.", lower_bound=1)
    flags.DEFINE_string("preview", None, f"Draw the first {_PREVIEW_COUNT} examples with their poses into this PNG.")
    flags.DEFINE_integer(
        "profile", None, "Render so many examples in one process and print the time of each stage; 512 is fair.", 1
    )
    flags.DEFINE_string("json", None, "With --profile: write its figures to this file, too.")


def main(argv: list[str]) -> int:
    if argv:
        raise UserError(f"unexpected argument {argv[0]!r}; give everything as --name=value")
    if not (FLAGS.output or FLAGS.preview or FLAGS.profile):
        raise UserError("nothing to do; give --output=DIR, --preview=sheet.png or --profile=200")
    settings = settings_from_flags()
    if FLAGS.profile:
        print_profile(loaded_generator(settings, Settings.people), FLAGS.profile, FLAGS.json)
    if FLAGS.preview:
        draw_preview(loaded_generator(settings, Settings.people), FLAGS.preview)
    if FLAGS.output:
        for library in ("OMP", "OPENBLAS", "MKL"):
            os.environ[f"{library}_NUM_THREADS"] = "1"  # read by the workers: they are parallel enough
        manifest = generate(
            settings, Path(FLAGS.output), FLAGS.shard_size, FLAGS.workers, command_line=command_line(sys.argv[1:])
        )
        counts = ", ".join(f"{split} {sum(e.count for e in entries)}" for split, entries in manifest.splits.items())
        print(f"{FLAGS.output}: {counts}")
    return 0


def settings_from_flags() -> Settings:
    """Raises UserError for values that do not parse."""
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
    """A contact sheet of the first training examples: image, 2D joints (hidden ones hollow), 3D from the side."""
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
    """A table of processor milliseconds per stage and example, in one process."""
    for index in range(_WARM_UP):
        generator.example("train", index)
    generator.clock.seconds.clear()
    start = time.process_time()
    first = EXAMPLES_PER_BLOCK  # a block starts with nobody dressed: a profile of 512 has the true share of dressing
    for index in progress(range(first, first + count), count, "images"):
        generator.example("train", index)
    total = 1000 * (time.process_time() - start) / count
    stages = generator.clock.milliseconds(count)
    for stage, milliseconds in stages.items():
        print(f"{stage:24} {milliseconds:7.2f} ms")
    print(f"{'all':24} {total:7.2f} ms, {1000 / total:.0f} images/s a process")
    if json_path:
        values = {"stages_ms": stages, "total_ms": total, "images_per_second": 1000 / total}
        atomic.write_json(json_path, values | {"image_size": list(generator.settings.scene.image_size)})


if __name__ == "__main__":
    define_flags()
    command.run(main)
