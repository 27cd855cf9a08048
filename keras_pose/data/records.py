"""Writes TFRecord framing and tf.train.Example directly in their wire formats, without TensorFlow.

`parsing.parse_example` reads what `serialize` writes; a test compares both with TensorFlow's own.
"""

import struct

import google_crc32c
import numpy as np

from keras_pose.data.example import PoseExample


def serialize(example: PoseExample) -> bytes:
    """The bytes of a tf.train.Example, with the names that `parsing.parse_example` reads."""
    features = {
        "image": _bytes(example.image_jpeg),
        "image_size": _ints(example.image_size),
        "keypoints_2d_px": _floats(example.keypoints_2d_px),
        "keypoint_valid": _ints(example.keypoint_valid),
        "keypoint_hidden": _ints(example.keypoint_hidden),
        "pose_3d_mm": _floats(example.pose_3d_mm),
        "pose_3d_valid": _ints(example.pose_3d_valid),
        "root_position_mm": _floats(example.root_position_mm),
        "intrinsics": _floats(example.intrinsics),
        "skeleton": _bytes(example.skeleton.encode()),
        "subject": _bytes(example.subject.encode()),
        "action": _bytes(example.action.encode()),
        "source": _bytes(example.source.encode()),
        "frame": _ints([example.frame]),
        "difficulty": _floats([example.difficulty]),
    }
    entries = (_field(1, _field(1, name.encode()) + _field(2, value)) for name, value in features.items())
    return _field(1, b"".join(entries))


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _bytes(value: bytes) -> bytes:
    return _field(1, _field(1, value))


def _floats(values) -> bytes:
    return _field(2, _field(1, np.asarray(values, "<f4").tobytes()))


def _ints(values) -> bytes:
    return _field(3, _field(1, b"".join(_varint(int(v)) for v in values)))


def frame(record: bytes) -> bytes:
    """A record in TFRecord format: length, checksum of the length, bytes, checksum of the bytes."""
    length = struct.pack("<Q", len(record))
    return length + _masked_crc(length) + record + _masked_crc(record)


def first_record(data: bytes) -> bytes:
    """The first record of a TFRecord file, given its first bytes; raises ValueError if it is incomplete."""
    (length,) = struct.unpack("<Q", data[:8].ljust(8, b"\xff"))
    record = data[12 : 12 + length]
    if len(record) < length:
        raise ValueError("the first record is cut off")
    return record


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
