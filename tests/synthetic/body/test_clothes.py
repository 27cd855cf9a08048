"""Garments, painted clothes and textures."""

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.synthetic.body import painted
from keras_pose.synthetic.body.assets import load_body_assets
from keras_pose.synthetic.body.clothes import SLOTS, connected_parts, load_wardrobe
from keras_pose.synthetic.body.garment import read_garment
from keras_pose.synthetic.body.looks import draw_materials, hair_colour, skin_colour
from keras_pose.synthetic.body.template import body_template, scaled_uv
from keras_pose.synthetic.body.textures import PATTERNS, SIZE, TEXTURE_MM, cloth_texture
from keras_pose.synthetic.body.wavefront import polygon_means, read_obj
from tests.conftest import shared_data
from tests.synthetic.people import need_body

OBJ = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3 4/4\n"
MHCLO = """# a square
name square
tag Female
obj_file square.obj
x_scale 0 1 2.0
y_scale 0 2 2.0
z_scale 0 3 2.0
verts 0
0 1 2 0.5 0.5 0.0 0.1 0.2 0.3
1
2
3
delete_verts
0 2 - 3
"""
# four base vertices, 2 apart along each axis
BASE = np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 0, 2.0]])


@pytest.fixture
def square(tmp_path):
    (tmp_path / "square.obj").write_text(OBJ)
    (tmp_path / "square.mhclo").write_text(MHCLO)
    return tmp_path / "square.mhclo"


@pytest.fixture(scope="module")
def template():
    need_body()
    return body_template(load_body_assets())


def test_garments_hang_on_their_three_vertices(square):
    garment = read_garment(square, 4)
    fitted = garment.fit(BASE)
    np.testing.assert_allclose(fitted[0], [1 + 0.1, 0.2, 0.3])  # middle of two vertices, offset unscaled
    np.testing.assert_allclose(fitted[1:], BASE[1:])
    np.testing.assert_array_equal(garment.covers, [True, False, True, True])
    assert garment.tags == {"female"}


def test_garments_scale_and_move_with_the_body(square):
    garment = read_garment(square, 4)
    np.testing.assert_allclose(garment.fit(BASE * 3), garment.fit(BASE) * 3, rtol=1e-6)
    moved = garment.fit(BASE + [5, -1, 2])
    np.testing.assert_allclose(moved, garment.fit(BASE) + [5, -1, 2], rtol=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0 1 2 0.5", "0 1 two 0.5", "line 9"),
        ("0 1 2 0.5 0.5 0.0 0.1 0.2 0.3", "0 1 2 0.5", "line 9"),
        ("0 2 - 3", "0 2 - x", "line 14"),
        ("obj_file square.obj\n", "", "obj_file"),
        ("1\n2\n3\n", "1\n2\n", "does not fit"),
        ("1\n2\n3\n", "1\n2\n99\n", "does not fit"),
        ("square.obj", "none.obj", "not a mesh"),
    ],
)
def test_broken_garments_are_named(square, old, new, message):
    square.write_text(MHCLO.replace(old, new))
    with pytest.raises(UserError, match=message) as caught:
        read_garment(square, 4)
    assert "square" in str(caught.value) or "none.obj" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "v 0 0\nf 1 2 3", "v 0 0 0\nf 1/1 2/2 9/1", "f a b c", "\x00\xff", f"v 0 0 0\nf 1 1 {9**20}"]
)
def test_broken_meshes_are_named(tmp_path, text):
    (tmp_path / "bad.obj").write_text(text)
    with pytest.raises(UserError, match="bad.obj"):
        read_obj(tmp_path / "bad.obj")


def test_a_folder_without_garments_is_refused(tmp_path, template):
    with pytest.raises(UserError, match="contains no clothes"):
        load_wardrobe(tmp_path, load_body_assets())


def test_garments_lie_close_to_the_body_they_are_fitted_to(template):
    assets = load_body_assets()
    wardrobe = load_wardrobe(shared_data("makehuman_clothes"), assets)
    skin = assets.mesh.vertices[assets.body_vertices][::3] * 100
    for item in [*wardrobe.suits, *wardrobe.shoes]:
        vertices = item.garment.fit(assets.mesh.vertices * 100)[::25]
        distance = np.linalg.norm(vertices[:, None] - skin[None], axis=-1).min(1)
        assert np.median(distance) < 40 and distance.max() < 250
        np.testing.assert_allclose(item.skin_weights.sum(1), 1, atol=1e-4)
    assert all(wardrobe.choose(kind, "female", np.random.default_rng(0)) for kind in ("suits", "shoes", "hats", "hair"))
    assert {"top", "bottom"} <= {SLOTS[s] for item in wardrobe.suits for s in np.unique(item.slots)}


