"""The wardrobe: suits, shoes, hats and hair from a folder of MakeHuman garments."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.synthetic.body.assets import BodyAssets
from keras_pose.synthetic.body.garment import Garment, read_garment
from keras_pose.synthetic.body.rig import BONES, TWISTS
from keras_pose.synthetic.body.template import BodyTemplate, body_template, scaled_uv

# The kinds of surface, in the order of a person's materials.
SLOTS = ("skin", "face", "eye", "hair", "top", "bottom", "trim", "shoes", "hat")
_SMALL_PART = 0.16  # share of a suit's triangles below which a separate part is trim


def slot(name: str) -> int:
    """The slot's index."""
    return SLOTS.index(name)


@dataclass(eq=False)
class FittedGarment:
    """A garment with everything that is the same for all bodies.

    Attributes:
        skin_weights: (V, rig.TRANSFORMS).
        uv: (F, 3, 2), one unit per `TEXTURE_MM`.
        slots: (F,) index into `SLOTS`.
        sleeve, leg: (V,) positions on limbs, as in `BodyTemplate`.
    """

    garment: Garment
    skin_weights: np.ndarray
    uv: np.ndarray
    slots: np.ndarray
    sleeve: np.ndarray
    leg: np.ndarray

    @cached_property
    def leg_reach(self) -> float:
        """How far down the legs the garment reaches, as in `BodyTemplate`."""
        return float(np.percentile(self.leg, 95))

    def suits(self, sex: str) -> bool:
        """Whether its name or tags say that people of this sex wear it; also if they say nothing."""
        words = {*self.garment.tags, self.garment.name.split("_")[0]}
        return sex in words or not words & {"male", "female"}


@dataclass(eq=False)
class Wardrobe:
    """Garments by kind; all lists are empty without a folder of clothes."""

    suits: list[FittedGarment]
    shoes: list[FittedGarment]
    hats: list[FittedGarment]
    hair: list[FittedGarment]

    def choose(self, kind: str, sex: str, rng: np.random.Generator) -> FittedGarment | None:
        """A random garment of a kind (a field's name) for people of that sex; None if there is none."""
        fitting = [garment for garment in getattr(self, kind) if garment.suits(sex)]
        return fitting[rng.integers(len(fitting))] if fitting else None


def load_wardrobe(clothes_dir: str | os.PathLike | None, assets: BodyAssets) -> Wardrobe:
    """Reads `clothes/*/*.mhclo` and `hair/*/*.mhclo` below the folder; None gives an empty wardrobe.

    Raises UserError if the folder contains no garment or a garment is broken.
    """
    wardrobe = Wardrobe([], [], [], [])
    if clothes_dir is None:
        return wardrobe
    files = sorted(Path(clothes_dir).glob("clothes/*/*.mhclo")) + sorted(Path(clothes_dir).glob("hair/*/*.mhclo"))
    if not files:
        raise UserError(f"{clothes_dir} contains no clothes/*/*.mhclo; give a copy of makehuman-assets' base folder")
    template = body_template(assets)
    for file in files:
        garment = read_garment(file, len(assets.mesh.vertices))
        kind = _kind(file, garment)
        getattr(wardrobe, kind).append(_prepare(garment, kind, assets, template))
    return wardrobe


def _kind(file: Path, garment: Garment) -> str:
    if file.parent.parent.name == "hair":
        return "hair"
    return next((kind for kind in ("shoes", "hats") if kind in garment.tags), "suits")


def _prepare(garment: Garment, kind: str, assets: BodyAssets, template: BodyTemplate) -> FittedGarment:
    weights = garment.skin_weights(template.skin_weights)
    faces = garment.mesh.faces
    vertices = garment.fit(assets.mesh.vertices) * 100
    nearest = garment.anchors[np.arange(len(weights)), garment.weights.argmax(1)]
    leg = template.leg[nearest]
    if kind == "suits":
        slots = _suit_slots(faces, weights)
    else:
        slots = np.full(len(faces), slot({"shoes": "shoes", "hats": "hat", "hair": "hair"}[kind]))
    return FittedGarment(
        garment,
        weights,
        scaled_uv(vertices, faces, garment.mesh.uv[garment.mesh.face_uv]),
        slots.astype(np.int32),
        template.sleeve[nearest],
        leg,
    )


def _suit_slots(faces: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(F,) the slot of each triangle, top, bottom or trim, decided per connected part."""
    parts = connected_parts(faces, len(weights))[faces[:, 0]]
    on_leg = _leg_weight(weights)[faces].mean(1)
    slots = np.full(len(faces), slot("top"))
    for part in np.unique(parts):
        here = parts == part
        if on_leg[here].mean() > 0.45:
            slots[here] = slot("bottom")
        elif here.mean() < _SMALL_PART:
            slots[here] = slot("trim")
    return slots


def _leg_weight(weights: np.ndarray) -> np.ndarray:
    """(V,) the share of each vertex's weights that belongs to the legs."""
    columns = [b for b, name in enumerate(BONES) if name.endswith(("Leg", "Foot"))]
    columns += [c for twist in TWISTS if BONES[twist.bone].endswith("Leg") for c in twist.columns[:2]]
    return weights[:, columns].sum(1)


def connected_parts(faces: np.ndarray, vertices: int) -> np.ndarray:
    """(V,) a label per vertex, equal for vertices that triangles connect."""
    labels = np.arange(vertices)
    pairs = faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    while True:
        least = np.minimum(labels[pairs[:, 0]], labels[pairs[:, 1]])
        updated = labels.copy()
        np.minimum.at(updated, pairs[:, 0], least)
        np.minimum.at(updated, pairs[:, 1], least)
        updated = updated[updated]
        if (updated == labels).all():
            return labels
        labels = updated
