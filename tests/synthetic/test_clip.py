"""Clips: the motion is continuous, feet stand, the person and the place stay the same, the labels fit the frames."""

import json

import cv2
import numpy as np
import pytest
from absl import flags

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.io.bvh import parse_bvh
from keras_pose.synthetic import clip
from keras_pose.synthetic.body import rotation
from keras_pose.synthetic.motion.retarget import retarget
from keras_pose.synthetic.motion.sequences import captured_motion, drawn_motion, steps_on_the_ground
from keras_pose.synthetic.render.panorama import drawn_panorama
from keras_pose.synthetic.scene.surfaces import draw_surfaces
from tests.synthetic.capsules import STANDING_MM, capsule_person
from tests.synthetic.people import CMU_JOINTS, bvh_text, need_body

SIZE = (64, 48)
RIGHT_ANKLE, LEFT_ANKLE = 3, 6


def angles_deg(motion):
    """(F - 1, B) by how much each bone turns from frame to frame."""
    turns = np.swapaxes(motion[:-1], -1, -2) @ motion[1:]
    return np.rad2deg(np.linalg.norm(rotation.to_vector(turns), axis=-1))


# --- motion ----------------------------------------------------------------------------------------------------


def test_drawn_motion_is_one_motion_at_any_rate():
    """Twice the rate gives the same poses and one between each two, half as far from both."""
    slow, fast = (drawn_motion(np.random.default_rng(5), count, fps) for count, fps in ((91, 30), (181, 60)))
    np.testing.assert_allclose(fast[::2], slow, atol=1e-5)
    assert angles_deg(slow).max() > 3  # it moves
    assert angles_deg(fast).max() < 0.6 * angles_deg(slow).max()
    np.testing.assert_allclose(slow @ np.swapaxes(slow, -1, -2), np.broadcast_to(np.eye(3), slow.shape), atol=1e-5)


def test_drawn_motion_follows_from_its_seed():
    first, same, other = (drawn_motion(np.random.default_rng(seed), 9, 30) for seed in (1, 1, 2))
    assert np.array_equal(first, same) and not np.allclose(first, other)
    assert drawn_motion(np.random.default_rng(1), 1, 30).shape == first[:1].shape


def test_captured_motion_is_the_named_part_of_the_file(tmp_path):
    degrees = np.random.default_rng(0).uniform(-20, 20, (7, 3 * len(CMU_JOINTS)))
    for name, values in (("a", degrees), ("b", -degrees)):
        (tmp_path / f"{name}.bvh").write_text(bvh_text(values))
    whole = retarget(parse_bvh((tmp_path / "b.bvh").read_text(), "b"))
    np.testing.assert_array_equal(captured_motion(tmp_path, "b", 2, 4), whole[2:6])
    with pytest.raises(UserError, match="b has 7 frames"):
        captured_motion(tmp_path, "b", 4, 4)
    with pytest.raises(UserError, match="unknown sequence 'c'; known: a, b"):
        captured_motion(tmp_path, "c", 0, 1)


def test_the_lower_foot_stays_where_it_stands():
    frames = np.tile(STANDING_MM, (5, 1, 1))
    frames[:, LEFT_ANKLE, 1] += 100  # in the air
    frames[:, RIGHT_ANKLE, 2] -= 70 * np.arange(5)  # the body goes forward over the foot that stands
    moved = frames + steps_on_the_ground(frames)[:, None]
    assert np.ptp(moved[:, RIGHT_ANKLE], axis=0).max() < 1e-9
    np.testing.assert_allclose(moved[:, 0, 2], STANDING_MM[0, 2] + 70 * np.arange(5))
    np.testing.assert_array_equal(steps_on_the_ground(np.tile(STANDING_MM, (3, 1, 1))), 0)


# --- images --------------------------------------------------------------------------------------------------


def rendered(seed=0):
    """Frames and labels of a capsule person who slides and waves."""
    joints = np.tile(STANDING_MM, (3, 1, 1)) + 40.0 * np.arange(3)[:, None, None] * [1, 0, 0]
    joints[:, 13, 1] += 150 * np.arange(3)
    people = [capsule_person(np.random.default_rng(1), pose, noise_mm=0) for pose in joints]
    rng = np.random.default_rng(seed)
    frames = clip.render(rng, SIZE, drawn_panorama("drawn", rng), draw_surfaces(0, 12), people)
    images, examples = zip(*frames, strict=True)
    return np.stack(images), examples


def test_the_same_seed_gives_the_same_images():
    (first, _), (same, _), (other, _) = rendered(), rendered(), rendered(seed=1)
    assert first.shape == (3, *SIZE, 3) and np.array_equal(first, same) and not np.array_equal(first, other)


