"""Trains the finder on scenes of rendered people and photos.

    python -m keras_pose.finding.train --photos=photos --labels=labels.npz --mocap=mocap_bvh.zip \\
        --clothes_dir=makehuman-assets/base --panoramas=package/hdri --work=finder_work --output=runs/finder

Training starts from the HRNet of a trained pose network (--init_from). `keras_pose.finding.label` writes the --labels.
--work keeps the rendered people for the next run. The run folder gets model.keras, model.json, recipe.flags and
metrics.jsonl.
"""

import json
import time
from pathlib import Path

import numpy as np
from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.core.progress import progress
from keras_pose.finding import cutouts, material, photos, scenes
from keras_pose.finding.targets import targets
from keras_pose.weights import SHIPPED_WEIGHTS

FLAGS = flags.FLAGS
RECIPE = "recipe.flags"
PATHS = ("photos", "labels", "mocap", "clothes_dir", "panoramas", "work", "output", "init_from")
HELD_OUT_CUTOUTS = 100  # rendered people in the validation scenes
VALIDATION_SCENES, VALIDATION_SEED = 256, 7
TEXTURES = 132
AVERAGING = 0.995  # decay of the moving average of the weights, per step


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("photos", None, "Folder that the paths in the label files start from.", flag_values=values)
    flags.DEFINE_list("labels", [], "Label files of keras_pose.finding.label.", flag_values=values)
    flags.DEFINE_string("mocap", None, "Folder or zip of BVH files; default: random poses.", flag_values=values)
    flags.DEFINE_string("clothes_dir", None, "Folder of MakeHuman clothes; default: painted on.", flag_values=values)
    flags.DEFINE_string("panoramas", None, "Folder of panoramas; default: procedural ones.", flag_values=values)
    flags.DEFINE_string("work", None, "Folder that keeps the rendered people between runs.", flag_values=values)
    flags.DEFINE_string("output", None, "Run folder to write.", flag_values=values)
    flags.DEFINE_string("init_from", "phone", "Start from a finder's run, or from the HRNet of a pose "
                        "model: a run folder, or shipped weights by name; empty: from random weights.",
                        flag_values=values)  # fmt: skip
    flags.DEFINE_integer("input_size", 192, "Side of the square input, a multiple of 32.", flag_values=values)
    flags.DEFINE_enum("precision", "auto", ("auto", "float32", "mixed_bfloat16"), "Precision of training. auto "
                      "is mixed_bfloat16 if the hardware supports it, else float32.", flag_values=values)  # fmt: skip
    flags.DEFINE_integer("rendered_people", 2400, "Rendered people to paste.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("bodies", 240, "Different bodies of rendered people.", lower_bound=3, flag_values=values)
    flags.DEFINE_float("lsp_share", 1.0, "Share of the photos to use from folders other than street and exercise, such "
                       "as lsp_extended_train.", 0, 1, flag_values=values)  # fmt: skip
    flags.DEFINE_float("cut_share", 0.3, "Share of the photos outside lsp_extended_train to cut people from.", 0, 1,
                       flag_values=values)  # fmt: skip
    flags.DEFINE_integer("steps", 6000, "Training steps.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("first_scene", 0, "Number of the first scene. To continue a run with new scenes, give its "
                         "steps times its batch size.", lower_bound=0, flag_values=values)  # fmt: skip
    flags.DEFINE_integer("batch_size", 16, "Scenes per step.", lower_bound=1, flag_values=values)
    flags.DEFINE_float("learning_rate", 0.001, "Learning rate after the warm-up.", lower_bound=0, flag_values=values)
    flags.DEFINE_float("decay_share", 0.35, "Last share of the steps, in which the rate falls to 0.", 0, 1,
                       flag_values=values)  # fmt: skip
    flags.DEFINE_integer("save_steps", 250, "Steps between two saved models.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("threads_per_operation", 1, "Threads per operation; 0 uses all processors. With 1, the "
                         "trunk's branches run in parallel instead.", lower_bound=0, flag_values=values)  # fmt: skip
    flags.DEFINE_integer("seed", 1, "Seed of people, scenes and weights.", lower_bound=0, flag_values=values)


def main(arguments: list[str]) -> None:
    """Runs the command."""
    if arguments:
        raise UserError(f"unknown argument {arguments[0]!r}; give everything as --name=value")
    for name in ("photos", "labels", "work", "output"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing; see --help")
    output = Path(FLAGS.output)
    output.mkdir(parents=True, exist_ok=True)
    (output / RECIPE).write_text(recipe())
    pools = {split: load_pool(split) for split in ("train", "validation")}
    train(pools, output)


def recipe() -> str:
    """The run's flags, one per line, without --output; paths are reduced to their last part."""
    lines = []
    own = flags.FlagValues()
    define_flags(own)
    for name in sorted(own):
        value = FLAGS[name].value
        if name in PATHS and value:
            value = ",".join(Path(each).name for each in ([value] if isinstance(value, str) else value))
        if value is not None and name != "output":
            lines.append(f"--{name}={value}")
    return "\n".join(lines) + "\n"


def load_pool(split: str) -> material.Pool:
    """The material for the scenes of a split, by the flags."""
    from keras_pose.synthetic.generate import load_panoramas
    from keras_pose.synthetic.scene.surfaces import draw_surfaces

    settings = cutouts.people_settings(FLAGS.seed, FLAGS.bodies, FLAGS.mocap, FLAGS.clothes_dir, FLAGS.panoramas)
    count = FLAGS.rendered_people if split == "train" else HELD_OUT_CUTOUTS
    people = cutouts.load_or_render(Path(FLAGS.work) / f"cutouts_{split}.npz", settings, split, count)
    chosen = [photo for photo in photos.read_photos(FLAGS.photos, FLAGS.labels) if photo.split == split]
    chosen = [p for i, p in enumerate(chosen) if p.kind in photos.HELD_OUT or (i * 0.618) % 1 < FLAGS.lsp_share]
    textures = draw_surfaces(FLAGS.seed, TEXTURES).images
    cut_share = FLAGS.cut_share if split == "train" else 0.0
    pool = material.make_pool(chosen, people, load_panoramas(settings, split), textures, cut_share)
    print(
        f"{split}: {len(people)} rendered people, {len(pool.photos)} photos, {len(pool.real_cutouts)} people cut from "
        f"photos, {len(pool.empty)} backgrounds without people",
        flush=True,
    )
    return pool


def batches(pool: material.Pool, seed: int, batch_size: int, size: int, stride: int, number: int = 0):
    """Yields batches without end, from scene `number` on: `image` (B, S, S, 3) uint8 and the maps of `targets`."""
    while True:
        drawn = [scenes.compose(np.random.default_rng([seed, number + i]), pool, size) for i in range(batch_size)]
        number += batch_size
        maps = [targets(scene, stride) for scene in drawn]
        yield {"image": np.stack([scene.image for scene in drawn])} | {
            key: np.stack([each[key] for each in maps]) for key in maps[0]
        }


def train(pools: dict[str, material.Pool], output: Path) -> None:
    """Trains by the flags; every `save_steps`, validates and saves the moving average of the weights."""
    from keras_pose.finding.learner import Learner

    size, batch_size = FLAGS.input_size, FLAGS.batch_size
    learner = Learner(size, FLAGS.precision, FLAGS.threads_per_operation, FLAGS.seed)
    if FLAGS.init_from:
        untrained = learner.start_from(SHIPPED_WEIGHTS.get(FLAGS.init_from, Path(FLAGS.init_from)))
        print(f"weights from {FLAGS.init_from}" + (f"; untrained: {', '.join(untrained)}" if untrained else ""))
    drawn = batches(pools["train"], FLAGS.seed, batch_size, size, learner.stride, FLAGS.first_scene)
    held_out = next(batches(pools["validation"], VALIDATION_SEED, VALIDATION_SCENES, size, learner.stride))
    total, warmup = FLAGS.steps, min(100, FLAGS.steps // 4 + 1)
    losses, start = [], time.monotonic()
    with open(output / "metrics.jsonl", "a") as log:
        for number, batch in enumerate(progress(learner.prefetched(drawn, total), total, "step"), 1):
            rate = FLAGS.learning_rate * rate_factor(number, total, warmup, FLAGS.decay_share)
            losses.append(learner.step(batch, rate, min(AVERAGING, number / (number + 10.0))))
            if number % FLAGS.save_steps and number != total:
                continue
            values = {"step": number, "seconds": round(time.monotonic() - start)}
            values |= {name: round(float(np.mean([each[name] for each in losses])), 4) for name in losses[0]}
            values |= {f"validation_{name}": round(value, 4) for name, value in learner.losses(held_out).items()}
            print(json.dumps(values), file=log, flush=True)
            print(json.dumps(values), flush=True)
            losses = []
            learner.save(output, values)


def rate_factor(step: int, total: int, warmup: int, decay_share: float) -> float:
    """The learning rate's factor in step 1 to `total`: rises in the warm-up, stays at 1, then falls towards 0."""
    return min(1.0, step / warmup, (total - step + 1) / max(decay_share * total, 1.0))


if __name__ == "__main__":
    define_flags()
    command.run(main)
