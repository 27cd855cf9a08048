"""BVH motion capture: toy figures in both dialects, and CMU's."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.data import inspect
from keras_pose.data.sources import mocap
from keras_pose.data.sources.base import Options
from keras_pose.io.bvh import parse_bvh
from tests.conftest import shared_data
from tests.data.sources import toy

# name in CMU's dialect, in Daz', parent, offset from it; a person 1.7 m tall in centimeters who faces +z
FIGURE = [
    ("Hips", "hip", None, (0, 0, 0)),
    ("Spine", "abdomen", "Hips", (0, 15, 0)),
    ("Spine1", "chest", "Spine", (0, 15, 0)),
    ("Head", "head", "Spine1", (0, 26, 0)),
    *(
        (f"{side}{cmu}", f"{letter}{daz}", parent and parent.replace("*", side), (sign * x, y, z))
        for side, letter, sign in (("Left", "l", 1), ("Right", "r", -1))
        for cmu, daz, parent, (x, y, z) in (
            ("UpLeg", "Thigh", "Hips", (9, -2, 0)),
            ("Leg", "Shin", "*UpLeg", (0, -43, 0)),
            ("Foot", "Foot", "*Leg", (0, -43, 0)),
            ("Arm", "Shldr", "Spine1", (15, 14, 0)),
            ("ForeArm", "ForeArm", "*Arm", (28, 0, 0)),
            ("Hand", "Hand", "*ForeArm", (25, 0, 0)),
        )
    ),
]


def figure(motion: dict[str, tuple[float, float, float]], frames: int = 3, daz: bool = False, rows=None) -> str:
    """A BVH file; `motion` turns joints by (Z, X, Y) degrees in every frame."""
    order: list[str] = []

    def joint(entry, depth) -> list[str]:
        name, other, _, offset = entry
        order.append(name)
        indent = "  " * depth
        children = [line for e in FIGURE if e[2] == name for line in joint(e, depth + 1)]
        end = [f"{indent}  End Site", f"{indent}  {{", f"{indent}    OFFSET 0 1 0", f"{indent}  }}"]
        return [
            f"{indent}{'JOINT' if depth else 'ROOT'} {other if daz else name}",
            f"{indent}{{",
            f"{indent}  OFFSET {offset[0]} {offset[1]} {offset[2]}",
            f"{indent}  CHANNELS 3 Zrotation Xrotation Yrotation",
            *(children or end),
            f"{indent}}}",
        ]

    lines = ["HIERARCHY", *joint(FIGURE[0], 0), "MOTION", f"Frames: {frames}", "Frame Time: 0.033"]
    row = " ".join(f"{v}" for name in order for v in motion.get(name, (0, 0, 0)))
    return "\n".join([*lines, *([row] * frames if rows is None else rows)]) + "\n"


def joint(pose: np.ndarray, name: str) -> np.ndarray:
    return pose[HUMAN36M_17.index(name)]


@pytest.mark.parametrize("daz", [False, True])
def test_joints_stand_where_the_bones_put_them(daz):
    motion = parse_bvh(figure({"LeftArm": (90, 0, 0), "RightLeg": (0, 90, 0), "Hips": (0, 0, 90)}, daz=daz), "a")
    (pose, *_) = mocap.to_human36m(motion)
    # Turned by 90 degrees about y: what was +x is -z now, +z is +x. The left arm points up, the shin backwards.
    np.testing.assert_allclose(joint(pose, "left_hip"), [0, 0, -9], atol=1e-9)
    np.testing.assert_allclose(joint(pose, "left_wrist"), [0, 44 + 53 + 2, -15], atol=1e-9)
    np.testing.assert_allclose(joint(pose, "right_knee"), [0, -43, 9], atol=1e-9)
    np.testing.assert_allclose(joint(pose, "right_ankle"), [-43, -43, 9], atol=1e-9)
    np.testing.assert_allclose(joint(pose, "spine"), [0, 24.5, 0], atol=1e-9)
    np.testing.assert_allclose(joint(pose, "thorax"), [0, 46, 0], atol=1e-9)
    np.testing.assert_allclose(joint(pose, "head_top"), [0, 58 + 12, 0], atol=1e-9)


def test_bodies_vary_and_stay_symmetric():
    poses = mocap.to_human36m(parse_bvh(figure({}), "a"))
    bodies = np.stack([mocap.vary_body(poses, np.random.default_rng(i))[0] for i in range(40)])
    lengths = np.linalg.norm(bodies[:, 1:] - bodies[:, HUMAN36M_17.parents[1:]], axis=-1)
    for left, right in HUMAN36M_17.left_right_pairs:
        np.testing.assert_allclose(lengths[:, left - 1], lengths[:, right - 1])
    thighs = lengths[:, HUMAN36M_17.index("left_knee") - 1]
    assert 300 < thighs.min() < 400 < thighs.max() < 600


def test_cameras_stand_around_an_upright_person():
    mm = mocap.vary_body(mocap.to_human36m(parse_bvh(figure({}), "a")), np.random.default_rng(0))[0]
    faces = []
    for i in range(60):
        camera = mocap.random_camera(np.random.default_rng(i))
        seen = camera.to_camera(mm)
        pixels = geometry.project_points(seen, camera.intrinsics)
        assert np.linalg.det(camera.rotation) == pytest.approx(1)
        assert joint(seen, "head_top")[1] < joint(seen, "pelvis")[1] < joint(seen, "left_ankle")[1]
        assert (seen[:, 2] > 2000).all() and geometry.inside_image(pixels, (1200, 1200)).mean() > 0.7
        faces.append(joint(seen, "left_shoulder")[0] > joint(seen, "right_shoulder")[0])
    assert 15 < sum(faces) < 45  # from the front and from behind


def write(folder, texts: dict[str, str]):
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def zipped(path, texts: dict[str, str]):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    return path


def test_a_folder_and_a_zip_file_give_projected_poses(tmp_path):
    texts = {"walk_01.bvh": figure({"LeftLeg": (0, 30, 0)}, frames=5), "sub/run_01.BVH": figure({}, frames=2, daz=True)}
    options = Options((64, 64), frame_step=2)
    for name, place in (("a", write(tmp_path / "in", texts)), ("b", zipped(tmp_path / "in.zip", texts))):
        examples = toy.convert("mocap", place, tmp_path / name, options)
        (examples,) = [examples[split] for split in examples]
        assert len(examples) == mocap.CAMERAS * (3 + 1)
        for example in examples:
            assert example.pose_3d_valid.all() and not example.image_jpeg and example.keypoint_valid.all()
            camera_mm = example.pose_3d_mm + example.root_position_mm
            toy.assert_projects(example, camera_mm, geometry.project_points(camera_mm, example.intrinsics))


def test_a_skeleton_that_lies_at_rest_is_refused():
    """Its head's own +y is no longer along the head, and the top of the head would be beside it."""
    lying = figure({}).replace("OFFSET 0 15 0", "OFFSET 15 0 0").replace("OFFSET 0 26 0", "OFFSET 26 0 0")
    with pytest.raises(UserError, match=r"lying.bvh: the skeleton at rest does not stand along an axis"):
        mocap.to_human36m(parse_bvh(lying, "lying.bvh"))


