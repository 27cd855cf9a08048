"""The unit of every quantity that a file of this project holds, by the quantity's name."""

_CAMERA_AXES = "x right, y down, z away from the camera"

UNITS = {
    "image": "RGB, 0 to 255",
    "heatmaps": "one map per joint at a quarter of the crop's size; the training target's peak is heatmap_peak",
    "keypoints_2d": "(x, y) in [0, 1] of the crop; the centre of pixel i of n is (i + 0.5) / n",
    "scores": "0 to 1: the height of the joint's heatmap as a share of the training target's",
    "pose_3d": f"millimetres relative to the root joint; {_CAMERA_AXES}",
    "reprojected_2d": "as keypoints_2d",
    "keypoints_px": "pixels of the image (x, y); the centre of the first pixel is (0.5, 0.5)",
    "pose_3d_mm": f"millimetres relative to the root joint; {_CAMERA_AXES}",
    "root_position_mm": "millimetres from the camera; x right, y down, z away",
}


def units_of(*names: str) -> dict[str, str]:
    """The rows of `UNITS` with these names, in this order."""
    return {name: UNITS[name] for name in names}
