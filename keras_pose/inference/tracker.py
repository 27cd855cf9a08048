"""PoseTracker follows one person through the frames of a video; PeopleTracker several, each with an id."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from keras_pose.core.errors import UserError
from keras_pose.inference import smoothing
from keras_pose.inference.finder import FoundPerson, best_matches, overlap
from keras_pose.inference.predictor import SAME_PERSON, PosePredictor, PoseResult
from keras_pose.visualization.drawing import LOW_SCORE

# Interval at which the finder checks that the crop still contains the person; it takes about as long as the model.
CHECK_S = 1.0
SEARCH_S = 0.3  # interval of the search for more people, while there are fewer than wanted
FOLLOWED = 0.2  # overlap of the finder's box and the joints' box above which both are the same person
MISSED_CHECKS = 2  # a person whom this many checks in a row miss is lost
REMEMBERED_S = 2.0  # a person who reappears in the same place within this time keeps the id


class PoseTracker:
    """Follows one person through the frames of a video and smooths the joints with One-Euro filters.

    Each crop is placed around the joints of the previous frame. If their mean score falls below `LOW_SCORE`, the person
    counts as lost and the next frame is searched again. With a finder, the surroundings of the person are checked every
    `CHECK_S` seconds. The person also counts as lost if a check finds only other people, or if `MISSED_CHECKS` checks
    in a row find nobody.
    """

    def __init__(self, predictor: PosePredictor):
        self.predictor = predictor
        self._smoother = _Smoother()
        self._box_px: np.ndarray | None = None
        self._checked_s = -np.inf
        self._missed = 0

    def __call__(self, frame: np.ndarray, time_s: float) -> PoseResult:
        """The smoothed result of the next frame, (H, W, 3) uint8 RGB; `time_s` must increase from frame to frame."""
        finder = self.predictor.finder
        if self._box_px is not None and finder and time_s - self._checked_s >= CHECK_S:
            self._checked_s = time_s
            self._check(finder.look_around(frame, self._box_px), self._box_px)
        if self._box_px is None:
            self._checked_s, self._missed = time_s, 0
        result = self.predictor(frame, self._box_px)
        if result.scores.mean() < LOW_SCORE or result.person_score == 0:
            self._lose()
            return result
        self._box_px = self.predictor.box_of(result)
        return self._smoother(result, frame.shape[0], time_s)

    def _check(self, found: Sequence[FoundPerson], box_px: np.ndarray) -> None:
        if any(overlap(person.box_px, box_px) >= FOLLOWED for person in found):
            self._missed = 0
            return
        self._missed += 1
        if found or self._missed >= MISSED_CHECKS:
            self._lose()

    def _lose(self) -> None:
        self._box_px = None
        self._smoother.reset()


@dataclass(frozen=True)
class TrackedPerson:
    """One person in one frame; `id` counts from 1 and stays with the person."""

    id: int
    result: PoseResult


@dataclass
class _Track:
    id: int
    box_px: np.ndarray
    smoother: "_Smoother"
    seen_s: float
    missed: int = 0


class PeopleTracker:
    """Follows up to `max_people` people, each with a crop around the joints of the previous frame.

    Every `CHECK_S` seconds, and more often while there are fewer people than wanted, the finder searches the whole
    frame. Its boxes are assigned to known people by their overlap with the boxes of the joints. A box left over gets a
    new id, or the id of someone who was lost in that place a moment ago.

    Raises UserError if the predictor has no finder.
    """

    def __init__(self, predictor: PosePredictor, max_people: int):
        if predictor.finder is None:
            raise UserError(f"{predictor.model.name} has no finder, which is needed to follow several people")
        if max_people < 1:
            raise UserError(f"max_people must be at least 1, got {max_people}")
        self.predictor, self.max_people = predictor, max_people
        self._tracks: list[_Track] = []
        self._lost: list[_Track] = []
        self._checked_s = -np.inf
        self._next_id = 1

    def __call__(self, frame: np.ndarray, time_s: float) -> list[TrackedPerson]:
        """The people in the next frame by id; `time_s` must increase from frame to frame."""
        wait = CHECK_S if len(self._tracks) >= self.max_people else SEARCH_S
        new: list[FoundPerson] = []
        if not self._tracks or time_s - self._checked_s >= wait:
            new = self._check(frame, time_s)
        self._tracks += [self._begin(person, time_s) for person in new]
        if not self._tracks:
            return []
        boxes = [track.box_px for track in self._tracks]
        results = self.predictor.predict([frame] * len(boxes), boxes)
        for i in range(len(boxes) - len(new), len(boxes)):  # a second pass for newly found people
            results[i] = self.predictor(frame, self.predictor.box_of(results[i]))
        people = []
        for track, result in zip(list(self._tracks), results, strict=True):
            box = self.predictor.box_of(result)
            twice = any(overlap(box, other.box_px) >= SAME_PERSON for other in self._tracks if other.id < track.id)
            if result.scores.mean() < LOW_SCORE or twice:
                self._drop(track)
                continue
            track.box_px, track.seen_s = box, time_s
            people.append(TrackedPerson(track.id, track.smoother(result, frame.shape[0], time_s)))
        return sorted(people, key=lambda person: person.id)

    def _check(self, frame: np.ndarray, time_s: float) -> list[FoundPerson]:
        """Drops people who are no longer seen; returns new ones."""
        self._checked_s = time_s
        found = self.predictor.find(frame)
        pairs = best_matches([track.box_px for track in self._tracks], [p.box_px for p in found], FOLLOWED)
        matched = {i for i, _ in pairs}
        for i, track in enumerate(list(self._tracks)):
            track.missed = 0 if i in matched else track.missed + 1
            if track.missed >= MISSED_CHECKS:
                self._drop(track)
        taken = {j for _, j in pairs}
        return [person for j, person in enumerate(found) if j not in taken][: self.max_people - len(self._tracks)]

    def _begin(self, person: FoundPerson, time_s: float) -> _Track:
        self._lost = [track for track in self._lost if time_s - track.seen_s <= REMEMBERED_S]
        pairs: Sequence = best_matches([track.box_px for track in self._lost], [person.box_px], FOLLOWED)
        if pairs:
            number = self._lost.pop(pairs[0][0]).id
        else:
            number, self._next_id = self._next_id, self._next_id + 1
        return _Track(number, person.box_px, _Smoother(), time_s)

    def _drop(self, track: _Track) -> None:
        self._tracks.remove(track)
        self._lost.append(track)


class _Smoother:
    """The filters of one person."""

    def __init__(self):
        self._keypoints = smoothing.OneEuroFilter(smoothing.KEYPOINTS_2D)
        self._pose = smoothing.OneEuroFilter(smoothing.POSE_3D_MM)

    def reset(self) -> None:
        self._keypoints.reset()
        self._pose.reset()

    def __call__(self, result: PoseResult, height: int, time_s: float) -> PoseResult:
        pose = result.pose_3d_mm
        return replace(
            result,
            keypoints_px=self._keypoints(result.keypoints_px / height, time_s) * height,
            pose_3d_mm=None if pose is None else self._pose(pose, time_s),
        )
