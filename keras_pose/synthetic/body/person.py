"""Dressed adults: one skinned mesh each, for any pose and colors."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from keras_pose.synthetic.body import painted
from keras_pose.synthetic.body.assets import BodyAssets
from keras_pose.synthetic.body.clothes import FittedGarment, Wardrobe, slot
from keras_pose.synthetic.body.looks import draw_materials
from keras_pose.synthetic.body.rig import BodySkeleton, PoseSample, bone
from keras_pose.synthetic.body.shape import BodyShape, build_vertices, sample_shape
from keras_pose.synthetic.body.skinning import skin, sparse_weights
from keras_pose.synthetic.body.template import BodyTemplate, body_template
from keras_pose.synthetic.body.textures import TEXTURE_MM
from keras_pose.synthetic.body.wavefront import polygon_means
from keras_pose.synthetic.render.mesh import Mesh, PosedPerson

_TUCK_MM = 8.0  # how far skin sinks below garments
_WAIST = 0.2  # position on the trunk: border between trousers and top
_ANKLE = 1.9  # position on the leg: end of long trousers
_HEM = 0.1  # how far skin continues inside a cut sleeve or trouser leg, in positions on the limb


@dataclass(eq=False)
class Person:
    """A dressed adult at rest.

    Attributes:
        vertices_mm: (V, 3) float32.
        bone_indices, bone_weights: (V, 4), see `skinning.skin`.
        faces: (F, 3) int32 vertex indices.
        uv: (F, 3, 2) float32 texture coordinates.
        slots: (F,) int32 index into `clothes.SLOTS`.
    """

    shape: BodyShape
    skeleton: BodySkeleton
    vertices_mm: np.ndarray
    bone_indices: np.ndarray
    bone_weights: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    slots: np.ndarray
    bald: bool

    @cached_property
    def used_slots(self) -> frozenset[int]:
        """The slots that any triangle uses."""
        return frozenset(np.unique(self.slots).tolist())

    def pose(self, pose: PoseSample, rng: np.random.Generator) -> PosedPerson:
        """Poses the person, in colors drawn from `rng`: lowest point at y = 0, pelvis above the origin."""
        matrices, offsets, joints = self.skeleton.pose(pose.rotations)
        vertices = skin(
            self.vertices_mm,
            self.bone_indices,
            self.bone_weights,
            matrices.astype(np.float32),
            offsets.astype(np.float32),
        )
        shift = -np.array([joints[0, 0], vertices[:, 1].min(), joints[0, 2]])
        mesh = Mesh(
            vertices + shift.astype(np.float32),
            self.faces,
            self.uv,
            self.slots,
            draw_materials(self.shape.sex, self.bald, self.used_slots, rng),
        )
        return PosedPerson(mesh, (joints + shift).astype(np.float32))


def sample_person(rng: np.random.Generator, assets: BodyAssets, wardrobe: Wardrobe) -> Person:
    """Draws an adult's shape and clothes. Everyone is dressed: areas without a garment are painted as cloth."""
    shape = sample_shape(rng)
    base_mm = build_vertices(assets, shape)
    skeleton = BodySkeleton.fit(assets, base_mm)
    builder = _Builder(body_template(assets), base_mm)
    cut = painted.sample_cut(rng)
    suit = wardrobe.choose("suits", shape.sex, rng) if rng.random() < 0.8 else None
    shoes = wardrobe.choose("shoes", shape.sex, rng) if rng.random() < 0.85 else None
    leg_reach = cut.leg
    if suit is not None:
        cut = _suit_cut(cut, rng)
        leg_reach = min(suit.leg_reach, cut.leg)
        builder.wear(suit, cut.sleeve, cut.leg)
    if shoes is not None:
        builder.wear(shoes, from_leg=_ANKLE if leg_reach > _ANKLE else 0)  # long trousers cover the shafts of boots
    else:
        builder.paint("shoes", painted.is_shoe(builder.template, cut), 0.5)
    # a suit may leave parts of the trunk bare; these become cloth too, flat on the skin
    cut, loose = (cut, rng.random(2) ** 2) if suit is None else (painted.Cut(0, 0, _WAIST, 0), (None, None))
    builder.paint("top", painted.is_top(builder.template, cut), loose[0])
    builder.paint("bottom", painted.is_bottom(builder.template, cut), loose[1])
    if suit is None and shape.sex == "female" and rng.random() < 0.3:
        builder.wear_skirt(rng)
    bald = shape.sex == "male" and rng.random() < 0.12
    _cover_head(builder, wardrobe, shape, bald, rng)
    return builder.person(shape, skeleton, bald)


def _suit_cut(cut: painted.Cut, rng: np.random.Generator) -> painted.Cut:
    """Half of the suits keep their sleeves and 60 % their trouser legs; the others are cut as in `cut`."""
    sleeve = np.inf if rng.random() < 0.5 else max(cut.sleeve, 0.3)
    leg = np.inf if rng.random() < 0.6 else cut.leg
    return painted.Cut(sleeve, leg, cut.waist, cut.shoe)


def _cover_head(builder: "_Builder", wardrobe: Wardrobe, shape: BodyShape, bald: bool, rng) -> None:
    hat = wardrobe.choose("hats", shape.sex, rng) if rng.random() < 0.07 else None
    if hat is not None:
        builder.wear(hat)
    if bald:
        return
    hair = wardrobe.choose("hair", shape.sex, rng) if hat is None and rng.random() < 0.85 else None
    if hair is not None:
        builder.wear(hair)
    else:
        builder.grow_hair(rng.uniform(2, 10 if hat else 30))


