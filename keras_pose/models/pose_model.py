"""The whole model, image -> heatmaps -> 2D keypoints -> 3D pose -> re-projected 2D, and its separate parts."""

from dataclasses import asdict, dataclass, fields

import keras
import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.core.options import option
from keras_pose.core.skeleton import Skeleton, get_skeleton
from keras_pose.models.hrnet import VARIANTS, build_hrnet, check_input_size, get_variant
from keras_pose.models.pose_autoencoder import build_decoder, build_encoder
from keras_pose.models.soft_argmax import FORMS, SoftArgmax


@dataclass(frozen=True)
class PoseModelConfig:
    """The parameters of a model; `to_dict` is the `model` entry of model.json.

    Attributes:
        variant: a key of `keras_pose.models.hrnet.VARIANTS`.
        skeleton: a name of `keras_pose.core.skeleton`, or `Skeleton.to_dict()`.
        input_size: (height, width) of the crop.
        soft_argmax_beta, soft_argmax_form, soft_argmax_relative, left_right_inhibition: see `SoftArgmax`.

    Raises:
        UserError: unknown variant, or a size, width or dropout out of range.
    """

    variant: str = option("w32", "Size of the HRNet backbone.", choices=sorted(VARIANTS))
    skeleton: str | dict = "human36m_17"
    input_size: tuple[int, int] = option(
        (256, 256), "HEIGHTxWIDTH of the crops, such as 256x192; default: the data set's size.", flag_default=None
    )
    soft_argmax_beta: float = option(100.0, "Sharpness of the soft-argmax that reads joints from heatmaps.")
    soft_argmax_form: str = option("marginal", "marginal, or flat as printed in the paper.", choices=FORMS)
    soft_argmax_relative: bool = option(
        False, "Divide each heatmap by its peak first; --soft_argmax_beta should then be about 10."
    )
    width: int = option(1024, "Units of each hidden layer of the encoder and decoder.")
    dropout: float = option(0.5, "Share of hidden units dropped in training.")
    skip_connection: bool = option(True, "Add the 2D joints to the decoder's output.")
    left_right_inhibition: float = option(
        0.0, "Share of the other side's heatmap subtracted from a left or right joint's before it is read."
    )

    def __post_init__(self):
        get_variant(self.variant)
        object.__setattr__(self, "input_size", check_input_size(self.input_size))
        if self.width < 1:
            raise UserError(f"autoencoder width is {self.width}; give at least 1, such as 1024")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout is {self.dropout}; give a share from 0 to below 1, such as 0.5")

    def get_skeleton(self) -> Skeleton:
        """The `Skeleton` given by `skeleton`; raises UserError for an unknown name."""
        return Skeleton.from_dict(self.skeleton) if isinstance(self.skeleton, dict) else get_skeleton(self.skeleton)

    def to_dict(self) -> dict:
        """Values for JSON."""
        return {**asdict(self), "input_size": list(self.input_size)}

    @classmethod
    def from_dict(cls, values: dict) -> "PoseModelConfig":
        """The inverse of `to_dict`; raises UserError for an unknown key."""
        _refuse_unknown_keys("model configuration", values, cls)
        return cls(**values)


@dataclass(frozen=True)
class PoseStatistics:
    """Mean and standard deviation of each joint over the training data.

    Attributes:
        keypoints_2d_mean, keypoints_2d_std: (J, 2), in [0, 1] of the crop.
        pose_3d_mean, pose_3d_std: (J, 3), mm relative to the root, whose deviation is 0.

    Raises:
        UserError: an array is not finite or has another shape.
    """

    keypoints_2d_mean: np.ndarray
    keypoints_2d_std: np.ndarray
    pose_3d_mean: np.ndarray
    pose_3d_std: np.ndarray

    def __post_init__(self):
        joints = len(np.asarray(self.keypoints_2d_mean))
        for field in fields(self):
            value = np.asarray(getattr(self, field.name), np.float32)
            dimensions = 2 if field.name.startswith("keypoints_2d") else 3
            if value.shape != (joints, dimensions) or not np.isfinite(value).all():
                raise UserError(f"statistics: {field.name} must be finite ({joints}, {dimensions}), is {value.shape}")
            object.__setattr__(self, field.name, value)

    @property
    def num_joints(self) -> int:
        return len(self.keypoints_2d_mean)

    @property
    def keypoints_2d(self) -> tuple[np.ndarray, np.ndarray]:
        """(mean, std), each (J, 2)."""
        return self.keypoints_2d_mean, self.keypoints_2d_std

    @property
    def pose_3d(self) -> tuple[np.ndarray, np.ndarray]:
        """(mean, std), each (J, 3), mm."""
        return self.pose_3d_mean, self.pose_3d_std

    def to_dict(self) -> dict:
        """Values for JSON; the `statistics` entry of model.json."""
        return {field.name: getattr(self, field.name).tolist() for field in fields(self)}

    @classmethod
    def from_dict(cls, values: dict) -> "PoseStatistics":
        """The inverse of `to_dict`; raises UserError if a key is missing or unknown."""
        _refuse_unknown_keys("statistics", values, cls)
        missing = {field.name for field in fields(cls)} - set(values)
        if missing:
            raise UserError(f"statistics lack {', '.join(sorted(missing))}; compute them again from training data")
        return cls(**values)


