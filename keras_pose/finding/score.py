"""Scores a finder: how many people it finds by their size, how many it makes up, and what PCK it costs.

    python -m keras_pose.finding.score --photos=photos --labels=labels.npz --lsp=lsp_extended_sample \\
        --panoramas=package/hdri --json=find.json --sheet=find.png

docs/find.md has the figures. Test photos are put into canvases without anyone (parts of held-out photos away from the
person, held-out panoramas, patchworks of them) at each of `SHARES` of the height, at any place. A person is found where
a box of `PosePredictor.find` overlaps the box around the labelled joints by at least `FOUND`. PCK@0.2 is of the twelve
joints of the limbs, without a box and with the labelled one. With --nopck the finder works alone: boxes about which it
is unsure are then not checked by the pose model. A second table has the figures for other least scores; with
--split=validation it chooses `ENOUGH` of `keras_pose.inference.predictor`.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.core.progress import progress
from keras_pose.core.skeleton import COCO_17, map_joints
from keras_pose.finding import material, photos
from keras_pose.finding.cutouts import people_settings
from keras_pose.finding.placed import LabelledPhoto, empty_canvas, held_out_photos, lsp_photos, place
from keras_pose.inference.finder import SCORE, FoundPerson, finder_beside, open_finder, overlap
from keras_pose.inference.predictor import ENOUGH, PosePredictor
from keras_pose.io import atomic
from keras_pose.visualization import drawing
from keras_pose.weights import DEFAULT_WEIGHTS

FLAGS = flags.FLAGS
SHARES = (0.15, 0.25, 0.4, 0.6, 1.0)
FOUND = 0.4  # intersection over union with the labelled box
PCK_FROM = 0.4  # of the height; smaller people's joints are not scored
PCK = 0.2  # of the torso
LIMBS = [COCO_17.index(f"{side}_{joint}") for side in ("left", "right")
         for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")]  # fmt: skip
DIAGONALS = [("left_shoulder", "right_hip"), ("right_shoulder", "left_hip")]
SHEET_COLUMNS, SHEET_HEIGHT = 12, 150
LEAST_SCORES = tuple(round(0.3 + 0.02 * i, 2) for i in range(16))  # of the second table
Find = Callable[..., list[FoundPerson]]  # an image, and the keyword `least_score`


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """The command's flags."""
    flags.DEFINE_string("finder", None, "A finder's folder or file; by default what ships.", flag_values=values)
    flags.DEFINE_string("model", DEFAULT_WEIGHTS, "The pose model that PCK is of.", flag_values=values)
    flags.DEFINE_string("photos", None, "The folder that the label files' paths start from.", flag_values=values)
    flags.DEFINE_list("labels", [], "Label files of keras_pose.finding.label.", flag_values=values)
    flags.DEFINE_string("lsp", None, "Photos in LSP Extended's format that were not trained on.", flag_values=values)
    flags.DEFINE_enum(
        "split", "test", ["validation", "test"], "Which photos and panoramas: choose by validation.", flag_values=values
    )
    flags.DEFINE_string("panoramas", None, "The folder of panoramas of the training.", flag_values=values)
    flags.DEFINE_float(
        "score", SCORE, "Peaks from this one on count, and end the search if large.", 0, 1, flag_values=values
    )
    flags.DEFINE_integer("limit", 0, "At most so many photos of each kind; 0 for all.", 0, flag_values=values)
    flags.DEFINE_integer("empty", 1000, "Canvases without anyone.", lower_bound=1, flag_values=values)
    flags.DEFINE_bool("pck", True, "Score the pose model, too.", flag_values=values)
    flags.DEFINE_integer("seed", 1, "Of canvases and places; the training's, for its panoramas.", 0, flag_values=values)
    flags.DEFINE_string("json", None, "Write the figures to this file.", flag_values=values)
    flags.DEFINE_string("sheet", None, "Draw found, missed and false people into this PNG.", flag_values=values)


def main(arguments: list[str]) -> None:
    """Runs the command."""
    if arguments:
        raise UserError(f"unknown argument {arguments[0]!r}; give everything as --name=value")
    if not (FLAGS.photos and FLAGS.labels):
        raise UserError("--photos and --labels are missing; see --help")
    labelled = photos.read_photos(FLAGS.photos, FLAGS.labels)
    finder = open_finder(FLAGS.finder, FLAGS.score) if FLAGS.finder else finder_beside(DEFAULT_WEIGHTS)
    if finder is None:
        raise UserError("the shipped finder is missing; name one with --finder=RUN or --finder=FILE")
    finder.score = FLAGS.score
    chosen = held_out_photos(labelled, FLAGS.split) + (lsp_photos(Path(FLAGS.lsp)) if FLAGS.lsp else [])
    if FLAGS.limit:
        rng = np.random.default_rng(FLAGS.seed)
        chosen = [p for kind in sorted({p.kind for p in chosen}) for p in _some(rng, chosen, kind, FLAGS.limit)]
    pool = load_pool(labelled, FLAGS.split)
    predictor = PosePredictor(FLAGS.model, finder) if FLAGS.pck else None
    find, least = (predictor.find, ENOUGH) if predictor else (finder, FLAGS.score)
    figures, pictures = measure(find, least, predictor, chosen, pool, FLAGS.empty, FLAGS.seed)
    print(format_figures(figures))
    if FLAGS.json:
        atomic.write_json(FLAGS.json, figures)
    if FLAGS.sheet:
        drawing.save_png(FLAGS.sheet, drawing.contact_sheet(pictures, SHEET_COLUMNS))


