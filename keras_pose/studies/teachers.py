"""Measures how accurate teachers are, by comparing them with human labels of photos."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import BLAZEPOSE_18, COCO_17, TEACHER_22, Skeleton, map_joints
from keras_pose.data.sources import get_source
from keras_pose.data.sources.base import Options, read_picture
from keras_pose.data.sources.photo_labels import Label
from keras_pose.data.teachers.labeller import LIMBS, Labeller, crop_of_box

FRACTION = 0.2  # of the torso, PCK's threshold
TOLERANCES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4)  # distances of two teachers' joints, in torsos


@dataclass(frozen=True)
class Opinions:
    """Two teachers compared with human labels, for the 12 limb joints of N people, in torsos.

    `movenet_error`, `blazepose_error` and `mean_error` (N, 12) are distances from the human label, NaN without one;
    `apart` (N, 12) is the distance between the two teachers.
    """

    movenet_error: np.ndarray
    blazepose_error: np.ndarray
    mean_error: np.ndarray
    apart: np.ndarray


def limb_names() -> list[str]:
    """The 12 limb joints, in the order of `Opinions`."""
    return [TEACHER_22.joint_names[j] for j in LIMBS]


def ask(source_name: str, input_dir: Path, teachers: Labeller, limit: int, progress) -> Opinions:
    """Runs both teachers on a source's labeled photos, `limit` of them spread over it.

    Raises UserError for a source without photos with 2D labels.
    """
    source, options = get_source(source_name), Options()
    items = source.list_items(input_dir, options)
    items = [items[i] for i in np.unique(np.linspace(0, len(items) - 1, min(limit, len(items))).astype(int))]
    rows = []
    for item in progress(items):
        labels = [label for label in item.data or () if isinstance(label, Label)]
        image = read_picture(item.file) if labels else None
        for label in labels if image is not None else ():
            if (row := _opinions(image, label, source.skeleton, teachers)) is not None:
                rows.append(row)
    if not rows:
        raise UserError(f"{source_name} has no photos with labeled torsos; use lsp_extended, lsp, coco or mpii")
    return Opinions(*(np.stack(part) for part in zip(*rows, strict=True)))


def _opinions(image: np.ndarray, label: Label, skeleton: Skeleton, teachers: Labeller):
    names = limb_names()
    human, valid = map_joints(
        np.asarray(label.keypoints_px, float), np.asarray(label.valid, bool), skeleton, TEACHER_22
    )
    torso = [TEACHER_22.index(name) for name in ("left_shoulder", "right_hip")]
    if not valid[torso].all() or not (size := float(np.linalg.norm(human[torso[0]] - human[torso[1]]))):
        return None
    box = geometry.keypoints_box(human, valid) if label.box_px is None else np.asarray(label.box_px, float)
    seen, found = teachers.look(image, crop_of_box(box))
    one = seen.keypoints_px[[COCO_17.index(name) for name in names]]
    other = found.keypoints_px[[BLAZEPOSE_18.index(name) for name in names]]
    truth = np.where(valid[LIMBS][:, None], human[LIMBS], np.nan)
    errors = [np.linalg.norm(points - truth, axis=-1) / size for points in (one, other, (one + other) / 2)]
    return *errors, np.linalg.norm(one - other, axis=-1) / size


def tabulate(opinions: Opinions) -> list[dict]:
    """A row for all joints, then for each tolerance one for the joints that agree within it and one for the rest."""
    labelled = np.isfinite(opinions.movenet_error)
    groups = {"all": labelled}
    for tolerance in TOLERANCES:
        groups[f"apart by less than {tolerance:g} torso"] = labelled & (opinions.apart < tolerance)
        groups[f"apart by {tolerance:g} torso or more"] = labelled & (opinions.apart >= tolerance)
    return [
        {
            "joints": name,
            "share": float(chosen.sum() / labelled.sum()),
            "movenet_pck_0_2": _pck(opinions.movenet_error[chosen]),
            "blazepose_pck_0_2": _pck(opinions.blazepose_error[chosen]),
            "mean_pck_0_2": _pck(opinions.mean_error[chosen]),
        }
        for name, chosen in groups.items()
    ]


def _pck(errors: np.ndarray) -> float | None:
    return float((errors < FRACTION).mean()) if errors.size else None


def format_table(rows: Iterable[dict]) -> str:
    """The rows as Markdown."""
    lines = ["| joints | share | MoveNet | BlazePose | mean |", "|---|---|---|---|---|"]
    for row in rows:
        values = [row[name] for name in ("share", "movenet_pck_0_2", "blazepose_pck_0_2", "mean_pck_0_2")]
        cells = ["-" if value is None else f"{value:.2f}" for value in values]
        lines.append(f"| {row['joints']} | {' | '.join(cells)} |")
    return "\n".join(lines)
