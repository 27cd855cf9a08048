"""The materials of a person, drawn anew for every image."""

import numpy as np

from keras_pose.synthetic.body import head
from keras_pose.synthetic.body.clothes import SLOTS
from keras_pose.synthetic.body.textures import cloth_colour, cloth_texture, fine_texture, hsv, strand_texture
from keras_pose.synthetic.render.mesh import Material

# sRGB, 0 to 1, from the lightest to the darkest skin
_SKIN = np.array(
    [
        [0.97, 0.85, 0.78],
        [0.93, 0.75, 0.63],
        [0.82, 0.6, 0.46],
        [0.62, 0.42, 0.3],
        [0.42, 0.27, 0.19],
        [0.24, 0.15, 0.11],
    ]
)
_HAIR = np.array(
    [
        [0.06, 0.05, 0.05],
        [0.16, 0.1, 0.07],
        [0.3, 0.19, 0.11],
        [0.45, 0.3, 0.16],
        [0.72, 0.56, 0.33],
        [0.85, 0.75, 0.55],
        [0.5, 0.2, 0.1],
        [0.55, 0.55, 0.55],
        [0.85, 0.85, 0.85],
    ]
)
_UNLIKE = 0.2  # cloth differs from skin by more than this in at least one of red, green and blue
_BLANK = Material(np.zeros((1, 1, 3), np.uint8))
_HAIR_SHARES = np.array([0.26, 0.2, 0.16, 0.1, 0.08, 0.04, 0.04, 0.07, 0.05])


def draw_materials(sex: str, bald: bool, used: frozenset[int], rng: np.random.Generator) -> list[Material]:
    """One material per entry of `SLOTS`; entries whose index is not in `used` share a blank one."""
    skin, hair = skin_colour(rng), hair_colour(rng)
    bearded = sex == "male" and rng.random() < 0.35
    top = _cloth_unlike(skin, rng)
    same = rng.random() < 0.12  # a suit, a tracksuit, an overall
    draw = {
        "skin": lambda: Material(fine_texture(skin, 0.05, rng, 1), rng.uniform(0.05, 0.3)),
        "face": lambda: Material(head.face_texture(skin, None if bald else hair, bearded, rng), rng.uniform(0.05, 0.3)),
        "eye": lambda: Material(head.eye_texture(rng), 0.6),
        "hair": lambda: Material(strand_texture(hair, rng), rng.uniform(0.1, 0.5)),
        "top": lambda: Material(top, _cloth_shine(rng)),
        "bottom": lambda: Material(top if same else _cloth_unlike(skin, rng), _cloth_shine(rng)),
        "trim": lambda: Material(cloth_texture(rng), _cloth_shine(rng)),
        "shoes": lambda: Material(fine_texture(_shoe_colour(rng), 0.15, rng), rng.uniform(0.1, 0.6)),
        "hat": lambda: Material(cloth_texture(rng), _cloth_shine(rng)),
    }
    return [draw[name]() if i in used else _BLANK for i, name in enumerate(SLOTS)]


def skin_colour(rng: np.random.Generator) -> np.ndarray:
    """(3,) sRGB, 0 to 1: any human skin, with slight variations of brightness and hue."""
    place = rng.uniform(0, len(_SKIN) - 1)
    low = min(int(place), len(_SKIN) - 2)
    colour = _SKIN[low] + (place - low) * (_SKIN[low + 1] - _SKIN[low])
    return np.clip(colour * (1 + rng.normal(0, 0.04) + rng.normal(0, 0.025, 3)), 0.05, 1)


def hair_colour(rng: np.random.Generator) -> np.ndarray:
    """(3,) sRGB, 0 to 1: natural or gray hair, rarely dyed."""
    if rng.random() < 0.05:
        return hsv(rng.random(), 0.7, rng.uniform(0.3, 0.9))
    return np.clip(_HAIR[rng.choice(len(_HAIR), p=_HAIR_SHARES)] * rng.uniform(0.7, 1.3), 0.02, 0.95)


def _cloth_unlike(skin: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A cloth that cannot be mistaken for skin of color (3,)."""
    while True:
        texture = cloth_texture(rng)
        if np.abs(texture.mean((0, 1)) / 255 - skin).max() > _UNLIKE:
            return texture


def _shoe_colour(rng: np.random.Generator) -> np.ndarray:
    dark = np.clip(rng.uniform(0.03, 0.3) * np.array([1.1, 1.0, 0.9]), 0, 1)
    return dark if rng.random() < 0.45 else cloth_colour(rng)


def _cloth_shine(rng: np.random.Generator) -> float:
    kind = rng.random()
    return 0.0 if kind < 0.6 else rng.uniform(0, 0.15) if kind < 0.9 else rng.uniform(0.2, 0.6)
