"""The command `python -m keras_pose.data.prepare`: converts a data set that the user has into shards.

    python -m keras_pose.data.prepare --source=list
    python -m keras_pose.data.prepare --source=human36m --input=Human3.6M --output=h36m --frame_step=5

It works in parallel and resumes if interrupted. docs/data.md describes the way from the download to training.
"""

import dataclasses
import functools
import itertools
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from absl import flags

import keras_pose
from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.data import shard_jobs, shards
from keras_pose.data.example import PoseExample
from keras_pose.data.shard_jobs import BadFrame
from keras_pose.data.sources import SOURCES, get_source
from keras_pose.data.sources.base import Item, Options, Source, describe_items
from keras_pose.data.sources.photo_labels import labels_hash

FLAGS = flags.FLAGS
DEFAULTS = Options()


def define_flags() -> None:
    """Defines the command's flags; those for `Options` have the names of its fields."""
    flags.DEFINE_string("source", None, "Format of the input; `list` prints all formats.", required=True)
    flags.DEFINE_string("input", None, "Folder of the download; for mocap and video also a single file.")
    flags.DEFINE_string("output", None, "Folder for the shards: new, or left unfinished by an earlier run.")
    flags.DEFINE_string("image_size", "256", "Size of the crops in pixels: one number, or HEIGHTxWIDTH.")
    flags.DEFINE_integer("frame_step", DEFAULTS.frame_step, "Take every nth frame.", lower_bound=1)
    flags.DEFINE_string("skeleton", None, "Skeleton to map the joints to: a name or .json file; default: the source's.")
    flags.DEFINE_float("margin", DEFAULTS.margin, "Side of the crop, relative to the person's box.", lower_bound=1.0)
    flags.DEFINE_bool("smooth", True, "Smooth images before they shrink; published HRNet code does not (--nosmooth).")
    flags.DEFINE_bool("allow_pickle", False, "Load pickled files. They can run code: only for files that you trust.")
    flags.DEFINE_bool("drop_bad_sequences", False, "Leave out sequences that are known to be mislabeled.")
    flags.DEFINE_enum("split", None, shards.SPLITS, "Put everything into this split, instead of the source's splits.")
    flags.DEFINE_list(
        "teacher",
        [],
        "Models that label images: movenet-thunder.json, pose_landmark_heavy.tflite, or both, separated by a comma. "
        "Required for photos and video; for lsp, lsp_extended, coco, mpii and folder they complete human labels.",
    )
    flags.DEFINE_string(
        "teacher_cache",
        None,
        "File that keeps the teachers' answers; created if missing. Preparing the same images for another size or "
        "skeleton then runs no teacher.",
    )
    flags.DEFINE_integer("workers", os.cpu_count() or 1, "Number of parallel processes.", lower_bound=1)
    flags.DEFINE_integer("shard_size", 1000, "Approximate number of examples per shard.", lower_bound=1)
    flags.DEFINE_string("items", None, "START:STOP: take only these photos or recordings of the source, in its order.")
    flags.DEFINE_float(
        "max_bad_share",
        shard_jobs.LARGEST_BAD_SHARE,
        "Stop if a larger share of the frames is bad; 1 stops only if no frame can be used.",
        lower_bound=0.0,
        upper_bound=1.0,
    )
    flags.DEFINE_integer("limit", None, "Take at most this many frames per split, spread over it; for a first try.", 1)


