"""Numbers of keras_pose that the page must give as well: tests/mobile_demo/js reads them from golden.json.

    python -m tests.mobile_demo.golden

writes the file anew, where the Python side was meant to change; test_golden.py holds the file against this.
"""

from pathlib import Path

import numpy as np

from keras_pose.core import geometry
from keras_pose.core.skeleton import Skeleton
from keras_pose.inference import smoothing
from keras_pose.inference.predictor import UNITS, PosePredictor
from keras_pose.inference.runtimes import LoadedModel
from keras_pose.inference.tracker import PoseTracker
from keras_pose.io import atomic
from keras_pose.visualization import drawing

FILE = Path(__file__).parent / "js" / "golden.json"
JOINTS = 6
SKELETON = Skeleton("six", tuple("abcdef"), (-1, 0, 0, 1, 1, 2), 0)
INPUT_SIZE = (256, 192)  # not square, nor is the picture
PICTURE = (480, 640)
FRAMES = 8


def make() -> dict:
    """All of it, as values that JSON can hold."""
    rng = np.random.default_rng(0)
    return {"one_euro": one_euro(rng), "crops": crops(rng), "orbits": orbits(), "track": track(rng), "units": UNITS}


def one_euro(rng: np.random.Generator) -> list[dict]:
    """Streams of 5 coordinates at uneven times through both filters."""
    cases = []
    for settings, scale in ((smoothing.KEYPOINTS_2D, 0.02), (smoothing.POSE_3D_MM, 40.0)):
        times = np.cumsum(rng.uniform(0.01, 0.2, 20))
        values = rng.normal(0, scale, (20, 5)).cumsum(0)
        one_euro = smoothing.OneEuroFilter(settings)
        smoothed = [one_euro(value, time).tolist() for value, time in zip(values, times, strict=True)]
        names = {"minCutoffHz": settings.min_cutoff_hz, "beta": settings.beta}
        names["derivativeCutoffHz"] = settings.derivative_cutoff_hz
        cases.append({"settings": names, "times": times.tolist(), "values": values.tolist(), "smoothed": smoothed})
    return cases


def crops(rng: np.random.Generator) -> list[dict]:
    """Boxes, tall and wide and of no size, and the crops around them."""
    corners = rng.uniform(0, 300, (6, 2))
    boxes = [[*corner, *(corner + side)] for corner, side in zip(corners, rng.uniform(1, 300, (6, 2)), strict=True)]
    boxes += [[10.0, 20.0, 10.0, 20.0], [0.0, 0.0, 640.0, 480.0]]
    cases = []
    for box in boxes:
        for margin in (1.0, 1.25):
            crop = crop_of(*geometry.box_crop(box, INPUT_SIZE, margin))
            cases.append({"box": [float(v) for v in box], "input": INPUT_SIZE, "margin": margin, "crop": crop})
    return cases


def crop_of(center_px: np.ndarray, size: tuple[float, float]) -> dict[str, float]:
    """As the page writes a crop."""
    height, width = size
    x, y = np.asarray(center_px) - np.array([width, height]) / 2
    return {"x": float(x), "y": float(y), "width": float(width), "height": float(height)}


def orbits() -> list[dict]:
    """Rotations of the 3D view."""
    angles = [(0, 0), (90, 0), (0, 30), (30, 12), (-135, -70)]
    return [{"yaw": yaw, "pitch": pitch, "rotation": drawing._rotation(yaw, pitch).ravel()} for yaw, pitch in angles]


def track(rng: np.random.Generator) -> dict:
    """A person followed over some pictures: what a model gives for each crop, and what comes of it.

    The joints crowd together once, so that the zoom is limited; some are not sure, once most; at last all are lost.
    """
    keypoints = rng.uniform(0.2, 0.8, (FRAMES, JOINTS, 2))
    keypoints[3] = 0.5 + 0.001 * keypoints[3]
    scores = rng.uniform(0.3, 1.0, (FRAMES, JOINTS))
    scores[2, :2], scores[4, :4], scores[-1] = 0.1, 0.1, 0.05
    poses = rng.normal(0, 300, (FRAMES, JOINTS, 3))
    rows = [a.astype(np.float32) for a in (keypoints, scores, poses)]
    outputs = [dict(zip(("keypoints_2d", "scores", "pose_3d"), row, strict=True)) for row in zip(*rows, strict=True)]
    left = iter(outputs)
    run = lambda images: {name: value[None] for name, value in next(left).items()}  # noqa: E731
    tracker = PoseTracker(PosePredictor(LoadedModel("given", SKELETON, INPUT_SIZE, run)))
    start = tracker._box_px = np.array([100.0, 50.0, 400.0, 420.0])
    picture = np.zeros((*PICTURE, 3), np.uint8)
    times = np.cumsum(rng.uniform(0.05, 0.15, FRAMES))
    results = [tracker(picture, time) for time in times]
    return {
        "input": INPUT_SIZE,
        "picture": PICTURE,
        "box": start.tolist(),
        "times": times.tolist(),
        "outputs": [{name: value.ravel().tolist() for name, value in row.items()} for row in outputs],
        "crops": [affine_crop(result.crop_affine) for result in results],
        "keypoints_px": [result.keypoints_px.ravel().tolist() for result in results],
        "pose_3d_mm": [result.pose_3d_mm.ravel().tolist() for result in results],
        "results": [result.to_dict() for result in results],
    }


def affine_crop(affine: np.ndarray) -> dict[str, float]:
    """The crop that an affine without rotation cuts out."""
    scale = affine[0, 0]
    height, width = INPUT_SIZE[0] / scale, INPUT_SIZE[1] / scale
    return {"x": -affine[0, 2] / scale, "y": -affine[1, 2] / scale, "width": width, "height": height}


def plain(values):
    """Arrays as lists, and ten digits, so that the file reads the same on each machine."""
    if isinstance(values, dict):
        return {name: plain(value) for name, value in values.items()}
    if isinstance(values, (list, tuple, np.ndarray)):
        return [plain(value) for value in values]
    return float(f"{float(values):.10g}") if isinstance(values, (float, np.floating)) else values


if __name__ == "__main__":
    atomic.write_json(FILE, plain(make()))
