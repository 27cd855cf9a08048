import keras
import pytest

from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.io.model_info import ModelInfo
from keras_pose.models import model_folder
from keras_pose.models.pose_model import PoseModelConfig, build_keypoint_model
from keras_pose.training import phases, run_folder

FLAGS = "# comment\n--seed=1\n--width=16\n"


def begun(tmp_path):
    """A run that has written its first checkpoint."""
    run_folder.claim(tmp_path, FLAGS)
    checkpoint = tmp_path / run_folder.LAST_CHECKPOINT
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"weights")
    return tmp_path


def test_a_new_folder_and_an_empty_one_are_taken(tmp_path):
    for directory in (tmp_path, tmp_path / "new" / "folder"):
        run_folder.claim(directory, FLAGS)
        assert (directory / run_folder.RESOLVED_FLAGS).read_text() == FLAGS


def test_the_same_flags_resume(tmp_path):
    run_folder.claim(begun(tmp_path), FLAGS)


def test_other_flags_are_refused_and_listed(tmp_path):
    directory = begun(tmp_path)
    with pytest.raises(UserError, match=r"other flags \(--seed=1, now --seed=2\); choose another --output"):
        run_folder.claim(directory, FLAGS.replace("seed=1", "seed=2"))
    assert (directory / run_folder.RESOLVED_FLAGS).read_text() == FLAGS


def test_a_run_without_a_checkpoint_is_replaced(tmp_path):
    run_folder.claim(tmp_path, FLAGS)
    run_folder.claim(tmp_path, "--seed=2\n")
    assert (tmp_path / run_folder.RESOLVED_FLAGS).read_text() == "--seed=2\n"


def test_a_finished_run_is_kept(tmp_path):
    directory = begun(tmp_path)
    (directory / run_folder.EVALUATION).write_text("{}")
    with pytest.raises(UserError, match="holds a finished run"):
        run_folder.claim(directory, FLAGS)


@pytest.mark.parametrize("kept", [run_folder.EVALUATION, model_folder.MODEL])
def test_a_run_whose_checkpoints_were_deleted_keeps_its_model_and_its_recipe(tmp_path, kept):
    directory = begun(tmp_path)
    (directory / run_folder.LAST_CHECKPOINT).unlink()
    (directory / kept).write_bytes(b"kept")
    with pytest.raises(UserError, match="choose another --output"):
        run_folder.claim(directory, FLAGS.replace("seed=1", "seed=2"))
    assert (directory / run_folder.RESOLVED_FLAGS).read_text() == FLAGS


def test_a_run_killed_between_its_model_and_its_checkpoint_starts_over(tmp_path):
    run_folder.claim(tmp_path, FLAGS)
    (tmp_path / model_folder.MODEL).write_bytes(b"of the first epoch")
    run_folder.claim(tmp_path, FLAGS)


def test_a_run_resumes_although_flags_were_added_since(tmp_path):
    directory = begun(tmp_path)
    run_folder.claim(directory, FLAGS + "--new=0\n--nospeed\n", {"--new=0", "--nospeed"})
    assert (directory / run_folder.RESOLVED_FLAGS).read_text() == FLAGS
    with pytest.raises(UserError, match="holds a run with other flags .*now --new=1"):
        run_folder.claim(directory, FLAGS + "--new=1\n", {"--new=0"})


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="contains files that are not from a run"):
        run_folder.claim(tmp_path, FLAGS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "has no model.json"), ("{", "model.json is damaged"), ('{"format_version": 99}', "has format 99")],
)
def test_a_folder_that_is_not_a_run_is_reported(tmp_path, content, message):
    if content:
        (tmp_path / model_folder.MODEL_INFO).write_text(content)
    with pytest.raises(UserError, match=message):
        model_folder.load_run(tmp_path)


@pytest.mark.parametrize(("content", "message"), [(None, "is missing"), (b"no zip", "does not load")])
def test_a_model_that_does_not_load_is_reported(tmp_path, content, message):
    (tmp_path / model_folder.MODEL_INFO).write_text(ModelInfo("pose", HUMAN36M_17, (64, 64)).to_text())
    if content:
        (tmp_path / model_folder.MODEL).write_bytes(content)
    with pytest.raises(UserError, match=message):
        model_folder.load_run(tmp_path)


# --- weights from another model --------------------------------------------------------------------------------


def tiny(skeleton: str = "human36m_17", variant: str = "w8_tiny") -> keras.Model:
    return build_keypoint_model(PoseModelConfig(variant=variant, skeleton=skeleton, input_size=(64, 64)))


def test_a_backbone_of_another_skeleton_gives_all_but_its_last_layer():
    source, target = tiny("mpii_16"), tiny()
    before = target.get_layer("hrnet").get_layer("final_layer").get_weights()
    assert phases.transfer_weights(source, target, "mpii", same_joints=False) == ["hrnet/final_layer"]
    ours, theirs = target.get_layer("hrnet"), source.get_layer("hrnet")
    assert (ours.get_layer("conv1").get_weights()[0] == theirs.get_layer("conv1").get_weights()[0]).all()
    assert (ours.get_layer("final_layer").get_weights()[0] == before[0]).all()


def test_another_architecture_is_refused():
    with pytest.raises(UserError, match=r"small has another architecture: hrnet/\w+ has.*give the --variant"):
        phases.transfer_weights(tiny(variant="w16_small"), tiny(), "small", same_joints=True)


def test_a_model_without_shared_parts_is_refused():
    image = keras.Input((4,))
    other = keras.Model(image, keras.layers.Dense(2, name="dense")(image))
    with pytest.raises(UserError, match="has no part of this model"):
        phases.transfer_weights(other, tiny(), "other", same_joints=True)