@pytest.mark.parametrize("seed", range(3))
def test_only_the_person_moves_and_is_seen_whole(seed):
    images, examples = rendered(seed)
    assert len({example.intrinsics.tobytes() for example in examples}) == 1
    still = (images[1:] == images[:1]).all((0, -1))
    assert 0.4 < still.mean() < 1
    for example in examples:
        example.validate()
        projected = geometry.project_points(example.pose_3d_mm + example.root_position_mm, example.intrinsics)
        np.testing.assert_allclose(projected, example.keypoints_2d_px, atol=0.01)
        assert example.keypoint_in_crop.all()


# --- the command -----------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command in `tmp_path`."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        values = flags.FlagValues()
        clip.define_flags(values)
        monkeypatch.setattr(clip, "FLAGS", values)
        return clip.main(values(["clip", "--image_size=96x64", "--seconds=0.5", "--fps=10", *arguments])[1:])

    return run


def test_a_real_person_moves_and_stays_the_same(run, tmp_path):
    need_body()
    assert run("--output=a.mp4") == run("--output=b.mp4") == run("--output=other.mp4", "--seed=1") == 0
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert (tmp_path / "a.mp4").read_bytes() != (tmp_path / "other.mp4").read_bytes()
    capture = cv2.VideoCapture("a.mp4")
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 5 and capture.read()[1].shape == (96, 64, 3)
    truth = json.loads((tmp_path / "a.json").read_text())
    assert truth["frames_per_second"] == 10 and truth["image_size"] == [96, 64] and len(truth["frames"]) == 5
    joints = np.array([np.add(frame["pose_3d_mm"], frame["root_position_mm"]) for frame in truth["frames"]])
    bones = np.array(HUMAN36M_17.bones)
    lengths = np.linalg.norm(joints[:, bones[:, 0]] - joints[:, bones[:, 1]], axis=-1)  # (F, bones)
    assert np.ptp(lengths, axis=0).max() < 1
    steps = np.linalg.norm(np.diff(joints, axis=0), axis=-1)
    assert 5 < steps.max() < 400  # mm in a tenth of a second
    seen = np.array([frame["keypoints_px"] for frame in truth["frames"]])
    np.testing.assert_allclose(geometry.project_points(joints, truth["intrinsics"]), seen, atol=0.1)


def test_captured_motion_is_shown(run, tmp_path):
    need_body()
    still = np.zeros((6, 3 * len(CMU_JOINTS)))
    (tmp_path / "still.bvh").write_text(bvh_text(still))
    assert run("--output=a.webp", "--mocap=.", "--sequence=still") == 0
    truth = json.loads((tmp_path / "a.json").read_text())
    poses = np.array([frame["pose_3d_mm"] for frame in truth["frames"]])
    assert len(poses) == 5 and np.ptp(poses, axis=0).max() < 0.2  # mm: nobody moves
    assert (tmp_path / "a.webp").read_bytes()[:4] == b"RIFF"


def test_clothes_do_not_change():
    need_body()
    rng = np.random.default_rng(0)
    people = clip.people_in_motion(rng, drawn_motion(rng, 3, 5), None)
    first, *others = ([m.texture for m in person.mesh.materials] for person in people)
    assert all(np.array_equal(a, b) for other in others for a, b in zip(first, other, strict=True))
    assert not np.allclose(people[0].joints_mm, people[2].joints_mm, atol=20)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --output=clip.mp4"),
        (("--output=a.mp4", "stray"), "unknown argument 'stray'"),
        (("--output=a.gif",), "unknown video format 'gif'"),
        (("--output=old.mp4",), "old.mp4 already exists"),
        (("--output=told.mp4",), "told.json already exists"),
        (("--output=a.mp4", "--mocap=x.zip"), "--sequence=NAME must be used together"),
        (("--output=a.mp4", "--sequence=x"), "--sequence=NAME must be used together"),
        (("--output=a.mp4", "--mocap=x.zip", "--sequence=x"), "cannot read motion capture from x.zip"),
        (("--output=a.mp4", "--image_size=big"), "--image_size"),
        (("--output=a.mp4", "--panoramas=gone"), "--panoramas: gone is not a folder"),
        (("--output=a.mp4", "--clothes_dir=gone"), "gone"),
    ],
)
def test_mistakes_give_one_line_errors(run, tmp_path, arguments, message):
    need_body()
    for name in ("old.mp4", "told.json"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=message) as error:
        run(*arguments)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.mp4", "told.json"]