def _some(rng: np.random.Generator, chosen: list[LabelledPhoto], kind: str, count: int) -> list[LabelledPhoto]:
    of_kind = [photo for photo in chosen if photo.kind == kind]
    return [of_kind[i] for i in sorted(rng.permutation(len(of_kind))[:count])]


def load_pool(labelled: list[photos.Photo], split: str = "test") -> material.Pool:
    """What canvases are made of: a split's photos and panoramas, which training has not seen."""
    from keras_pose.synthetic.generate import load_panoramas

    settings = people_settings(FLAGS.seed, 3, None, None, FLAGS.panoramas)
    held_out = [photo for photo in labelled if photo.split == split]
    return material.make_pool(held_out, [], load_panoramas(settings, split), ())


def measure(
    find: Find,
    least: float,
    predictor: PosePredictor | None,
    chosen: list[LabelledPhoto],
    pool: material.Pool,
    empty: int,
    seed: int,
) -> tuple[dict, list[np.ndarray]]:
    """All figures, and pictures: missed people first, then found ones, then false ones.

    Args:
        find: finds people.
        least: from this score on somebody is a person.
        predictor: PCK is of its joints; None for no PCK.
        chosen: the photos.
        pool: what canvases are made of.
        empty: so many canvases without anyone.
        seed: of canvases and places.
    """
    figures, seen, pictures = score(find, least, predictor, chosen, pool, seed)
    false_scores, false = false_people(find, least, pool, empty, seed)
    figures |= {"empty_canvases": empty, "false_people": float(np.mean(false_scores >= least))}
    figures |= {"least_score": least, "by_least_score": by_least_score(seen, false_scores)}
    return figures, pictures + false


@dataclass(frozen=True)
class Seen:
    """The people seen in a canvas, the most prominent first: (N,) scores and overlaps with the one who is there."""

    scores: np.ndarray
    overlaps: np.ndarray

    def is_found(self, least_score: float) -> bool:
        """Whether a box from this score on is the person's."""
        return bool((self.overlaps[self.scores >= least_score] >= FOUND).any())

    def comes_first(self, least_score: float) -> bool:
        """Whether the most prominent one from this score on is the person."""
        return bool((self.overlaps[self.scores >= least_score][:1] >= FOUND).any())


def score(
    find: Find,
    least: float,
    predictor: PosePredictor | None,
    chosen: list[LabelledPhoto],
    pool: material.Pool,
    seed: int,
) -> tuple[dict, dict[tuple[str, float], list[Seen]], list[np.ndarray]]:
    """Figures by kind of photo and by size, who was seen in each canvas, and pictures: missed people first."""
    seen, correct, milliseconds = defaultdict(list), defaultdict(list), defaultdict(list)
    missed, hits = [], []
    jobs = [(number, photo, share) for number, photo in enumerate(chosen) for share in SHARES]
    for number, photo, share in progress(jobs, len(jobs), "canvas"):
        placed = place(np.random.default_rng([seed, number, int(1000 * share)]), photo, pool, share)
        start = time.perf_counter()
        people = find(placed.image, least_score=LEAST_SCORES[0])
        milliseconds[share].append(1000 * (time.perf_counter() - start))
        overlaps = [overlap(person.box_px, placed.box_px) for person in people]
        canvas = Seen(np.array([person.score for person in people]), np.array(overlaps))
        for key in (photo.kind, "all"):
            seen[key, share].append(canvas)
        kept = hits if canvas.is_found(least) else missed
        if len(kept) < 4 * SHEET_COLUMNS and number % 7 == 0:
            kept.append(_picture(placed.image, [p.box_px for p in people if p.score >= least], placed.box_px))
        if predictor and share >= PCK_FROM:
            for way, box in (("without", None), ("with", placed.box_px)):
                right = joints_right(predictor, placed.image, box, photo, placed.keypoints_px)
                for key in (photo.kind, "all"):
                    correct[key, share, way].append(right)
    figures = {
        "photos": len(chosen),
        "found": _by_kind(seen, lambda canvases: np.mean([each.is_found(least) for each in canvases])),
        "most_prominent_is_the_person": _by_kind(
            seen, lambda canvases: np.mean([each.comes_first(least) for each in canvases])
        ),
        "search_ms": _by_size(milliseconds),
    }
    for way in ("without", "with"):
        values = {(kind, share): right for (kind, share, w), right in correct.items() if w == way}
        figures[f"pck_0_2_{way}_a_box"] = _by_kind(values, lambda right: np.concatenate(right).mean())
    return figures, seen, missed + hits


