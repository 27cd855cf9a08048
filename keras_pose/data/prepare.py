"""The command `python -m keras_pose.data.prepare`: turns a data set that the user holds into shards.

    python -m keras_pose.data.prepare --source=list
    python -m keras_pose.data.prepare --source=human36m --input=Human3.6M --output=h36m --frame_step=5

It works in parallel and a second run finishes what the first one left. docs/data.md tells the way from download to
training.
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
    """The command's flags; those of `Options` by its own names."""
    flags.DEFINE_string("source", None, "The format of the input, or `list` to see all of them.", required=True)
    flags.DEFINE_string("input", None, "The folder that holds the download.")
    flags.DEFINE_string("output", None, "The folder for the shards; new, or one that an earlier run left unfinished.")
    flags.DEFINE_string("image_size", "256", "Size of the crops in pixels: one number, or HEIGHTxWIDTH.")
    flags.DEFINE_integer("frame_step", DEFAULTS.frame_step, "Take every nth frame.", lower_bound=1)
    flags.DEFINE_string("skeleton", None, "Map the joints to it: a name or a .json file; by default the source's own.")
    flags.DEFINE_float("margin", DEFAULTS.margin, "Side of the crop over the person's box.", lower_bound=1.0)
    flags.DEFINE_bool("smooth", True, "Smooth pictures that shrink. Published HRNet code does not: --nosmooth.")
    flags.DEFINE_bool("allow_pickle", False, "Load pickled files. They can run code: only for files that you trust.")
    flags.DEFINE_bool("drop_bad_sequences", False, "Leave out sequences that are known to be mislabelled.")
    flags.DEFINE_enum("split", None, shards.SPLITS, "Take everything into this split instead of the source's own.")
    flags.DEFINE_list(
        "teacher",
        [],
        "Models that label images: movenet-thunder.json, pose_landmark_heavy.tflite, or both, separated by a comma. "
        "For --source=photos and video; for lsp, lsp_extended, coco and mpii they complete what people labelled.",
    )
    flags.DEFINE_string(
        "teacher_cache",
        None,
        "A file that keeps the teachers' answers; created if missing. Preparing the same images for another size or "
        "skeleton then runs no teacher.",
    )
    flags.DEFINE_integer("workers", os.cpu_count() or 1, "Processes that work in parallel.", lower_bound=1)
    flags.DEFINE_integer("shard_size", 1000, "Examples in a shard, about.", lower_bound=1)
    flags.DEFINE_string("items", None, "START:STOP takes these of the source's photos or recordings, in its own order.")
    flags.DEFINE_float(
        "max_bad_share",
        shard_jobs.LARGEST_BAD_SHARE,
        "Stop when a larger share of the frames cannot be used; 1 converts whatever can be.",
        lower_bound=0.0,
        upper_bound=1.0,
    )
    flags.DEFINE_integer("limit", None, "At most so many frames of each split, spread over it; for a trial.", 1)


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
    """`256` or `256x192` (height x width) to (height, width)."""
    words = text.split("x")
    if len(words) > 2 or not all(word.isdecimal() and 32 <= int(word) <= 4096 for word in words):
        raise UserError(f"--image_size={text} is neither a number from 32 to 4096 nor HEIGHTxWIDTH; try 256 or 256x192")
    return int(words[0]), int(words[-1])


def parse_range(text: str) -> tuple[int, int]:
    """`0:700` to (0, 700)."""
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
    """Converts a folder of a source's format into a data set folder, or finishes that, and prints what it holds.

    `chosen` are the first of the source's items to take and the first not to. Of those, `limit` frames a split.
    Raises UserError for missing or broken input, an output folder of other settings or that another process fills,
    where more than `max_bad_share` of the frames are bad, and where none can be used.
    """
    if not (input_dir.is_dir() or source.takes_file and input_dir.is_file()):
        raise UserError(f"--input={input_dir} is not a folder; {source.name} needs: {source.summary}")
    source.target_skeleton(options)  # raises for a skeleton that cannot be
    listed = source.list_items(input_dir, options)
    items = [item for item in listed if isinstance(item, Item)]
    bad = [frame for frame in listed if isinstance(frame, BadFrame)]
    if chosen or limit:  # a share of all entries says nothing of a part
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
    del settings["teacher_cache"]  # changes nothing in the shards
    settings["teacher"] = list(options.teacher) or None  # as folders have it that were begun before there were two
    with shard_jobs.claimed(output_dir, settings) as is_finished:
        if is_finished:
            manifest = shards.read_manifest(output_dir)
            labels = labels_hash(items)
            if manifest.generator.get("labels", labels) != labels:
                raise UserError(f"{output_dir} was made of other labels than {input_dir} has now; take a new --output")
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
    """The work of `prepare`, in a folder that it has claimed."""
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
    """The end of the last line: how many frames were left out and which file lists them; empty for none."""
    skipped = sum(frame.skipped for frame in bad)
    parts = [f"{len(bad) - skipped} bad frames left out"] if len(bad) > skipped else []
    parts += [f"{skipped} entries skipped"] if skipped else []
    return f"; {', '.join(parts)}, see {file}" if parts else ""


def limit_items(items: list[Item], limit: int | None) -> list[Item]:
    """Items that hold at most `limit` frames of each split, spread over the split's items."""
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
    """One line a split: its subjects and how many frames they have."""
    for split in shards.SPLITS:
        part = [item for item in items if item.split == split]
        subjects = list(dict.fromkeys(item.subject for item in part if item.subject))
        names = " ".join(subjects[:20]) + (f" and {len(subjects) - 20} more" if len(subjects) > 20 else "")
        if part:
            print(f"{split}: {names + ', ' if names else ''}{sum(item.frames for item in part)} frames")


def read_items(source_name: str, options: Options, items: tuple[Item, ...]) -> Iterator[PoseExample | BadFrame]:
    """The examples of some items, checked; bad ones as BadFrames that name the file. Runs in a worker process."""
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
