"""Predictions for the batches of an evaluation, from models of any format and any skeleton."""

import zlib
from collections.abc import Callable

import numpy as np

from keras_pose.core import geometry
from keras_pose.core.errors import UserError
from keras_pose.core.skeleton import Skeleton, map_joints
from keras_pose.data import augment_ops
from keras_pose.inference.predictor import PosePredictor
from keras_pose.inference.runtimes import LoadedModel
from keras_pose.io.model_info import OWN_CELL_CENTER
from keras_pose.models.decoders import HeatmapDecoder, flip_average

# Lifters are also tested with noisy joints (`disturb`). The standard deviation is 1 % of the crop, 5 of 500 pixels.
DETECTOR_DEVIATION = 0.01

# Takes a batch (docs/architecture.md) as NumPy arrays. Returns `keypoints_2d` (B, J, 2) and/or `pose_3d` (B, J, 3) mm,
# and `heatmaps` (B, H, W, J) if a decoder needs them.
BatchPredictor = Callable[[dict], dict]


def batch_predictor(
    model,
    skeleton: Skeleton | None = None,
    labelled_as: Skeleton | None = None,
    unlabelled_at: np.ndarray | float = 0.5,
) -> BatchPredictor:
    """A `BatchPredictor` for a `LoadedModel` that sees images, or for a Keras lifter.

    A lifter predicts `pose_3d` from the labeled keypoints, and `pose_3d_noisy` from these with a detector's errors.

    Args:
        skeleton, labelled_as: a lifter's skeleton and the data's, if they differ; the labels are then mapped by name.
        unlabelled_at: where a lifter sees unlabeled keypoints, in [0, 1] of the crop: the (J, 2) of `mean_keypoints`,
            as in training.
    """
    if isinstance(model, LoadedModel):
        return lambda batch: model.run(_images_of_size(batch, model.input_size))

    def lift(batch: dict) -> dict:
        if skeleton and labelled_as:
            batch = _with_joints_of(skeleton, batch, labelled_as)
        labelled = batch["keypoint_valid"][..., None] > 0
        seen = {"pose_3d": batch["keypoints_2d"], "pose_3d_noisy": with_detector_errors(batch["keypoints_2d"])}
        return {
            name: np.asarray(model(np.where(labelled, points, np.float32(unlabelled_at)), training=False)["pose_3d"])
            for name, points in seen.items()
        }

    return lift


def with_detector_errors(keypoints_2d: np.ndarray) -> np.ndarray:
    """(B, J, 2) keypoints with a detector's errors (`augment_ops.disturb`); equal keypoints get equal errors."""
    seeds = [zlib.crc32(np.ascontiguousarray(points).tobytes()) for points in keypoints_2d]
    errors = [np.random.default_rng(seed).standard_normal((keypoints_2d.shape[1], 3), np.float32) for seed in seeds]
    return np.asarray(augment_ops.disturb(keypoints_2d, DETECTOR_DEVIATION, np.stack(errors)))


def whole_predictor(predictor: PosePredictor) -> BatchPredictor:
    """A `BatchPredictor` that must find the person in each image, which it does not take for a crop.

    If the finder finds nobody, the joints are predicted from the whole image. Predicting raises UserError for poses
    without images.
    """

    def predict(batch: dict) -> dict:
        if "image" not in batch:
            raise UserError("the data set holds poses without images; leave --whole out")
        images = batch["image"]
        results = predictor.predict(list(images))
        keypoints = np.stack([result.keypoints_px for result in results])
        outputs = {"keypoints_2d": geometry.normalize_keypoints(keypoints, images.shape[1:3]).astype(np.float32)}
        if results[0].pose_3d_mm is not None:
            outputs["pose_3d"] = np.stack([result.pose_3d_mm for result in results])
        return outputs

    return predict


def heatmap_predictor(model: LoadedModel) -> BatchPredictor:
    """As `batch_predictor`, with `heatmaps` for a `HeatmapDecoder`; raises UserError for a model without them."""
    if model.run_with_heatmaps is None:
        raise UserError(f"{model.name} has no heatmap output to decode; name a run or a .keras file")
    return lambda batch: model.run_with_heatmaps(_images_of_size(batch, model.input_size))