def test_a_macs_zip_has_files_that_are_not_motion(tmp_path):
    texts = {"walk_01.bvh": figure({}), "__MACOSX/._walk_01.bvh": "\x00\x05\x16"}
    assert mocap._list_files(zipped(tmp_path / "in.zip", texts)) == ["walk_01.bvh"]
    assert len(mocap._list_files(write(tmp_path / "in", texts))) == 1


def test_a_folder_gives_the_same_poses_wherever_it_lies(tmp_path, monkeypatch):
    found = []
    for place in (tmp_path / "here", tmp_path / "there"):
        place.mkdir()
        write(place / "in", {"sub/walk_01.bvh": figure({"LeftLeg": (0, 30, 0)})})
        monkeypatch.chdir(place)
        for path in (place / "in", Path("in")):
            (item, *_) = mocap.list_items(path, Options((64, 64)))
            found.append(next(mocap.read_item(item, Options((64, 64)))).pose_3d_mm)
    np.testing.assert_array_equal(found, [found[0]] * 4)


def test_the_same_files_give_the_same_poses(tmp_path):
    place = write(tmp_path / "in", {"walk_01.bvh": figure({})})
    first, second = (toy.convert("mocap", place, tmp_path / name)["train"] for name in "ab")
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.pose_3d_mm, other.pose_3d_mm)
    assert not np.allclose(first[0].pose_3d_mm, first[-1].pose_3d_mm)


