"""Averaging with the mirrored image (`with_flip_test`)."""

import numpy as np
import pytest

from keras_pose.core.skeleton import HUMAN36M_17
from keras_pose.evaluation.predictions import with_flip_test
from tests.evaluation.conftest import all_examples, evaluate


def test_flip_test_undoes_what_only_one_side_has(dataset):
    """A model that is always 40 mm too far right, and 0.1 of the crop, is right on average with its mirror image."""
    mirror = list(HUMAN36M_17.flip_permutation)
    labels = {picture.tobytes(): i for i, picture in enumerate(all_examples(dataset)["image"])}
    truth = all_examples(dataset)

    def biased(batch):
        outputs = {"keypoints_2d": [], "pose_3d": []}
        for image in batch["image"]:
            if (i := labels.get(image.tobytes())) is not None:
                points, pose = truth["keypoints_2d"][i], truth["pose_3d"][i]
            else:
                i = labels[np.ascontiguousarray(image[:, ::-1]).tobytes()]
                points, pose = truth["keypoints_2d"][i][mirror], truth["pose_3d"][i][mirror] * [-1, 1, 1]
                points = points * [-1, 1] + [1, 0]
            outputs["keypoints_2d"].append(points + [0.1, 0])
            outputs["pose_3d"].append(pose + bend)
        return {name: np.array(values, np.float32) for name, values in outputs.items()}

    bend = np.zeros((17, 3))
    bend[HUMAN36M_17.index("head_top"), 0] = 40
    plain, flipped = (evaluate(biased, dataset, flip_test=flip) for flip in (False, True))
    assert plain.summary()["mpjpe_mm"] == pytest.approx(40 / 17, rel=1e-3)
    assert flipped.summary()["mpjpe_mm"] < 0.01
    assert plain.scores["error_px"].mean() > 5 and flipped.scores["error_px"].max() < 1e-3
    assert flipped.to_dict()["model"]["flip_test"] is True


def test_flip_test_of_a_lifter_mirrors_what_it_sees(dataset):
    """A lifter that reads x from its input, where mirroring must turn x and swap the sides."""

    def lift(batch):
        return {"pose_3d": np.pad(batch["keypoints_2d"], [(0, 0), (0, 0), (0, 1)])}

    batch = all_examples(dataset)
    plain, both = lift(batch)["pose_3d"], with_flip_test(lift, HUMAN36M_17)(batch)["pose_3d"]
    assert np.allclose(both[..., 1], plain[..., 1], atol=1e-5)
    assert np.allclose(both[..., 0], plain[..., 0] - 0.5, atol=1e-5)