def with_decoder(predict: BatchPredictor, decoder: HeatmapDecoder) -> BatchPredictor:
    """Makes `predict` read `keypoints_2d` from its `heatmaps`; `pose_3d` stays the model's own."""

    def decode(batch: dict) -> dict:
        outputs = predict(batch)
        return outputs | {"keypoints_2d": decoder(outputs["heatmaps"])}

    return decode


def _images_of_size(batch: dict, size: tuple[int, int]) -> np.ndarray:
    """The images as (B, *size, 3); raises UserError if there are none, or if they would be stretched."""
    if "image" not in batch:
        raise UserError("the data set holds poses without images; evaluate a lifter on it")
    images = batch["image"]
    height, width = images.shape[1:3]
    if (height, width) == tuple(size):
        return images
    if height * size[1] != width * size[0]:
        raise UserError(
            f"the model sees {size[0]} x {size[1]}, the data set's images are {height} x {width}, "
            "of another aspect ratio; prepare the data at the model's"
        )
    affine = np.array([[size[1] / width, 0.0, 0.0], [0.0, size[0] / height, 0.0]])
    return np.stack([geometry.warp_image(image, affine, size) for image in images])


def with_flip_test(
    predict: BatchPredictor,
    skeleton: Skeleton,
    cell_center: float = OWN_CELL_CENTER,
    labelled_as: Skeleton | None = None,
) -> BatchPredictor:
    """Averages the predictions for a batch and its mirror image; heatmaps with `flip_average`.

    Args:
        skeleton: of the predictions.
        labelled_as: of the batch's labels, which a lifter sees; by default the same.
    """
    mirror, mirror_labels = list(skeleton.flip_permutation), list((labelled_as or skeleton).flip_permutation)

    def mirror_points(keypoints_2d: np.ndarray, order: list[int] = mirror) -> np.ndarray:
        return (keypoints_2d * [-1, 1] + [1, 0]).astype(np.float32)[:, order]

    def mirror_batch(batch: dict) -> dict:
        mirrored = dict(batch)
        if "image" in batch:
            mirrored["image"] = np.ascontiguousarray(batch["image"][:, :, ::-1])
        mirrored["keypoints_2d"] = mirror_points(batch["keypoints_2d"], mirror_labels)  # input of a lifter
        mirrored["keypoint_valid"] = batch["keypoint_valid"][:, mirror_labels]
        return mirrored

    def predict_both(batch: dict) -> dict:
        plain, mirrored = predict(batch), predict(mirror_batch(batch))
        both = {}
        if "heatmaps" in plain:
            both["heatmaps"] = flip_average(plain["heatmaps"], mirrored["heatmaps"], skeleton, cell_center)
        if "keypoints_2d" in plain:
            both["keypoints_2d"] = (plain["keypoints_2d"] + mirror_points(mirrored["keypoints_2d"])) / 2
        for name in {"pose_3d", "pose_3d_noisy"} & plain.keys():
            both[name] = (plain[name] + mirrored[name][:, mirror] * [-1, 1, 1]) / 2
        return both

    return predict_both


def _with_joints_of(target: Skeleton, batch: dict, source: Skeleton) -> dict:
    """The batch with its labeled joints mapped to another skeleton."""
    if source == target:
        return batch
    points, valid = map_joints(batch["keypoints_2d"], batch["keypoint_valid"] > 0, source, target)
    return batch | {"keypoints_2d": points.astype(np.float32), "keypoint_valid": valid.astype(np.float32)}


def to_skeleton(outputs: dict, source: Skeleton, target: Skeleton) -> dict:
    """`keypoints_2d` and poses in another skeleton, NaN for joints that the source lacks.

    Poses become relative to the target's root; without a root they are left out. Raises UserError if the model predicts
    NaN or infinity.
    """
    mapped = {}
    for name in ("keypoints_2d", "pose_3d", "pose_3d_noisy"):
        is_pose = name != "keypoints_2d"
        if name not in outputs or (is_pose and target.root is None):
            continue
        values = np.asarray(outputs[name], np.float32)
        if not np.isfinite(values).all():
            raise UserError(f"the model predicts NaN or inf for {name}; its weights are broken, use an earlier one")
        if source != target:
            values, known = map_joints(values, np.ones(values.shape[:-1], bool), source, target)
            values = np.where(known[..., None], values, np.nan)
        mapped[name] = geometry.root_relative(values, target.root) if is_pose else values
    return mapped
