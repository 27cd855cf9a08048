"""Numbers of keras_pose that the page must give as well: tests/mobile_demo/js reads them from golden.json.

    python -m tests.mobile_demo.golden

writes the file anew, where the Python side was meant to change; test_golden.py holds the file against this.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from keras_pose.core import geometry
from keras_pose.core.skeleton import Skeleton
from keras_pose.inference import finder, predictor, smoothing, windows
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
    values = {"one_euro": one_euro(rng), "crops": crops(rng), "orbits": orbits(), "track": track(rng), "units": UNITS}
    return values | {
        "finder": FINDER,
        "maps": maps(rng),
        "overlaps": overlaps(rng),
        "found": found(rng),
        "places": places(rng),
    }


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


FINDER = {"inputSize": [160, 160], "stride": 8, "score": 0.3, "overlap": 0.5}
CELLS = FINDER["inputSize"][0] // FINDER["stride"]


def maps(rng: np.random.Generator) -> list[dict]:
    """Maps of a finder, crowded and empty, with equal neighbours and peaks at the border, and who is read from them.

    `cells` has those that are not 0: their number, score, and distances to the sides of the box.
    """
    cases = []
    for size, count in ((PICTURE, 60), ((641, 480), 25), ((100, 1000), 25), ((53, 77), 2), (PICTURE, 0)):
        centers = np.zeros((CELLS, CELLS), np.float32)
        boxes = rng.uniform(0.01, 0.3, (CELLS, CELLS, 4)).astype(np.float32)
        rows, columns = rng.integers(0, CELLS, (2, count))
        centers[rows, columns] = np.round(rng.uniform(0.1, 1, count), 1)  # so that some are equal
        decoded, scores = finder.decode(centers, boxes, FINDER["score"])
        run = lambda image, maps=(centers, boxes): dict(zip(("centers", "boxes"), maps, strict=True))  # noqa: E731
        picture = np.zeros((*size, 3), np.uint8)
        look = finder.PersonFinder(run, FINDER["inputSize"][0]).look
        seen = [(0, 0, size[1], size[0]), *windows.grid(size, finder.LEVELS[1], FINDER["inputSize"][0])]
        cases.append({
            "picture": size,
            "cells": [[i, centers.flat[i], *boxes.reshape(-1, 4)[i]] for i in np.flatnonzero(centers).tolist()],
            "decoded": [{"box": box, "score": score} for box, score in zip(decoded, scores, strict=True)],
            "looks": [{"window": place, "people": as_dicts(look(picture, place))} for place in seen],
        })  # fmt: skip
    return cases


def as_dicts(people: list[finder.FoundPerson]) -> list[dict]:
    return [{"box": person.box_px, "score": person.score} for person in people]


def places(rng: np.random.Generator) -> dict:
    """Windows over images of several shapes and around boxes in them, and who counts as a person."""
    sizes = [PICTURE, (641, 480), (100, 1000), (480, 853), (480, 480), (53, 77), (1920, 1080)]
    corners = [np.sort(rng.uniform(0, 1, (2, 2)), axis=0) for _ in range(4)]
    boxes = [(corner * [size[1], size[0]] * 1.2).ravel() for size in sizes for corner in corners]
    side = FINDER["inputSize"][0]
    return {
        "windows": [{"picture": size, "windows": windows.grid(size, finder.LEVELS[1], side)} for size in sizes],
        "around": [
            {"picture": size, "box": box, "window": windows.around(box, size)}
            for size, box in zip([size for size in sizes for _ in corners], boxes, strict=True)
        ],
        "confirmed": confirmed(rng),
    }


def confirmed(rng: np.random.Generator) -> list[dict]:
    """Boxes of a finder and joints in and beside them, also outside the image, and who counts as a person."""
    cases = []
    for score in (0.15, 0.3, 0.4, 0.9):
        for mean in (0.0, 0.3, 0.6):
            for apart in (0, 60, 900):
                box = np.array([120.0, 90.0, 220.0, 330.0])
                joints = rng.uniform(box[:2], box[2:], (JOINTS, 2)) + apart
                first = SimpleNamespace(keypoints_px=joints, scores=np.full(JOINTS, mean))
                person = predictor.confirmed(finder.FoundPerson(box, score), first, PICTURE)
                cases.append({
                    "box": box, "score": score, "keypoints_px": joints.ravel(), "joints": mean, "picture": PICTURE,
                    "person": as_dicts([person])[0] if person.score >= predictor.ENOUGH else None,
                })  # fmt: skip
    return cases


def overlaps(rng: np.random.Generator) -> list[dict]:
    """Pairs of boxes: any, apart, inside one another, the same, and of no size."""
    pairs = [np.sort(rng.uniform(0, 100, (2, 2, 2)), axis=1).reshape(2, 4) for _ in range(6)]
    pairs += [np.array(pair, np.float64) for pair in (
        ((0, 0, 1, 1), (5, 5, 6, 6)), ((0, 0, 9, 9), (2, 3, 4, 5)), ((1, 2, 3, 4),) * 2, ((1, 1, 1, 1),) * 2
    )]  # fmt: skip
    return [{"boxes": pair, "overlap": finder.overlap(*pair)} for pair in pairs]


def found(rng: np.random.Generator) -> dict:
    """A person followed with a finder: what finder and model give whenever they are asked, and what comes of it.

    Someone is found, stays, is missed by one check and then by two; another one is elsewhere at a check; the second
    pass leaves the first one's box; the joints are lost; nobody is there; of two, the second is more prominent; the
    finder is unsure of two, and the model finds joints in the second alone.
    """
    person, other = np.array([200.0, 100.0, 330.0, 400.0]), np.array([420.0, 150.0, 560.0, 420.0])
    far, unsure = np.array([10.0, 10.0, 60.0, 120.0]), np.array([300.0, 40.0, 420.0, 300.0])
    # Each image: its time, whom the finder sees if it is asked, where the joints are that the model gives pass by pass.
    frames = [
        (0.0, [person, far], [person, far, person]), (0.4, [], [person]), (1.1, [person], [person]),
        (1.5, [], [person]), (2.2, [], [person]), (2.6, [], [person]), (3.3, [person], [person]),
        (4.4, [], [person]), (5.5, [], [None]), (5.6, [], [None]), (5.7, [far], [far, person]),
        (5.8, [], [far]), (6.9, [other], [other, other]), (7.0, [], [None]),
        (7.1, [other, person], [other, person, person]), (7.2, [], [person]),
        (8.2, [other, person], [person]), (9.3, [other], [other, other]),
        (9.4, [], [None]), (9.5, [far, unsure], [None, unsure, unsure]), (9.6, [], [unsure]),
    ]  # fmt: skip
    given = Given(rng)
    tracker = PoseTracker(given)
    steps = []
    for time, people, passes in frames:
        given.people = [
            finder.FoundPerson(box, 0.3 + 0.2 * (passes[0] is not None) + box[0] / 10_000) for box in people
        ]
        given.passes, given.outputs = list(passes), []
        result = tracker(np.zeros((*PICTURE, 3), np.uint8), time)
        steps.append({
            "time": time,
            "people": as_dicts(given.people),
            "outputs": given.outputs,
            "crop": affine_crop(result.crop_affine),
            "keypoints_px": result.keypoints_px.ravel(),
            "person_score": result.person_score,
        })  # fmt: skip
    return {"input": INPUT_SIZE, "picture": PICTURE, "steps": steps}


class Given(PosePredictor):
    """Its finder sees `people`; its model puts joints into the next box of `passes`, or is sure of none for None."""

    def __init__(self, rng: np.random.Generator):
        super().__init__(LoadedModel("given", SKELETON, INPUT_SIZE, self._infer), None)
        self.finder = Seen(self)
        self.rng = rng

    def _run(self, images, affines):
        """One crop after the other, as the page does."""
        results = []
        for image, affine in zip(images, affines, strict=True):
            self.crop = affine_crop(affine)
            results += super()._run([image], [affine])
        return results

    def _infer(self, crops: np.ndarray) -> dict[str, np.ndarray]:
        box = self.passes.pop(0) if self.passes else None
        keypoints, scores = self.rng.uniform(0.3, 0.7, (JOINTS, 2)), np.full(JOINTS, 0.05)
        if box is not None:
            low, high = box[:2], box[2:]
            places = np.concatenate([[low, high], self.rng.uniform(low, high, (JOINTS - 2, 2))])
            corner, size = ([self.crop[name] for name in names] for names in (("x", "y"), ("width", "height")))
            keypoints, scores = (places - corner) / size, np.full(JOINTS, 0.8)
        outputs = {"keypoints_2d": keypoints.astype(np.float32), "scores": scores.astype(np.float32)}
        self.outputs.append({name: value.ravel() for name, value in outputs.items()})
        return {name: value[None] for name, value in outputs.items()}


class Seen:
    """A finder that sees `people` of what is given, wherever it looks."""

    def __init__(self, given: Given):
        self.given = given

    def __call__(self, image, max_people=finder.MAX_PEOPLE, least_score=None):
        return self.given.people[:max_people]

    def look_around(self, image, box_px):
        return self.given.people


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
