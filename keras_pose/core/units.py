"""The units of all quantities in this project's files, by name."""

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
    "whole_image": "RGB, 0 to 255: the whole image scaled to fit, in the middle, black around it",
    "boxes": "distances from the cell's centre to the left, top, right and bottom side, in shares of the input's side",
    "centers": "0 to 1, how surely a person's middle is in the cell",
}


def units_of(*names: str) -> dict[str, str]:
    """The entries of `UNITS` with these names, in this order."""
    return {name: UNITS[name] for name in names}