class _Builder:
    """Collects the parts of a person. Clothes change the slots (F,) of the skin's triangles `faces`."""

    def __init__(self, template: BodyTemplate, base_mm: np.ndarray):
        self.template, self.faces = template, template.faces
        self._fit_mm = base_mm  # garments are fitted to this
        self._base_mm = base_mm.copy()  # drawn: tucked in below garments, puffed up where painted
        self._slots = np.where(template.on_head, slot("face"), slot("skin")).astype(np.int32)
        self._hidden = np.zeros(len(base_mm), bool)
        self._parts: list[tuple[np.ndarray, ...]] = []

    def wear(self, item: FittedGarment, sleeve: float = np.inf, leg: float = np.inf, from_leg: float = -np.inf) -> None:
        """Adds a garment, cut off beyond `sleeve` and `leg` and above `from_leg` (positions as in `BodyTemplate`).

        Hides the skin that the garment covers and tucks in the skin near it. A garment that covers no skin, such as
        hair, leaves the skin as it is.
        """
        template, garment = self.template, item.garment
        faces, polygon = garment.mesh.faces, garment.mesh.polygon
        along_leg = polygon_means(item.leg, faces, polygon)
        keep = (polygon_means(item.sleeve, faces, polygon) < sleeve) & (along_leg < leg) & (along_leg >= from_leg)
        self._hidden |= (
            garment.covers
            & (template.sleeve < sleeve - _HEM)
            & (template.leg < leg - _HEM)
            & (template.leg >= min(from_leg + _HEM, 2))
        )
        self._parts.append((garment.fit(self._fit_mm), item.skin_weights, faces[keep], item.uv[keep], item.slots[keep]))
        if garment.covers.any():
            self._tuck(garment.anchors[np.unique(faces[keep])], slot("shoes") if "shoes" in garment.tags else None)

    def _tuck(self, anchors: np.ndarray, shoe: int | None) -> None:
        """Sinks the skin near the base vertices `anchors` and colors it like the cloth above, in case it shows."""
        template = self.template
        below = np.zeros(len(self._fit_mm), bool)
        below[anchors] = True
        below |= below[template.tights]
        below &= (template.skin_weights[:, bone("Head")] < 0.1) & (template.sleeve < 2)
        cloth = below[self.faces].all(1) & (self._slots == slot("skin"))
        on_leg = (template.leg[self.faces] >= 0).any(1) | (template.trunk[self.faces] < _WAIST).all(1)
        self._slots[cloth] = np.where(on_leg, slot("bottom"), slot("top"))[cloth] if shoe is None else shoe
        below[template.edges[below[template.edges].any(1)]] = True
        below &= template.sleeve < 2
        normals = painted.vertex_normals(self._fit_mm, self.faces)
        self._base_mm[below] = (self._fit_mm - _TUCK_MM * normals)[below]

    def paint(self, name: str, covered: np.ndarray, loose: float | None) -> None:
        """Turns skin triangles `covered` (F,) bool into cloth; `loose`: 0 tight, 1 loose, None flat on the skin."""
        covered = covered & (self._slots == slot("skin"))
        self._slots[covered] = slot(name)
        if loose is not None:
            cloth = self.faces[covered]
            self._base_mm = painted.puff(self._base_mm, self.template, cloth, 3 + 12 * loose, int(2 + 25 * loose))

    def wear_skirt(self, rng: np.random.Generator) -> None:
        """Adds the skirt of the base mesh, cut at a random height between above the knee and the ankle."""
        faces = self.template.skirt_faces
        height = polygon_means(self._fit_mm[:, 1], faces, self.template.skirt_polygon)
        top, bottom = height.max(), height.min()
        faces = faces[height > top - (top - bottom) * rng.uniform(0.45, 1)]
        uv = self._fit_mm[faces][..., [0, 1]] / TEXTURE_MM
        slots = np.full(len(faces), slot("bottom"), np.int32)
        self._parts.append((self._fit_mm, self.template.skin_weights, faces, uv.astype(np.float32), slots))

    def grow_hair(self, length_mm: float) -> None:
        """Puffs up the scalp by at most `length_mm`."""
        normals = painted.vertex_normals(self._base_mm, self.faces)
        self._base_mm += normals * self.template.scalp[:, None].astype(np.float32) * np.float32(length_mm)

    def person(self, shape: BodyShape, skeleton: BodySkeleton, bald: bool) -> Person:
        """Merges the parts into one mesh, without unused vertices."""
        template = self.template
        seen = ~self._hidden[self.faces].all(1)
        eyes = np.full(len(template.eye_faces), slot("eye"), np.int32)
        weights = template.skin_weights
        parts = [
            (self._base_mm, weights, self.faces[seen], template.uv[seen], self._slots[seen]),
            (self._base_mm, weights, template.eye_faces, template.eye_uv, eyes),
            *self._parts,
        ]
        merged = [[], [], [], [], []]
        first = 0
        for vertices, part_weights, faces, uv, slots in parts:
            used, renumbered = np.unique(faces, return_inverse=True)
            values = (vertices[used], part_weights[used], renumbered.reshape(-1, 3) + first, uv, slots)
            first += len(used)
            for column, value in zip(merged, values, strict=True):
                column.append(value)
        vertices, weights, faces, uv, slots = (np.concatenate(column) for column in merged)
        indices, values = sparse_weights(weights)
        return Person(
            shape, skeleton, vertices.astype(np.float32), indices, values, faces.astype(np.int32), uv, slots, bald
        )
