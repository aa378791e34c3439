"""Remembers when and where the tracks of a recording were seen: which are of two people, and the best crops. Pure.

Frames of every quarter second, and those in which a track is first seen, are enough to say which tracks were beside
each other. Two boxes that overlap are one face found twice, which says nothing.
"""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamer.boxes import iou_of_pairs
from streamer.values import FaceCrop, Floats, Observation, TrackState, TrackSummary

MOMENT_S = 0.25  # s between the frames that are remembered
ONE_FACE = 0.3  # IoU from which two boxes are of one face
# Two tracks are of two people if they were beside each other for longer than this, or for most of the shorter one. A
# person whose two shots are cross-faded is seen twice for a moment.
BESIDE_S = 1.0
MOST = 0.5


class BestCrop(NamedTuple):
    """The best crop of a track."""

    track_id: str  # id of the track's final record
    quality: float  # 0..1
    media_time: float  # s
    frame: int  # of the analysed ones, from 0


@dataclass(slots=True, eq=False)
class _Seen:
    """Where one track was seen, and its crops, under the id that it had then."""

    moments: "array[int]" = field(default_factory=lambda: array("I"))
    boxes: "array[float]" = field(default_factory=lambda: array("f"))  # four each
    crops: "array[float]" = field(default_factory=lambda: array("d"))  # media time (s) and quality of each


class _Places(NamedTuple):
    """Where a finished track was seen."""

    moments: NDArray[np.uint32]  # (n,) ascending
    boxes: Floats  # (n, 4)


class Presence:
    """What is remembered of one recording. It grows by some bytes per face and quarter second."""

    def __init__(self) -> None:
        self._frames = array("d")  # s, media time of each analysed frame
        self._moments = array("d")  # s, media time of each remembered one
        self._seen: dict[str, _Seen] = {}  # by the id at that time
        self._slot = -1

    def observe(self, observation: Observation) -> None:
        """Take in a frame with the ids under which its tracks are published. The end of the video does not count."""
        time = observation.media_time
        if self._frames and self._frames[-1] == time:
            return
        self._frames.append(time)
        seen = [one for one in observation.tracks if one.state is TrackState.CONFIRMED and one.detection is not None]
        slot = int(time / MOMENT_S)
        if slot == self._slot and all(track.key.id in self._seen for track in seen):
            return
        self._slot = slot
        for track in seen:
            place = self._seen.setdefault(track.key.id, _Seen())
            place.moments.append(len(self._moments))
            place.boxes.extend(float(value) for value in track.box)
        self._moments.append(time)

    def analysed(self, crop: FaceCrop) -> None:
        """Take in a crop that was analysed, with the id under which its track is published."""
        self._seen.setdefault(crop.key.id, _Seen()).crops.extend((crop.media_time, crop.quality.value))

    def best_crop(self, track: TrackSummary) -> BestCrop | None:
        """Return the best crop of a finished track, the earliest of equals; None: none was analysed."""
        best: tuple[float, float] | None = None
        for name in names_of(track):
            crops = self._seen[name].crops if name in self._seen else array("d")
            for time, quality in zip(crops[::2], crops[1::2], strict=True):
                if was_there(track, time) and (best is None or (-quality, time) < best):
                    best = -quality, time
        if best is None:
            return None
        return BestCrop(track.key.id, -best[0], best[1], bisect_left(self._frames, best[1]))

    def apart(self, tracks: Sequence[TrackSummary]) -> list[tuple[str, str]]:
        """Return the pairs of finished tracks that show two people, because both were seen at the same time."""
        places = [self._places(track) for track in tracks]
        ends = [(int(one.moments[0]), int(one.moments[-1])) if len(one.moments) else (1, 0) for one in places]
        order = sorted(range(len(tracks)), key=lambda row: ends[row])
        found, current = [], list[int]()
        for row in order:
            current = [other for other in current if ends[other][1] >= ends[row][0]]
            found += [
                (tracks[other].key.id, tracks[row].key.id) for other in current if self._beside(places, other, row)
            ]
            if ends[row][0] <= ends[row][1]:
                current.append(row)
        return found

    def _beside(self, places: Sequence[_Places], one: int, other: int) -> bool:
        first, second = places[one], places[other]
        common, left, right = np.intersect1d(first.moments, second.moments, assume_unique=True, return_indices=True)
        if not len(common):
            return False
        beside = common[iou_of_pairs(first.boxes[left].T, second.boxes[right].T) < ONE_FACE]
        if 2 * len(beside) <= len(common):
            return False  # mostly one face found twice
        shorter = min(len(first.moments), len(second.moments))
        lasted = self._moments[int(beside[-1])] - self._moments[int(beside[0])]
        return lasted > BESIDE_S or len(beside) > MOST * shorter

    def _places(self, track: TrackSummary) -> _Places:
        """Return where a track was seen, under all its ids."""
        parts = [self._seen[name] for name in names_of(track) if name in self._seen]
        rows = {
            moment: part.boxes[4 * place : 4 * place + 4]
            for part in parts
            for place, moment in enumerate(part.moments)
            if was_there(track, self._moments[moment])
        }
        moments = sorted(rows)
        boxes = np.array([rows[moment] for moment in moments], np.float32).reshape(-1, 4)
        return _Places(np.array(moments, np.uint32), boxes)


def names_of(track: TrackSummary) -> list[str]:
    """Return the ids under which a track was published: its own, those of its parts, that of which it was split off."""
    names = [track.key.id, *(one.track_id for one in track.intervals), track.split_from]
    return [name for name in dict.fromkeys(names) if name]


def was_there(track: TrackSummary, time: float) -> bool:
    """Return whether a track was there at a media time (s); another one may have had its id at others."""
    spans = [(one.first_seen, one.last_seen) for one in track.intervals] or [(track.first_seen, track.last.time)]
    return any(start <= time <= end for start, end in spans)