def main(argv: list[str]) -> int:
    if argv:
        raise UserError(f"unexpected argument {argv[0]!r}; give everything as --name=value")
    if FLAGS.source == "list":
        for source in SOURCES.values():
            print(f"{source.name}: {source.summary} Terms: {source.terms}")
        return 0
    for name in ("input", "output"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing; see python -m keras_pose.data.prepare --help")
    option_names = {f.name for f in dataclasses.fields(Options)} - {"image_size"}
    values = {name: FLAGS[name].value for name in option_names}
    options = Options(parse_image_size(FLAGS.image_size), **values | {"teacher": tuple(FLAGS.teacher)})
    source = get_source(FLAGS.source)
    chosen = parse_range(FLAGS.items) if FLAGS.items else None
    prepare(
        source,
        Path(FLAGS.input),
        Path(FLAGS.output),
        options,
        FLAGS.workers,
        FLAGS.shard_size,
        FLAGS.limit,
        chosen,
        FLAGS.max_bad_share,
    )
    return 0


def parse_image_size(text: str) -> tuple[int, int]:
    """`256` or `256x192` (height x width) to (height, width); raises UserError for anything else."""
    words = text.split("x")
    if len(words) > 2 or not all(word.isdecimal() and 32 <= int(word) <= 4096 for word in words):
        raise UserError(f"--image_size={text} is neither a number from 32 to 4096 nor HEIGHTxWIDTH; try 256 or 256x192")
    return int(words[0]), int(words[-1])


def parse_range(text: str) -> tuple[int, int]:
    """`0:700` to (0, 700); raises UserError for anything else."""
    words = text.split(":")
    if len(words) != 2 or not all(word.isdecimal() for word in words) or int(words[0]) >= int(words[1]):
        raise UserError(f"--items={text} is not START:STOP, two growing numbers; the first 700 are 0:700")
    return int(words[0]), int(words[1])


def prepare(
    source: Source,
    input_dir: Path,
    output_dir: Path,
    options: Options,
    workers: int = 1,
    shard_size: int = 1000,
    limit: int | None = None,
    chosen: tuple[int, int] | None = None,
    max_bad_share: float = shard_jobs.LARGEST_BAD_SHARE,
) -> shards.Manifest:
    """Converts input in a source's format into a data set folder, and prints what it contains.

    Resumes if an earlier call was interrupted; returns the manifest of a finished folder as it is.

    Args:
        shard_size: a shard ends once it has at least this many frames.
        limit: takes at most this many frames per split; None takes all.
        chosen: (start, stop) takes only these of the source's items; None takes all.
        max_bad_share: share of bad frames above which the job stops.

    Raises:
        UserError: missing or broken input; an output folder with other settings or labels, or in use by another
            process; too many bad frames, or no usable one.
    """
    if not (input_dir.is_dir() or source.takes_file and input_dir.is_file()):
        raise UserError(f"--input={input_dir} is not a folder; {source.name} needs: {source.summary}")
    source.target_skeleton(options)  # raises UserError for an unknown one
    listed = source.list_items(input_dir, options)
    items = [item for item in listed if isinstance(item, Item)]
    bad = [frame for frame in listed if isinstance(frame, BadFrame)]
    if chosen or limit:  # they are of the whole input, not of the chosen part
        bad = [dataclasses.replace(frame, skipped=True) for frame in bad]
    if bad and not items:
        raise UserError(f"no entry of {input_dir} can be used; the first is {bad[0].where}: {bad[0].why}")
    if chosen:
        if chosen[1] > len(items):
            raise UserError(f"--items={chosen[0]}:{chosen[1]}, but {input_dir} has {len(items)}; lower the last number")
        items = items[slice(*chosen)]
    if options.split:
        items = [dataclasses.replace(item, split=options.split) for item in items]
    items = limit_items(items, limit)
    if not items:
        raise UserError(f"{input_dir} holds nothing for {source.name}, which needs: {source.summary}")
    print_splits(items)
    if bad:
        print(f"{len(bad)} entries cannot be used; the first is {bad[0].where}: {bad[0].why}")
    settings = {"command": "keras_pose.data.prepare", "source": source.name, "shard_size": shard_size, "limit": limit}
    settings |= {"items": list(chosen)} if chosen else {}
    settings |= dataclasses.asdict(options) | {"input_listing": describe_items(items, input_dir)}
    del settings["teacher_cache"]  # changes the labels only by rounding
    settings[shard_jobs.LABELS] = labels_hash(items)
    settings["teacher"] = list(options.teacher) or None  # the form in folders begun before there could be two
    with shard_jobs.claimed(output_dir, settings) as is_finished:
        if is_finished:
            manifest = shards.read_manifest(output_dir)
            labels = settings[shard_jobs.LABELS]
            if manifest.generator.get("labels", labels) != labels:  # finished before settings had them
                raise UserError(
                    f"{output_dir} was made of other labels than {input_dir} has now; choose a new --output"
                )
            print(f"{output_dir} is complete already")
            return manifest
        return _convert(source, items, bad, input_dir, output_dir, options, workers, shard_size, max_bad_share)


def _convert(
    source: Source,
    items: list[Item],
    known_bad: list[BadFrame],
    input_dir: Path,
    output_dir: Path,
    options: Options,
    workers: int,
    shard_size: int,
    max_bad_share: float,
) -> shards.Manifest:
    """The conversion, in a folder that `prepare` has claimed."""
    plans = []
    for split in shards.SPLITS:
        part = [item for item in items if item.split == split]
        plans += shard_jobs.plan_shards(split, part, [item.frames for item in part], shard_size)
    produce = functools.partial(read_items, source.name, options)
    entries, bad = shard_jobs.run(output_dir, plans, produce, workers, known_bad, max_bad_share)
    if not any(entry.count for part in entries.values() for entry in part):
        first = f"; the first that could not is {bad[0].where}: {bad[0].why}" if bad else ""
        raise UserError(f"no person of {input_dir} could be used; check the images and their labels{first}")
    manifest = shards.Manifest(
        name=source.name,
        skeleton=source.target_skeleton(options),
        image_size=options.image_size if source.has_images else None,
        splits=entries,
        generator={
            "name": "keras_pose.data.prepare",
            "version": keras_pose.__version__,
            "labels": labels_hash(items),
            "command": shlex.join(["python", "-m", "keras_pose.data.prepare", *sys.argv[1:]]),
        },
        licences=({"part": source.name, "licence": source.terms, "source": source.summary},),
    )
    shard_jobs.finish(output_dir, manifest)
    counts = ", ".join(f"{split} {sum(e.count for e in part)}" for split, part in entries.items())
    print(f"{output_dir}: {counts}{describe_bad(bad, output_dir / shard_jobs.BAD_FRAMES)}")
    return manifest


def describe_bad(bad: list[BadFrame], file: Path) -> str:
    """The end of the last line: how many frames were left out, and the file that lists them; empty if none were."""
    skipped = sum(frame.skipped for frame in bad)
    parts = [f"{len(bad) - skipped} bad frames left out"] if len(bad) > skipped else []
    parts += [f"{skipped} entries skipped"] if skipped else []
    return f"; {', '.join(parts)}, see {file}" if parts else ""


def limit_items(items: list[Item], limit: int | None) -> list[Item]:
    """Items with at most `limit` frames per split in all, spread over the split's items; None keeps all."""
    if limit is None:
        return items
    chosen = []
    for split in shards.SPLITS:
        part = [item for item in items if item.split == split]
        count = min(limit, len(part))
        for i in range(count):
            item = part[i * len(part) // count]
            share = limit * (i + 1) // count - limit * i // count
            chosen.append(dataclasses.replace(item, frames=min(item.frames, share)))
    return chosen


def print_splits(items: list[Item]) -> None:
    """Prints one line per split: its subjects and its number of frames."""
    for split in shards.SPLITS:
        part = [item for item in items if item.split == split]
        subjects = list(dict.fromkeys(item.subject for item in part if item.subject))
        names = " ".join(subjects[:20]) + (f" and {len(subjects) - 20} more" if len(subjects) > 20 else "")
        if part:
            print(f"{split}: {names + ', ' if names else ''}{sum(item.frames for item in part)} frames")


def read_items(source_name: str, options: Options, items: tuple[Item, ...]) -> Iterator[PoseExample | BadFrame]:
    """The validated examples of some items, and BadFrames that name the file. Runs in a worker process."""
    source = get_source(source_name)
    for item in items:
        frames = 0
        try:
            for result in itertools.islice(source.read_item(item, options), item.frames):
                frames += 1
                yield _checked(result, item)
        except UserError as error:
            for _ in range(item.frames - frames):
                yield BadFrame(item.file, str(error).removeprefix(item.file).lstrip(":, "))


def _checked(result: PoseExample | BadFrame, item: Item) -> PoseExample | BadFrame:
    if isinstance(result, BadFrame):
        return dataclasses.replace(result, where=f"{item.file}: {result.where}" if result.where else item.file)
    try:
        return result.validate()
    except UserError as error:
        return BadFrame(item.file, str(error))


if __name__ == "__main__":
    define_flags()
    command.run(main)
