"""From the records of shards back to PoseExamples."""

import tensorflow as tf

from keras_pose.data.example import PoseExample

TEXTS = ("skeleton", "subject", "action", "source")


def parse_example(record: tf.Tensor, num_joints: int) -> dict[str, tf.Tensor]:
    """One serialised record to tensors; pictures stay JPEG. Keys are PoseExample's, and `image`."""
    numbers = {
        "image_size": ([2], tf.int64),
        "keypoints_2d_px": ([num_joints, 2], tf.float32),
        "keypoint_valid": ([num_joints], tf.int64),
        "keypoint_hidden": ([num_joints], tf.int64),
        "pose_3d_mm": ([num_joints, 3], tf.float32),
        "has_pose_3d": ([], tf.int64),
        "root_position_mm": ([3], tf.float32),
        "intrinsics": ([3, 3], tf.float32),
        "frame": ([], tf.int64),
        "difficulty": ([], tf.float32),
    }
    features = {name: tf.io.FixedLenFeature(shape, dtype) for name, (shape, dtype) in numbers.items()}
    for name in ("image", *TEXTS):
        features[name] = tf.io.FixedLenFeature([], tf.string)
    return tf.io.parse_single_example(record, features)


def to_example(fields: dict) -> PoseExample:
    """The PoseExample of `parse_example`'s fields, as arrays."""
    fields = fields | {name: fields[name].decode(errors="replace") for name in TEXTS}
    return PoseExample(
        image_jpeg=fields.pop("image"),
        image_size=tuple(fields.pop("image_size")),
        has_pose_3d=bool(fields.pop("has_pose_3d")),
        frame=int(fields.pop("frame")),
        difficulty=float(fields.pop("difficulty")),
        **fields,
    )
