"""Parses shard records back to PoseExamples."""

import tensorflow as tf

from keras_pose.data.example import PoseExample

_MISSING = -1  # the value of a feature that a record does not have
TEXTS = ("skeleton", "subject", "action", "source")


def parse_example(record: tf.Tensor, num_joints: int) -> dict[str, tf.Tensor]:
    """Parses one serialized record to tensors. The keys are PoseExample's attributes, but `image` for `image_jpeg`.

    Records of format 1 have `has_pose_3d`, one number for all joints, instead of `pose_3d_valid`. A record without
    either fails with tf.errors.InvalidArgumentError.
    """
    numbers = {
        "image_size": ([2], tf.int64),
        "keypoints_2d_px": ([num_joints, 2], tf.float32),
        "keypoint_valid": ([num_joints], tf.int64),
        "keypoint_hidden": ([num_joints], tf.int64),
        "pose_3d_mm": ([num_joints, 3], tf.float32),
        "root_position_mm": ([3], tf.float32),
        "intrinsics": ([3, 3], tf.float32),
        "frame": ([], tf.int64),
        "difficulty": ([], tf.float32),
    }
    features = {name: tf.io.FixedLenFeature(shape, dtype) for name, (shape, dtype) in numbers.items()}
    for name in ("image", *TEXTS):
        features[name] = tf.io.FixedLenFeature([], tf.string)
    for name, count in (("pose_3d_valid", num_joints), ("has_pose_3d", 1)):
        features[name] = tf.io.FixedLenFeature([count], tf.int64, default_value=[_MISSING] * count)
    fields = tf.io.parse_single_example(record, features)
    has_pose_3d, valid = fields.pop("has_pose_3d"), fields["pose_3d_valid"]
    valid = tf.where(valid == _MISSING, has_pose_3d, valid)
    check = tf.debugging.assert_non_negative(valid, "it holds no pose_3d_valid")
    with tf.control_dependencies([check]):
        fields["pose_3d_valid"] = tf.identity(valid)
    return fields


def to_example(fields: dict) -> PoseExample:
    """The PoseExample of the fields that `parse_example` returned, as NumPy values."""
    fields = fields | {name: fields[name].decode(errors="replace") for name in TEXTS}
    return PoseExample(
        image_jpeg=fields.pop("image"),
        image_size=tuple(fields.pop("image_size")),
        frame=int(fields.pop("frame")),
        difficulty=float(fields.pop("difficulty")),
        **fields,
    )
