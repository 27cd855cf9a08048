"""PoseTracker: follows one person over the frames of a video."""

import numpy as np

from keras_pose.inference import smoothing
from keras_pose.inference.predictor import PosePredictor, PoseResult
from keras_pose.visualization.drawing import LOW_SCORE


class PoseTracker:
    """Follows one person through the frames of a video and smooths the joints with One-Euro filters.

    Each crop lies around the joints of the frame before; when their mean score falls below `LOW_SCORE` the person
    counts as lost, and the next frame is looked at as a whole.
    """

    def __init__(self, predictor: PosePredictor):
        self.predictor = predictor
        self._keypoints = smoothing.OneEuroFilter(smoothing.KEYPOINTS_2D)
        self._pose = smoothing.OneEuroFilter(smoothing.POSE_3D_MM)
        self._box_px: np.ndarray | None = None

    def __call__(self, frame: np.ndarray, time_s: float) -> PoseResult:
        """The smoothed result of the next frame, (H, W, 3) uint8 RGB; `time_s` must grow from frame to frame."""
        result = self.predictor(frame, self._box_px)
        if result.scores.mean() < LOW_SCORE:
            self._box_px = None
            self._keypoints.reset()
            self._pose.reset()
            return result
        self._box_px = self.predictor.box_of(result)
        height = frame.shape[0]
        pose = result.pose_3d_mm
        return PoseResult(
            keypoints_px=self._keypoints(result.keypoints_px / height, time_s) * height,
            scores=result.scores,
            pose_3d_mm=None if pose is None else self._pose(pose, time_s),
            skeleton=result.skeleton,
            crop_affine=result.crop_affine,
        )
