"""Checks that a data set has what a run needs, before anything is built."""

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.data.dataset import DatasetInfo
from keras_pose.training.experiment import Experiment


def check_data(experiment: Experiment, dataset: DatasetInfo) -> None:
    """Raises UserError unless the data set has what the phases need, in the model's size and skeleton."""
    skeleton = experiment.model.get_skeleton()
    if dataset.skeleton != skeleton:
        raise UserError(
            f"data set {dataset.spec} has skeleton {dataset.skeleton.name}, the model has {skeleton.name}; "
            "prepare the data with the model's skeleton"
        )
    if experiment.kind != "lifter":
        dataset.at_size(experiment.model.input_size)
    else:
        _check_aspect(dataset, experiment.model.input_size)
    if experiment.loss.adversarial_weight and not dataset.pose_counts("train").min(initial=np.inf):
        raise UserError(
            f"data set {dataset.spec} has no complete 3D poses to compare predicted ones with; "
            "mix in data with 3D poses, or leave --adversarial_weight out"
        )
    for part in dataset.parts:
        if part.weight != 1 and not part.manifest.splits.get("train"):
            raise UserError(
                f"{part.directory} has weight {part.weight:g} in the mix but no training examples; "
                "prepare it with --split=train, or leave it out"
            )
    for split, needed in (("train", experiment.data.batch_size), ("validation", 1)):
        if dataset.count(split) < needed:
            raise UserError(
                f"split {split} of data set {dataset.spec} has {dataset.count(split)} examples, "
                f"fewer than the {needed} of one batch; add examples or choose a smaller --batch_size"
            )
    names = [phase.name for phase in experiment.train.phases]
    lifting = [name for name in names if name != "hrnet"]
    for split in ("train", "validation"):
        keypoints, poses = dataset.label_counts(split)
        if lifting and not poses:
            raise UserError(
                f"split {split} of data set {dataset.spec} has no 3D poses, which phase {lifting[0]} needs "
                "for training and validation; use --phases=hrnet, or mix in data with 3D poses"
            )
        if not keypoints and (split == "train" or set(names) != {"e2e"}):
            raise UserError(
                f"split {split} of data set {dataset.spec} has no labeled 2D joints, which every phase needs; "
                "mix in data with 2D joints"
            )


def _check_aspect(dataset: DatasetInfo, input_size: tuple[int, int]) -> None:
    """Raises UserError if a lifter's crops have another aspect ratio than the data's, which would distort poses."""
    height, width = dataset.crop_size
    if height * input_size[1] != width * input_size[0]:
        raise UserError(
            f"the joints of data set {dataset.spec} lie in crops of {height} : {width}, "
            f"the model's crops are {input_size[0]}x{input_size[1]}; leave --input_size out"
        )