def build_keypoint_model(config: PoseModelConfig, batch_size: int | None = None) -> keras.Model:
    """HRNet and soft-argmax: (B, H, W, 3) RGB in 0..255 to `heatmaps` and `keypoints_2d`."""
    image = _image_input(config, batch_size)
    return keras.Model(image, _keypoints(image, config, batch_size), name="keypoint_model")


def build_lifter(config: PoseModelConfig, statistics: PoseStatistics, batch_size: int | None = None) -> keras.Model:
    """Encoder and decoder: (B, J, 2) keypoints in [0, 1] to `pose_3d` (mm) and `reprojected_2d`.

    Raises UserError as `build_pose_model` does.
    """
    _check_skeleton(config, statistics)
    joints = statistics.num_joints
    keypoints_2d = keras.Input((joints, 2), batch_size=batch_size, dtype="float32", name="keypoints_2d")
    return keras.Model(keypoints_2d, _lift(keypoints_2d, config, statistics, batch_size), name="lifter")


def build_pose_model(config: PoseModelConfig, statistics: PoseStatistics, batch_size: int | None = None) -> keras.Model:
    """The paper's model. Its parts are functional models too: `get_layer("hrnet")`, `"encoder"`, `"decoder"`.

    Args:
        config: see `PoseModelConfig`.
        statistics: of the training data; the model's layers store them.
        batch_size: a fixed batch size, for export; None leaves it open.

    Returns:
        A model from (B, H, W, 3) RGB in 0..255 to a dict of `heatmaps` (B, H/4, W/4, J), `keypoints_2d` (B, J, 2)
        in [0, 1], `pose_3d` (B, J, 3) mm relative to the root, and `reprojected_2d` (B, J, 2) in [0, 1]; all float32.

    Raises:
        UserError: the skeleton has no root joint, or the statistics have another number of joints.
    """
    _check_skeleton(config, statistics)
    image = _image_input(config, batch_size)
    outputs = _keypoints(image, config, batch_size)
    outputs |= _lift(outputs["keypoints_2d"], config, statistics, batch_size)
    return keras.Model(image, outputs, name="pose_model")


def mean_keypoints(model: keras.Model) -> np.ndarray:
    """(J, 2) in [0, 1]: the mean of each joint over the training data; `model` must have an encoder."""
    return model.get_layer("encoder").get_layer("standardize").mean


def _image_input(config: PoseModelConfig, batch_size: int | None):
    return keras.Input((*config.input_size, 3), batch_size=batch_size, dtype="float32", name="image")


def _keypoints(image, config: PoseModelConfig, batch_size: int | None) -> dict:
    skeleton = config.get_skeleton()
    hrnet = build_hrnet(config.variant, skeleton.num_joints, config.input_size, batch_size)
    heatmaps = hrnet(image)
    soft_argmax = SoftArgmax(
        config.soft_argmax_beta,
        config.soft_argmax_form,
        config.soft_argmax_relative,
        config.left_right_inhibition,
        skeleton.flip_permutation,
        name="soft_argmax",
    )
    return {"heatmaps": heatmaps, "keypoints_2d": soft_argmax(heatmaps)}


def _lift(keypoints_2d, config: PoseModelConfig, statistics: PoseStatistics, batch_size: int | None) -> dict:
    shared = (statistics.keypoints_2d, statistics.pose_3d, config.width, config.dropout)
    encoder = build_encoder(*shared, batch_size=batch_size)
    decoder = build_decoder(*shared, skip_connection=config.skip_connection, batch_size=batch_size)
    pose_3d = encoder(keypoints_2d)
    reprojected_2d = decoder([pose_3d, keypoints_2d] if config.skip_connection else pose_3d)
    return {"pose_3d": pose_3d, "reprojected_2d": reprojected_2d}


def _check_skeleton(config: PoseModelConfig, statistics: PoseStatistics) -> None:
    skeleton = config.get_skeleton()
    if skeleton.root is None:
        raise UserError(f"skeleton {skeleton.name} has no root joint, which a 3D model needs; train only keypoints")
    if skeleton.num_joints != statistics.num_joints:
        raise UserError(
            f"statistics have {statistics.num_joints} joints, {skeleton.name} has {skeleton.num_joints}; "
            "compute them from data of this skeleton"
        )


def _refuse_unknown_keys(what: str, values: dict, cls) -> None:
    unknown = set(values) - {field.name for field in fields(cls)}
    if unknown:
        raise UserError(f"{what}: unknown {', '.join(sorted(unknown))}; it was written by another version")
