"""Trains the finder on rendered people and photos.

    python -m keras_pose.finding.train --photos=photos --labels=labels.npz --mocap=mocap_bvh.zip \\
        --clothes_dir=makehuman-assets/base --panoramas=package/hdri --work=finder_work --output=runs/finder

It starts from the HRNet of a trained pose network. --labels is what `keras_pose.finding.label` writes. --work keeps the
rendered people for the next run. A run folder holds model.keras, model.json, recipe.flags and metrics.jsonl.
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
from keras_pose.io.finder_info import FinderInfo
from keras_pose.weights import SHIPPED_WEIGHTS

FLAGS = flags.FLAGS
RECIPE = "recipe.flags"
PATHS = ("photos", "labels", "mocap", "clothes_dir", "panoramas", "work", "output", "init_from")
HELD_OUT_CUTOUTS = 100
VALIDATION_SCENES = 256
TEXTURES = 132
CLIP_NORM, MUON_FACTOR = 5.0, 8.0
BOX_WEIGHT = 1.0
AVERAGING = 0.995  # of the moving average of the weights, a step


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """The command's flags."""
    flags.DEFINE_string("photos", None, "The folder that the label files' paths start from.", flag_values=values)
    flags.DEFINE_list("labels", [], "Label files of keras_pose.finding.label.", flag_values=values)
    flags.DEFINE_string("mocap", None, "A folder or zip of BVH files. Without it poses are drawn.", flag_values=values)
    flags.DEFINE_string("clothes_dir", None, "MakeHuman clothes. Without it they are painted on.", flag_values=values)
    flags.DEFINE_string("panoramas", None, "A folder of panoramas. Without it they are drawn.", flag_values=values)
    flags.DEFINE_string("work", None, "A folder that keeps the rendered people between runs.", flag_values=values)
    flags.DEFINE_string("output", None, "The run folder to write.", flag_values=values)
    flags.DEFINE_string("init_from", "phone", "Start from a finder's run, or from the HRNet of a pose "
                        "model: a run folder, or shipped weights by name; empty: from random weights.",
                        flag_values=values)  # fmt: skip
    flags.DEFINE_integer("input_size", 192, "Side of the square input, a multiple of 32.", flag_values=values)
    flags.DEFINE_enum("precision", "auto", ("auto", "float32", "mixed_bfloat16"), "Of the training; auto: "
                      "mixed_bfloat16 if the hardware supports it, else float32.", flag_values=values)  # fmt: skip
    flags.DEFINE_integer("rendered_people", 2400, "Rendered people to paste.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("bodies", 240, "Different bodies of rendered people.", lower_bound=3, flag_values=values)
    flags.DEFINE_float("lsp_share", 1.0, "Share of the photos of lsp_extended_train to use.", 0, 1, flag_values=values)
    flags.DEFINE_float("cut_share", 0.3, "Share of the other photos to cut people from.", 0, 1, flag_values=values)
    flags.DEFINE_integer("steps", 6000, "Training steps.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("first_scene", 0, "Number of the first scene: to continue a run with scenes that it has not "
                         "seen, its steps times its batch size.", lower_bound=0, flag_values=values)  # fmt: skip
    flags.DEFINE_integer("batch_size", 16, "Scenes per step.", lower_bound=1, flag_values=values)
    flags.DEFINE_float("learning_rate", 0.001, "After the warm-up.", lower_bound=0, flag_values=values)
    flags.DEFINE_float("decay_share", 0.35, "Share of the steps at the end in which the rate falls to 0.", 0, 1,
                       flag_values=values)  # fmt: skip
    flags.DEFINE_integer("save_steps", 250, "Steps between two saved models.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("threads_per_operation", 1, "Processors per operation; with 1 the trunk's branches run in "
                         "parallel instead; 0 uses all.", lower_bound=0, flag_values=values)  # fmt: skip
    flags.DEFINE_integer("seed", 1, "Of everything drawn.", lower_bound=0, flag_values=values)


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
    """The flags that repeat the run, folders and files by their last names."""
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
    """What the scenes of a split are made of, by the flags."""
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
        f"photos, {len(pool.empty)} places without anyone",
        flush=True,
    )
    return pool


def batches(pool: material.Pool, seed: int, batch_size: int, size: int, stride: int, number: int = 0):
    """Endless batches from scene `number` on: `image` (B, S, S, 3) uint8 and the maps of `targets`."""
    while True:
        drawn = [scenes.compose(np.random.default_rng([seed, number + i]), pool, size) for i in range(batch_size)]
        number += batch_size
        maps = [targets(scene, stride) for scene in drawn]
        yield {"image": np.stack([scene.image for scene in drawn])} | {
            key: np.stack([each[key] for each in maps]) for key in maps[0]
        }


