"""Everything that all bodies share: the base mesh's skin, its parts, and coordinates along limbs."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from keras_pose.synthetic.body import head
from keras_pose.synthetic.body.assets import BodyAssets
from keras_pose.synthetic.body.rig import BONES, TWISTS, base_skin_weights, bone, rest_pivots
from keras_pose.synthetic.body.textures import TEXTURE_MM

_DM = 100.0  # mm


@dataclass(eq=False)
class BodyTemplate:
    """What all bodies share; V counts the base vertices, F the skin's triangles.

    Attributes:
        skin_weights: (V, rig.TRANSFORMS).
        faces: (F, 3) triangles of the skin, without the insides of mouth, nostrils and eye sockets.
        polygon: (F,) the polygon that each triangle is part of.
        uv: (F, 3, 2) texture coordinates, one unit per `TEXTURE_MM`; for `on_head`, the layout of a face.
        on_head: (F,) bool.
        eye_faces, eye_uv: (E, 3) and (E, 3, 2), both eyeballs.
        skirt_faces, skirt_polygon: (S, 3) and (S,), a skirt to the ankles that is part of the base mesh.
        sleeve: (V,) position along an arm: 0 shoulder, 1 elbow, 2 wrist, 3 on the hand; -1 off the arms.
        leg: (V,) position along a leg: 0 hip, 1 knee, 2 ankle, 3 on the foot; -1 off the legs.
        trunk: (V,) height on the trunk: 0 hips, 1 base of the neck.
        on_neck: (V,) bool, neck and head.
        scalp: (V,) 0 below the hairline and off the head, 1 well above it.
        tights: (V,) for each skin vertex, the nearest vertex of the base mesh's tights, to which garments are attached.
        edges: (N, 2) pairs of neighboring skin vertices.
    """

    skin_weights: np.ndarray
    faces: np.ndarray
    polygon: np.ndarray
    uv: np.ndarray
    on_head: np.ndarray
    eye_faces: np.ndarray
    eye_uv: np.ndarray
    skirt_faces: np.ndarray
    skirt_polygon: np.ndarray
    sleeve: np.ndarray
    leg: np.ndarray
    trunk: np.ndarray
    on_neck: np.ndarray
    scalp: np.ndarray
    tights: np.ndarray
    edges: np.ndarray


@cache
def body_template(assets: BodyAssets) -> BodyTemplate:
    """The template, built once per process."""
    mesh = assets.mesh
    weights = base_skin_weights(assets)
    body = assets.faces_of("body")
    body = body[~assets.cavity[mesh.faces[body]].all(1)]
    faces = mesh.faces[body]
    by_bone = _weights_by_bone(weights)
    head_weight, neck_weight = by_bone[:, bone("Head")], by_bone[:, [bone("Neck"), bone("Head")]].sum(1)
    on_head = (head_weight[faces] > 0.6).all(1)
    uv = scaled_uv(mesh.vertices * _DM, faces, mesh.uv[mesh.face_uv[body]])
    uv[on_head] = head.face_uv(assets, faces[on_head])
    skirt = assets.faces_of("helper-skirt")
    eyes = mesh.faces[assets.faces_of("helper-l-eye", "helper-r-eye")]
    pivots = rest_pivots(assets, mesh.vertices)
    hips, neck = pivots[bone("Hips"), 1], pivots[bone("Neck"), 1]
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    return BodyTemplate(
        skin_weights=weights,
        faces=faces,
        polygon=mesh.polygon[body],
        uv=uv,
        on_head=on_head,
        eye_faces=eyes,
        eye_uv=head.eye_uv(assets, eyes),
        skirt_faces=mesh.faces[skirt],
        skirt_polygon=mesh.polygon[skirt],
        sleeve=_along_limb(mesh.vertices, by_bone, pivots, ("Arm", "ForeArm", "Hand", "Fingers")),
        leg=_along_limb(mesh.vertices, by_bone, pivots, ("UpLeg", "Leg", "Foot")),
        trunk=(mesh.vertices[:, 1] - hips) / (neck - hips),
        on_neck=neck_weight > 0.5,
        scalp=head.scalp(assets) * (head_weight > 0.5),
        tights=_nearest_tights(assets),
        edges=np.unique(edges, axis=0),
    )


def _nearest_tights(assets: BodyAssets) -> np.ndarray:
    vertices, skin = assets.mesh.vertices, assets.body_vertices
    tights = np.unique(assets.mesh.faces[assets.faces_of("helper-tights")])
    nearest = np.arange(len(vertices))
    distance = (vertices[tights] ** 2).sum(1) - 2 * vertices[skin] @ vertices[tights].T  # squared, minus |skin|^2
    nearest[skin] = tights[distance.argmin(1)]
    return nearest


def scaled_uv(vertices_mm: np.ndarray, faces: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """(F, 3, 2) float32: `uv` scaled to an average of one unit per `TEXTURE_MM` on (F, 3) triangles."""

    def doubled_area(corners: np.ndarray) -> float:
        first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        cross = np.cross(first, second)
        return float(np.abs(cross if cross.ndim == 1 else np.linalg.norm(cross, axis=-1)).sum())

    flat = np.concatenate([uv, np.zeros((*uv.shape[:2], 1), uv.dtype)], -1)
    area, uv_area = doubled_area(vertices_mm[faces]), doubled_area(flat)
    return (uv * (np.sqrt(area / max(uv_area, 1e-12)) / TEXTURE_MM)).astype(np.float32)


def _weights_by_bone(weights: np.ndarray) -> np.ndarray:
    """(V, TRANSFORMS) to (V, len(BONES)): the helper transforms of twists are added to their bones."""
    by_bone = weights[:, : len(BONES)].copy()
    for twist in TWISTS:
        for column in twist.columns:
            if column >= len(BONES):
                by_bone[:, twist.bone] += weights[:, column]
    return by_bone


def _along_limb(vertices: np.ndarray, by_bone: np.ndarray, pivots: np.ndarray, limbs: tuple[str, ...]) -> np.ndarray:
    """(V,) position along the chain of bones `limbs`: 0 to 2 on the first two, then 3; -1 off them."""
    along = np.full(len(vertices), -1.0)
    for side in ("Left", "Right"):
        chain = [bone(side + name) for name in limbs]
        on_limb = by_bone[:, chain].sum(1) > 0.5
        main = by_bone[:, chain].argmax(1)
        along[on_limb & (main >= 2)] = 3.0
        for i in range(2):
            here = on_limb & (main == i)
            start, axis = pivots[chain[i]], pivots[chain[i + 1]] - pivots[chain[i]]
            along[here] = i + np.clip((vertices[here] - start) @ axis / (axis @ axis), 0, 1)
    return along