def test_painted_clothes_grow_with_their_cut_and_spare_head_and_hands(template):
    short, long = painted.Cut(0.5, 0.5, 0.2, 1.97), painted.Cut(2.5, 1.97, 0.2, 1.97)
    for covers in (painted.is_top, painted.is_bottom):
        less, more = covers(template, short), covers(template, long)
        assert not (less & ~more).any() and more.sum() > less.sum()
    top, bottom, shoe = (
        painted.is_top(template, long),
        painted.is_bottom(template, long),
        painted.is_shoe(template, long),
    )
    assert not (top & bottom).any() and not (bottom & shoe).any()
    bare = ~(top | bottom | shoe)
    assert bare[template.on_head].all()
    neck_or_hand = (template.trunk[template.faces] > 1).any(1) | (template.sleeve[template.faces] > 1.9).any(1)
    assert neck_or_hand[bare].all()


def test_puffed_cloth_lies_outside_the_skin(template):
    base = load_body_assets().mesh.vertices * 100
    cloth = template.faces[painted.is_top(template, painted.Cut(1.5, 1, 0.2, 1.97))]
    puffed = painted.puff(base, template, cloth, 5.0, 10)
    moved = np.unique(cloth)
    outwards = ((puffed - base) * painted.vertex_normals(base, template.faces))[moved].sum(1)
    assert np.percentile(outwards, 5) > 0 and np.median(outwards) > 4
    untouched = np.setdiff1d(np.arange(len(base)), moved)
    np.testing.assert_array_equal(puffed[untouched], base[untouched])


def test_polygons_are_kept_whole():
    faces = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4]])
    means = polygon_means(np.array([0, 1, 2, 3, 4.0]), faces, np.array([0, 0, 1]))
    np.testing.assert_allclose(means, [8 / 6, 8 / 6, 7 / 3])


def test_connected_parts_are_found():
    labels = connected_parts(np.array([[0, 1, 2], [4, 5, 6], [2, 3, 1], [6, 7, 8]]), 9)
    assert len(set(labels[:4])) == 1 and len(set(labels[4:])) == 1 and labels[0] != labels[4]


def test_a_unit_of_texture_spans_its_length():
    vertices = np.array([[0, 0, 0], [900, 0, 0], [900, 900, 0.0]])
    uv = scaled_uv(vertices, np.array([[0, 1, 2]]), np.array([[[0, 0], [0.1, 0], [0.1, 0.1]]]))
    assert np.ptp(uv[0, :, 0]) == pytest.approx(900 / TEXTURE_MM)


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_are_fractions(name):
    rng = np.random.default_rng(0)
    for _ in range(10):
        amount = PATTERNS[name][1](rng)
        assert amount.shape == (SIZE, SIZE) and amount.min() >= 0 and amount.max() <= 1


def test_colors_are_spread():
    rng = np.random.default_rng(1)
    cloth = np.array([cloth_texture(rng).mean((0, 1)) for _ in range(300)]) / 255
    assert (np.percentile(cloth, 5, axis=0) < 0.15).all() and (np.percentile(cloth, 95, axis=0) > 0.7).all()
    skin = np.array([skin_colour(rng) for _ in range(300)])
    assert skin.mean(1).min() < 0.25 and skin.mean(1).max() > 0.8
    assert (skin[:, 0] > skin[:, 2]).mean() > 0.98  # redder than blue
    hair = np.array([hair_colour(rng) for _ in range(300)]).mean(1)
    assert np.median(hair) < 0.35 and hair.max() > 0.7


def test_faces_have_a_front_and_hair_a_back():
    face = SLOTS.index("face")
    for seed in range(10):
        materials = draw_materials("female", False, frozenset(range(len(SLOTS))), np.random.default_rng(seed))
        image = materials[face].texture.astype(float).mean(2)
        height, width = image.shape
        np.testing.assert_allclose(image[:, : width // 2].mean(), image[:, width // 2 :].mean(), rtol=0.05)
        front = image[:, width // 2 - 6 : width // 2 + 6]
        back = np.concatenate([image[:, :6], image[:, -6:]], axis=1)
        assert abs(front[height // 4 : height // 2].mean() - back[height // 4 : height // 2].mean()) > 5


def test_nobody_wears_the_color_of_their_skin():
    used = frozenset(range(len(SLOTS)))
    for seed in range(60):
        materials = draw_materials("female", False, used, np.random.default_rng(seed))
        skin, top, bottom = (materials[SLOTS.index(name)].texture.mean((0, 1)) for name in ("skin", "top", "bottom"))
        assert np.abs(top - skin).max() > 40 and np.abs(bottom - skin).max() > 40
