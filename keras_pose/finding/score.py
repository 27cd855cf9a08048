"""Scores a finder: people found by size, people reported where nobody is, and the loss of PCK.

    python -m keras_pose.finding.score --photos=photos --labels=labels.npz --lsp=lsp_extended_sample \\
        --panoramas=package/hdri --json=find.json --sheet=find.png

docs/find.md has the figures. Each test photo is pasted at random places into canvases without people (parts of held-out
photos away from the person, held-out panoramas, patchworks of photos), once for each of `SHARES`, the size of the
person's box. A person is found if a box of `PosePredictor.find` overlaps the box around the labelled joints by at least
`FOUND`. PCK@0.2 is over the twelve limb joints, once without a box and once with the labelled one. With --nopck the
finder is scored alone, without confirmation by the pose model. A second table has the figures for other least scores;
with --split=validation, it serves to choose `ENOUGH` of `keras_pose.inference.predictor`.
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
SHARES = (0.15, 0.25, 0.4, 0.6, 1.0)  # longer side of a person's box, as a share of the canvas's height
FOUND = 0.4  # intersection over union with the labelled box
PCK_FROM = 0.4  # size, as in SHARES, from which a person's joints are scored
PCK = 0.2  # largest error of a correct joint, as a share of the torso
LIMBS = [COCO_17.index(f"{side}_{joint}") for side in ("left", "right")
         for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")]  # fmt: skip
DIAGONALS = [("left_shoulder", "right_hip"), ("right_shoulder", "left_hip")]
SHEET_COLUMNS, SHEET_HEIGHT = 12, 150
LEAST_SCORES = tuple(round(0.3 + 0.02 * i, 2) for i in range(16))  # rows of the second table
Find = Callable[..., list[FoundPerson]]  # called with an image and the keyword `least_score`


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """Defines the command's flags."""
    define_test_flags(values)
    flags.DEFINE_string("finder", None, "Finder's folder or file; default: the shipped one.", flag_values=values)
    flags.DEFINE_string("model", DEFAULT_WEIGHTS, "Pose model that confirms people and gives PCK.", flag_values=values)
    flags.DEFINE_string("lsp", None, "Photos in LSP Extended's format, unseen in training.", flag_values=values)
    flags.DEFINE_bool("pck", True, "Confirm people with the pose model and score it.", flag_values=values)
    flags.DEFINE_string("sheet", None, "PNG of missed, found and false people to write.", flag_values=values)