def joints_right(
    predictor: PosePredictor, image: np.ndarray, box, photo: LabelledPhoto, truth_px: np.ndarray
) -> np.ndarray:
    """(K,) bool of the labelled joints of the limbs: whether they are within 0.2 of the torso."""
    result = predictor(image, box)
    skeleton = predictor.skeleton
    all_valid = np.ones(skeleton.num_joints, bool)
    found, known = map_joints(result.keypoints_px, all_valid, skeleton, COCO_17)
    truth, valid = map_joints(truth_px, photo.valid, photo.skeleton, COCO_17)
    ends = [(truth[COCO_17.index(a)], truth[COCO_17.index(b)], valid[COCO_17.index(a)] and valid[COCO_17.index(b)])
            for a, b in DIAGONALS]  # fmt: skip
    lengths = [np.linalg.norm(a - b) for a, b, both in ends if both]
    counted = np.array([i for i in LIMBS if valid[i] and known[i]], int)
    if not lengths or not len(counted):
        return np.zeros(0, bool)
    return np.linalg.norm(found[counted] - truth[counted], axis=-1) < PCK * np.mean(lengths)


def false_people(
    find: Find, least: float, pool: material.Pool, count: int, seed: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The highest score seen in each canvas without anyone (0: nobody), and pictures of those from `least` on."""
    pictures, scores = [], np.zeros(count)
    for number in range(count):
        image = empty_canvas(np.random.default_rng([seed, 99, number]), pool)
        people = find(image, least_score=LEAST_SCORES[0])
        scores[number] = max((person.score for person in people), default=0.0)
        if scores[number] >= least and len(pictures) < 2 * SHEET_COLUMNS:
            pictures.append(_picture(image, [person.box_px for person in people if person.score >= least], None))
    return scores, pictures


def by_least_score(seen: dict[tuple[str, float], list[Seen]], false_scores: np.ndarray) -> dict[str, dict[str, float]]:
    """For each of `LEAST_SCORES`: the share of false people, and of the people of each size who come first."""
    return {
        f"{least:.2f}": {"false_people": float(np.mean(false_scores >= least))}
        | {f"{share:.2f}": float(np.mean([each.comes_first(least) for each in seen["all", share]])) for share in SHARES}
        for least in LEAST_SCORES
    }


def _by_size(milliseconds: dict[float, list[float]]) -> dict[str, float]:
    return {f"{share:.2f}": round(float(np.median(values)), 1) for share, values in milliseconds.items()}


def _by_kind(values: dict, reduce) -> dict[str, dict[str, float]]:
    kinds = sorted({key[0] for key in values})
    return {
        kind: {
            f"{share:.2f}": round(float(reduce(values[kind, share])), 4) for share in SHARES if (kind, share) in values
        }
        for kind in kinds
    }


def _picture(image: np.ndarray, found: list[np.ndarray], truth: np.ndarray | None) -> np.ndarray:
    """A small picture: the labelled box white, found ones yellow."""
    scale = SHEET_HEIGHT / image.shape[0]
    canvas = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for box, color in [*((box, (255, 220, 0)) for box in found), (truth, (255, 255, 255))]:
        if box is not None:
            corners = [int(v) for v in np.round(np.asarray(box) * scale)]
            cv2.rectangle(canvas, corners[:2], corners[2:], color, 1)
    return canvas


def format_figures(figures: dict) -> str:
    """The figures as a Markdown table."""
    rows = [f"| | {' | '.join(f'{100 * share:.0f} %' for share in SHARES)} |", "|---|" + "---|" * len(SHARES)]
    for name in ("found", "most_prominent_is_the_person", "pck_0_2_without_a_box", "pck_0_2_with_a_box"):
        for kind, values in figures.get(name, {}).items():
            cells = [f"{values[f'{s:.2f}']:.3f}" if f"{s:.2f}" in values else "" for s in SHARES]
            rows.append(f"| {name}, {kind} | {' | '.join(cells)} |")
    rows.append(f"| search, ms | {' | '.join(str(figures['search_ms'][f'{share:.2f}']) for share in SHARES)} |")
    rows.append(
        f"\n{figures['photos']} photos; a person seen in {100 * figures['false_people']:.1f} % of "
        f"{figures['empty_canvases']} canvases without anyone.\n"
    )
    rows.append(f"| least score | false people | {' | '.join(f'{100 * s:.0f} % comes first' for s in SHARES)} |")
    rows.append("|---|---|" + "---|" * len(SHARES))
    for least, values in figures["by_least_score"].items():
        rows.append(f"| {least} | {' | '.join(f'{value:.3f}' for value in values.values())} |")
    return "\n".join(rows)


if __name__ == "__main__":
    define_flags()
    command.run(main)