def train(pools: dict[str, material.Pool], output: Path) -> None:
    """The training loop; saves the moving average of the weights."""
    import keras
    import tensorflow as tf

    from keras_pose.losses.centers import box_loss, center_loss
    from keras_pose.models import finder, model_folder
    from keras_pose.models.precision import fastest_precision, layer_precision
    from keras_pose.training.experiment import OptimizerConfig
    from keras_pose.training.muon import make_optimizer

    keras.utils.set_random_seed(FLAGS.seed)
    if FLAGS.threads_per_operation:
        tf.config.threading.set_intra_op_parallelism_threads(FLAGS.threads_per_operation)
    size = FLAGS.input_size
    with layer_precision(fastest_precision() if FLAGS.precision == "auto" else FLAGS.precision):
        model = finder.build_finder(size)
    average = finder.build_finder(size)  # saved, so in float32
    if FLAGS.init_from:
        folder = SHIPPED_WEIGHTS.get(FLAGS.init_from, Path(FLAGS.init_from))
        untrained = finder.start_from(model, model_folder.load_model(folder / model_folder.MODEL))
        print(f"weights from {FLAGS.init_from}" + (f"; untrained: {', '.join(untrained)}" if untrained else ""))
    average.set_weights(model.get_weights())
    total, warmup = FLAGS.steps, min(100, FLAGS.steps // 4 + 1)
    optimizer = make_optimizer(
        model.trainable_variables, OptimizerConfig(name="muon", muon_factor=MUON_FACTOR, clip_norm=CLIP_NORM)
    )

    @tf.function(reduce_retracing=True)
    def step(batch, rate, momentum):
        with tf.GradientTape() as tape:
            outputs = model(tf.cast(batch["image"], tf.float32), training=True)
            centers = center_loss(batch["centers"], batch["center_weight"], outputs["centers"])
            boxes = box_loss(batch["boxes"], batch["box_weight"], outputs["boxes"])
            loss = centers + BOX_WEIGHT * boxes
        optimizer.apply(optimizer.flatten(tape.gradient(loss, model.trainable_variables)), rate)
        for kept, now in zip(average.variables, model.variables, strict=True):
            kept.assign(momentum * kept + (1 - momentum) * now)
        return centers, boxes

    example = next(batches(pools["train"], 0, 1, size, finder.STRIDE))
    signature = {key: tf.TensorSpec((FLAGS.batch_size, *v.shape[1:]), v.dtype) for key, v in example.items()}
    data = tf.data.Dataset.from_generator(
        lambda: batches(pools["train"], FLAGS.seed, FLAGS.batch_size, size, finder.STRIDE, FLAGS.first_scene),
        output_signature=signature,
    ).prefetch(4)
    held_out = next(batches(pools["validation"], 7, VALIDATION_SCENES, size, finder.STRIDE))
    losses, start = [], time.monotonic()
    with open(output / "metrics.jsonl", "a") as log:
        for number, batch in enumerate(progress(data.take(total), total, "step"), 1):
            rate = FLAGS.learning_rate * rate_factor(number, total, warmup, FLAGS.decay_share)
            momentum = min(AVERAGING, number / (number + 10.0))
            losses.append([float(value) for value in step(batch, *tf.constant([rate, momentum], tf.float32))])
            if number % FLAGS.save_steps and number != total:
                continue
            values = dict(zip(("center_loss", "box_loss"), np.mean(losses, axis=0).round(4).tolist(), strict=True))
            values |= {f"validation_{k}": v for k, v in evaluate(average, held_out).items()}
            values = {"step": number, "seconds": round(time.monotonic() - start)} | values
            print(json.dumps(values), file=log, flush=True)
            print(json.dumps(values), flush=True)
            losses = []
            save(average, output, values)


def rate_factor(step: int, total: int, warmup: int, decay_share: float) -> float:
    """Of the learning rate: rises over the warm-up, stays, and falls to 0 over the last share of the steps."""
    return min(1.0, step / warmup, (total - step + 1) / max(decay_share * total, 1.0))


def evaluate(model, batch: dict) -> dict[str, float]:
    """The losses over a batch."""
    from keras_pose.losses.centers import box_loss, center_loss

    found = [
        model(batch["image"][i : i + 32].astype(np.float32), training=False) for i in range(0, len(batch["image"]), 32)
    ]
    outputs = {key: np.concatenate([np.asarray(part[key]) for part in found]) for key in found[0]}
    return {
        "center_loss": round(float(center_loss(batch["centers"], batch["center_weight"], outputs["centers"])), 4),
        "box_loss": round(float(box_loss(batch["boxes"], batch["box_weight"], outputs["boxes"])), 4),
    }


def save(model, output: Path, values: dict) -> None:
    """Writes model.keras and model.json."""
    from keras_pose import __version__
    from keras_pose.models import finder, model_folder

    info = FinderInfo(
        input_size=(FLAGS.input_size, FLAGS.input_size),
        stride=finder.STRIDE,
        versions={"keras_pose": __version__},
        metrics=values,
    )
    model_folder.write_model(output, model, info)


if __name__ == "__main__":
    define_flags()
    command.run(main)