def define_test_flags(values: flags.FlagValues = FLAGS) -> None:
    """Defines the flags of every test of a finder: the photos, the canvases and the output."""
    flags.DEFINE_string("photos", None, "Folder that the paths in the label files start from.", flag_values=values)
    flags.DEFINE_list("labels", [], "Label files of keras_pose.finding.label.", flag_values=values)
    flags.DEFINE_enum(
        "split", "test", ["validation", "test"], "Split of photos and panoramas to score on.", flag_values=values
    )
    flags.DEFINE_string("panoramas", None, "Folder of panoramas, as in training.", flag_values=values)
    flags.DEFINE_float(
        "score",
        SCORE,
        "Score from which on a large person ends the search; without the pose model's confirmation, also the lowest "
        "score of a person.",
        0,
        1,
        flag_values=values,
    )
    flags.DEFINE_integer("limit", 0, "At most this many photos of each kind; 0 uses all.", 0, flag_values=values)
    flags.DEFINE_integer("empty", 1000, "Number of canvases without people.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("seed", 1, "Of canvases and places; must be the training's seed.", 0, flag_values=values)
    flags.DEFINE_string("json", None, "File to write the figures to.", flag_values=values)


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
    chosen = limited(chosen, FLAGS.limit, FLAGS.seed)
    pool = load_pool(labelled, FLAGS.split)
    predictor = PosePredictor(FLAGS.model, finder) if FLAGS.pck else None
    find, least = (predictor.find, ENOUGH) if predictor else (finder, FLAGS.score)
    figures, pictures = measure(find, least, predictor, chosen, pool, FLAGS.empty, FLAGS.seed)
    print(format_figures(figures))
    if FLAGS.json:
        atomic.write_json(FLAGS.json, figures)
    if FLAGS.sheet:
        drawing.save_png(FLAGS.sheet, drawing.contact_sheet(pictures, SHEET_COLUMNS))


def limited(chosen: list[LabelledPhoto], limit: int, seed: int) -> list[LabelledPhoto]:
    """At most `limit` random photos of each kind; all with a limit of 0."""
    if not limit:
        return chosen
    rng = np.random.default_rng(seed)
    some = []
    for kind in sorted({photo.kind for photo in chosen}):
        of_kind = [photo for photo in chosen if photo.kind == kind]
        some += [of_kind[i] for i in sorted(rng.permutation(len(of_kind))[:limit])]
    return some


def load_pool(labelled: list[photos.Photo], split: str = "test") -> material.Pool:
    """The material of canvases: a split's photos and panoramas, which training has not seen.

    The seed divides the panoramas into splits, so --seed must be that of the training.
    """
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
    """All figures, and small images of missed people, then of found ones, then of false ones.

    Args:
        find: a finder, or `PosePredictor.find`.
        least: lowest score of a person.
        predictor: predicts the joints for PCK; None leaves PCK out.
        chosen: the photos.
        pool: the material of canvases.
        empty: number of canvases without people.
        seed: of canvases and places.
    """
    figures, seen, pictures = score(find, least, predictor, chosen, pool, seed)
    false_scores, false = false_people(find, least, pool, empty, seed)
    figures |= {"empty_canvases": empty, "false_people": float(np.mean(false_scores >= least))}
    figures |= {"least_score": least, "by_least_score": by_least_score(seen, false_scores)}
    return figures, pictures + false


@dataclass(frozen=True)
class Seen:
    """The people found in a canvas, the most prominent first: scores (N,), and overlaps (N,) with the true box."""

    scores: np.ndarray
    overlaps: np.ndarray

    def is_found(self, least_score: float) -> bool:
        """Whether any box with at least this score is the person's."""
        return bool((self.overlaps[self.scores >= least_score] >= FOUND).any())

    def comes_first(self, least_score: float) -> bool:
        """Whether the most prominent box with at least this score is the person's."""
        return bool((self.overlaps[self.scores >= least_score][:1] >= FOUND).any())


def score(
    find: Find,
    least: float,
    predictor: PosePredictor | None,
    chosen: list[LabelledPhoto],
    pool: material.Pool,
    seed: int,
) -> tuple[dict, dict[tuple[str, float], list[Seen]], list[np.ndarray]]:
    """Figures by kind of photo and by size, the people found per canvas, and small images, missed people first."""
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
    """(K,) bool: whether each labelled limb joint is within 0.2 torso of its label; empty without a labelled torso."""
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
    """The highest score (0: nobody) in each of `count` canvases without people, and images of those from `least` on."""
    pictures, scores = [], np.zeros(count)
    for number in range(count):
        image = empty_canvas(np.random.default_rng([seed, 99, number]), pool)
        people = find(image, least_score=LEAST_SCORES[0])
        scores[number] = max((person.score for person in people), default=0.0)
        if scores[number] >= least and len(pictures) < 2 * SHEET_COLUMNS:
            pictures.append(_picture(image, [person.box_px for person in people if person.score >= least], None))
    return scores, pictures


def by_least_score(seen: dict[tuple[str, float], list[Seen]], false_scores: np.ndarray) -> dict[str, dict[str, float]]:
    """By least score: the share of empty canvases with a person, and by size that of people who come first."""
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
    """A small image with the labelled box in white and found ones in yellow."""
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
        f"\n{figures['photos']} photos; a person reported in {100 * figures['false_people']:.1f} % of "
        f"{figures['empty_canvases']} canvases without people.\n"
    )
    rows.append(f"| least score | false people | {' | '.join(f'{100 * s:.0f} % comes first' for s in SHARES)} |")
    rows.append("|---|---|" + "---|" * len(SHARES))
    for least, values in figures["by_least_score"].items():
        rows.append(f"| {least} | {' | '.join(f'{value:.3f}' for value in values.values())} |")
    return "\n".join(rows)


if __name__ == "__main__":
    define_flags()
    command.run(main)
