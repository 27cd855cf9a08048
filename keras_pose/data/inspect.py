"""The command `python -m keras_pose.data.inspect`: shows the content of a data set and what looks wrong with it.

python -m keras_pose.data.inspect h36m
python -m keras_pose.data.inspect embedded --output=sheet.png --json=numbers.json
"""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton
from keras_pose.data import inspection, pipeline, shards
from keras_pose.data.dataset import DatasetInfo, open_dataset
from keras_pose.data.example import PoseExample
from keras_pose.io import atomic
from keras_pose.visualization import drawing

FLAGS = flags.FLAGS
SHARDS_LOOKED_AT = 16
SHEET_WIDTH = 1600


def inspect(spec: str, output: str, pictures: int = 24, limit: int = 2000, json_path: str | None = None) -> dict:
    """Examines the data set `spec` (see `open_dataset`), prints what it finds and draws a contact sheet.

    Args:
        output: the PNG file to write.
        pictures: number of examples on the sheet, spread over the splits.
        limit: of a larger split, examine about this many examples, from shards spread over it.
        json_path: file for the returned dict; None writes none.

    Returns:
        `splits`: per split `count`, the figures of `inspection.summarize` and `problems`; and `problems`: one line per
        problem, over all splits.
    """
    info = open_dataset(spec)
    splits = [split for split in shards.SPLITS if any(part.manifest.splits.get(split) for part in info.parts)]
    results, cells, subjects = {}, [], {}
    for split in splits:
        examples = list(spread_examples(info, split, limit))
        sample = inspection.collect(examples, info.skeleton)
        problems = inspection.find_problems(sample)
        results[split] = {"count": info.count(split), **inspection.summarize(sample), "problems": problems}
        subjects[split] = set(sample.subjects)
        chosen = np.linspace(0, len(examples) - 1, min(-(-pictures // len(splits)), len(examples))).astype(int)
        cells += [(draw_example(examples[i], info.skeleton), f"{split} {examples[i].where()}") for i in chosen]
    found = {"splits": results, "problems": [f"{s}: {p}" for s in results for p in results[s]["problems"]]}
    found["problems"] += shared_subjects(subjects)
    print_findings(info, found)
    if not cells:
        raise UserError(f"{spec} has no examples to draw; prepare the data again")
    images, titles = (list(part) for part in zip(*cells, strict=True))
    columns = max(1, SHEET_WIDTH // max(image.shape[1] for image in images))
    drawing.save_png(output, drawing.contact_sheet(images, columns, titles))
    print(f"drew {len(cells)} examples to {output}")
    if json_path:
        atomic.write_json(json_path, found)
    return found


def spread_examples(info: DatasetInfo, split: str, limit: int) -> Iterator[PoseExample]:
    """All examples of a split, or about `limit` from shards spread over a larger one."""
    if info.count(split) <= limit:
        yield from pipeline.read_examples(info, split)
        return
    entries = [(part, entry) for part in info.parts_with(split) for entry in part.manifest.splits[split]]
    chosen = np.linspace(0, len(entries) - 1, min(SHARDS_LOOKED_AT, len(entries))).astype(int)
    for i in chosen:
        part, entry = entries[i]
        manifest = dataclasses.replace(part.manifest, splits={split: (entry,)})
        alone = dataclasses.replace(info, parts=(dataclasses.replace(part, manifest=manifest),))
        yield from itertools.islice(pipeline.read_examples(alone, split), -(-limit // len(chosen)))


def draw_example(example: PoseExample, skeleton: Skeleton, height: int = 160) -> np.ndarray:
    """(height, W, 3): the crop with its labeled joints (hidden ones hollow), and the 3D pose if there is one."""
    shown = example.keypoint_valid & np.isfinite(example.keypoints_2d_px).all(-1)
    scores = np.where(example.keypoint_hidden, 0.0, 1.0)
    try:
        picture = drawing.fit_height(example.decode_image(), height)
    except UserError:
        picture = np.full((height, height, 3), 90, np.uint8)  # no image, or a broken one
    scale = height / example.image_size[0]
    picture = drawing.draw_keypoints(picture, example.keypoints_2d_px * scale, skeleton, shown, scores)
    if not example.has_pose_3d or not np.isfinite(example.pose_3d_mm).all():
        return picture
    pose = np.where(example.pose_3d_valid[:, None], example.pose_3d_mm, np.nan)  # NaN is not drawn
    return np.concatenate([picture, drawing.draw_pose_views(pose, skeleton, height)], axis=1)


def shared_subjects(subjects: dict[str, set[str]]) -> list[str]:
    """One line per pair of splits that share subjects."""
    return [
        f"{a} and {b} share {len(subjects[a] & subjects[b])} subjects ({min(subjects[a] & subjects[b])}): scores on "
        f"{b} do not show how it does on new people"
        for a, b in itertools.combinations(subjects, 2)
        if subjects[a] & subjects[b]
    ]


def print_findings(info: DatasetInfo, found: dict) -> None:
    size = "{}x{} pixels".format(*info.image_size) if info.image_size else "no images"
    print(f"{info.spec}: {info.skeleton.name}, {size}")
    for split, values in found["splits"].items():
        print(f"{split}: {values['count']} examples, {values['examples']} examined")
        for name, value in values.items():
            if name not in ("count", "examples", "problems", "bone_median_mm"):
                print(f"  {name}: {value}")
    for problem in found["problems"]:
        print(f"looks wrong: {problem}")
    if not found["problems"]:
        print("nothing looks wrong")


def define_flags() -> None:
    flags.DEFINE_string("output", "inspect.png", "PNG file for the contact sheet.")
    flags.DEFINE_integer("pictures", 24, "Number of examples on the sheet.", lower_bound=1)
    flags.DEFINE_integer("limit", 2000, "Of larger splits, examine about this many examples.", lower_bound=1)
    flags.DEFINE_string("json", None, "JSON file for the numbers.")


def main(argv: list[str]) -> None:
    if len(argv) != 1:
        raise UserError("name one data set: python -m keras_pose.data.inspect DIR")
    inspect(argv[0], FLAGS.output, FLAGS.pictures, FLAGS.limit, FLAGS.json)


if __name__ == "__main__":
    define_flags()
    command.run(main)
