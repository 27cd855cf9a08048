"""The shapes of adult bodies: blends of MakeHuman's macro targets and its measures of limbs, trunk and head."""

from dataclasses import dataclass
from itertools import product

import numpy as np

from keras_pose.synthetic.body.assets import BodyAssets

SHORTEST_MM, TALLEST_MM = 1450.0, 2050.0
# Mean and deviation of adult stature. `_UNIFORM_SHARE` of the people are drawn uniformly, to include the extremes.
_STATURE_MM = {"female": (1640.0, 70.0), "male": (1770.0, 75.0)}
_UNIFORM_SHARE = 0.25

# (decreasing target, increasing target, deviation of the weight): proportions beyond the macro targets.
_MEASURES = tuple(
    (f"{name}-decr", f"{name}-incr", deviation)
    for name, deviation in (
        ("arms/measure-upperarm-length", 0.4),
        ("arms/measure-lowerarm-length", 0.4),
        ("legs/measure-upperleg-height", 0.4),
        ("legs/measure-lowerleg-height", 0.4),
        ("torso/measure-shoulder-dist", 0.4),
        ("torso/torso-scale-vert", 0.3),
        ("torso/torso-vshape", 0.3),
        ("torso/measure-hips-circ", 0.25),
        ("torso/measure-waist-circ", 0.25),
        ("neck/measure-neck-height", 0.3),
        ("head/head-scale-horiz", 0.25),
        ("head/head-scale-depth", 0.25),
        ("head/head-scale-vert", 0.25),
        ("head/head-fat", 0.3),
        ("buttocks/buttocks-volume", 0.3),
    )
)


@dataclass(frozen=True)
class BodyShape:
    """One adult's shape; values without a unit range from 0 to 1, unless stated otherwise.

    Attributes:
        age: from 0 (25 years) to 1 (90 years); the targets for children are never used.
        muscle, weight, height, proportions: as in MakeHuman, with 0.5 the average.
        origins: shares of MakeHuman's three sets of faces and frames.
        measures: weights of `_MEASURES` from -1 to 1; a negative one applies the decreasing target.
        stature_mm: body height, to which the blend is scaled.
    """

    sex: str
    age: float
    muscle: float
    weight: float
    height: float
    proportions: float
    origins: tuple[float, float, float]
    measures: tuple[float, ...]
    stature_mm: float


def sample_shape(rng: np.random.Generator) -> BodyShape:
    """Draws an adult's shape."""
    sex = ("female", "male")[rng.integers(2)]
    mean, deviation = _STATURE_MM[sex]
    if rng.random() < _UNIFORM_SHARE:
        stature = rng.uniform(SHORTEST_MM, TALLEST_MM)
    else:
        stature = np.clip(rng.normal(mean, deviation), SHORTEST_MM, TALLEST_MM)
    return BodyShape(
        sex=sex,
        age=float(rng.beta(1.2, 2.2)),
        muscle=float(rng.beta(2, 2)),
        weight=float(rng.beta(2, 2.2)),
        height=float(np.clip(0.5 + (stature - mean) / 500, 0.1, 0.9)),
        proportions=float(rng.uniform(0.25, 1)),
        origins=tuple(float(v) for v in rng.dirichlet([0.6, 0.6, 0.6])),
        measures=tuple(float(np.clip(rng.normal(0, d), -1, 1)) for _, _, d in _MEASURES),
        stature_mm=float(stature),
    )


def build_vertices(assets: BodyAssets, shape: BodyShape) -> np.ndarray:
    """(V, 3) float32 base vertices in mm at rest, `shape.stature_mm` tall, soles at y = 0."""
    vertices = assets.mesh.vertices.astype(np.float32)
    for name, weight in _target_weights(shape).items():
        indices, offsets = assets.target(name)
        vertices[indices] += np.float32(weight) * offsets
    skin = vertices[assets.body_vertices]
    bottom, top = skin[:, 1].min(), skin[:, 1].max()
    vertices[:, 1] -= bottom
    return vertices * np.float32(shape.stature_mm / (top - bottom))


def _target_weights(shape: BodyShape) -> dict[str, float]:
    """Target name -> weight, for targets in use. By MakeHuman's rule, it is the product of the weights of its parts."""
    ages = {"young": 1 - shape.age, "old": shape.age}
    weights = {
        f"macrodetails/{origin}-{shape.sex}-{age}": share * part
        for (origin, share), (age, part) in product(
            zip(("african", "asian", "caucasian"), shape.origins, strict=True), ages.items()
        )
    }
    heights = {"minheight": max(1 - 2 * shape.height, 0), "maxheight": max(2 * shape.height - 1, 0)}
    builds = {
        "uncommonproportions": max(1 - 2 * shape.proportions, 0),
        "idealproportions": max(2 * shape.proportions - 1, 0),
    }
    for (age, a), (muscle, m), (weight, w) in product(
        ages.items(), _thirds("muscle", shape.muscle).items(), _thirds("weight", shape.weight).items()
    ):
        figure = f"{shape.sex}-{age}-{muscle}-{weight}"
        weights[f"macrodetails/universal-{figure}"] = a * m * w
        weights |= {f"macrodetails/height/{figure}-{name}": a * m * w * h for name, h in heights.items()}
        weights |= {f"macrodetails/proportions/{figure}-{name}": a * m * w * b for name, b in builds.items()}
    for (less, more, _), value in zip(_MEASURES, shape.measures, strict=True):
        weights[more if value > 0 else less] = abs(value)
    return {name: weight for name, weight in weights.items() if weight > 1e-3}


def _thirds(kind: str, value: float) -> dict[str, float]:
    """Weights of the lowest, average and highest target of `kind` at `value` (0 to 1)."""
    least, most = max(1 - 2 * value, 0), max(2 * value - 1, 0)
    return {f"min{kind}": least, f"average{kind}": 1 - least - most, f"max{kind}": most}