def test_whole_subjects_are_held_out():
    frames = {f"s{s}_{t}.bvh": 100 for s in range(12) for t in range(3)} | {"dance_1.bvh": 2000}
    splits = mocap.choose_splits(frames)
    sizes = {split: 0 for split in ("train", "validation", "test")}
    for name, count in frames.items():
        sizes[splits[name.split("_")[0]]] += count
    assert splits["dance"] == "train"
    assert 0.1 <= sizes["test"] / sum(sizes.values()) <= 0.25
    assert 0.1 <= sizes["validation"] / sum(sizes.values()) <= 0.25
    assert mocap.choose_splits({"a.bvh": 5}) == {"a": "train"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "walk_01.bvh: is not a BVH file|walk_01.bvh is not a BVH file|it has no number"),
        (figure({})[:-40], "declares 3 frames|does not hold"),
        (figure({}, rows=["1 2 3"] * 3), "does not hold"),
        (figure({}).replace("Head", "Skull"), "walk_01.bvh: no joint Head, by"),
        (figure({}).replace("OFFSET", "OFF"), "OFFSET"),
        (figure({}).replace(" -43 ", " 0 "), "its legs have no length"),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        toy.convert("mocap", write(tmp_path / "in", {"walk_01.bvh": text}), tmp_path / "out")


def test_missing_input_is_named(tmp_path):
    with pytest.raises(UserError, match="no .bvh file"):
        toy.convert("mocap", write(tmp_path / "in", {"a.txt": ""}), tmp_path / "out")
    (tmp_path / "half.zip").write_bytes(zipped(tmp_path / "whole.zip", {"a.bvh": figure({})}).read_bytes()[:200])
    with pytest.raises(UserError, match=r"half\.zip cannot be read"):
        toy.convert("mocap", tmp_path / "half.zip", tmp_path / "out")


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_text_is_read_or_named(data):
    lines = figure({}).splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        i = data.draw(st.integers(0, len(lines) - 1))
        words = lines[i].split() or [""]
        w = data.draw(st.integers(0, len(words) - 1))
        words[w] = data.draw(
            st.sampled_from(["", "{", "}", "nan", "1e400", "-1", "JOINT x", "99", "3.5"]) | st.text(max_size=4)
        )
        lines[i] = " ".join(words)
    text = "\n".join(lines[: data.draw(st.integers(1, len(lines)))])
    try:
        poses = mocap.vary_body(mocap.to_human36m(parse_bvh(text, "a")), np.random.default_rng(0))
        assert np.isfinite(poses).all()
    except UserError as error:
        assert "\n" not in str(error)


def test_cmus_motions_go_through_prepare_and_inspect(tmp_path):
    whole = shared_data("mocap_bvh.zip")
    with zipfile.ZipFile(whole) as source:
        few = {name: source.read(name).decode() for name in source.namelist()[::12]}
    examples = toy.convert(
        "mocap", zipped(tmp_path / "few.zip", few), tmp_path / "out", Options((64, 64), frame_step=40)
    )
    assert set(examples) >= {"train", "test"}
    found = inspect.inspect(str(tmp_path / "out"), str(tmp_path / "sheet.png"), pictures=6)
    assert found["problems"] == []
    bones = found["splits"]["train"]["bone_median_mm"]
    assert 380 < bones["left_hip-left_knee"] < 500 and 200 < bones["pelvis-spine"] < 300
