"""Fill in where faces were in frames that were not searched for them, from the frames before and after.

Recorded only: live, nobody waits for the next search, and boxes are predicted. Boxes and landmarks are interpolated
in a straight line between two detections of a track; where a track was looked for and missed, nothing is filled in.
Before a shot change and the end of the source, a face stays where it is predicted to be; before a search that misses
it, it does for half of the time, because it may have gone at any moment.
A track that is confirmed at last counts as confirmed from its `confirm_hits`-th frame on, as if all had been searched.
"""

from collections.abc import Sequence, Set
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from streamer.values import Detections, Floats, Observation, Track, TrackState


class _Sighting(NamedTuple):
    """A detection of one track: its frame among those held, and its values there."""

    place: int  # index of the frame
    time: float  # s, media time
    box: Floats  # (4,) smoothed
    seen: Detections  # one row


class Filling:
    """Holds the observations of one camera back until no later one can change them."""

    def __init__(self, confirm_hits: int) -> None:
        self._confirm_hits = confirm_hits
        self._held: list[Observation] = []
        self._before: Observation | None = None  # the last one given, all of which had been searched

    def add(self, observation: Observation, whole: bool) -> list[Observation]:
        """Take in the next observation; return those that are complete. `whole`: all of the frame was searched.

        Frames wait until all tracks have been looked for and it is decided whether new ones are confirmed.
        """
        complete = whole and not any(track.state is TrackState.TENTATIVE for track in observation.tracks)
        if complete and not self._held:
            self._before = observation
            return [observation]
        self._held.append(observation)
        return self.flush() if complete else []

    def flush(self) -> list[Observation]:
        """Return all that is held, filled in as far as possible: at the end of a source, too."""
        context = [] if self._before is None else [self._before]
        filled = fill([*context, *self._held], self._confirm_hits)[len(context) :]
        if self._held:
            self._before = self._held[-1]
        self._held = []
        return filled


def fill(observations: Sequence[Observation], confirm_hits: int) -> list[Observation]:
    """Return observations of one camera, in order, with faces interpolated where their frame was not searched."""
    last: dict[str, _Sighting] = {}
    confirmed = {track.key.id for one in observations for track in one.tracks if track.state is TrackState.CONFIRMED}
    added: list[dict[str, tuple[Floats, Detections]]] = [{} for _ in observations]
    for place, observation in enumerate(observations):
        for track in observation.tracks:
            track_id = track.key.id
            if track.detection is None:
                if track.state is TrackState.LOST and track_id in last:
                    _extrapolate(observations, added, track_id, last.pop(track_id), place, 0.5)
                continue
            sighting = _sighting(place, observation, track)
            if track_id in last:
                _interpolate(observations, added, track_id, last[track_id], sighting)
            last[track_id] = sighting
        for track_id in last.keys() - {track.key.id for track in observation.tracks}:  # a cut, or the end
            _extrapolate(observations, added, track_id, last.pop(track_id), place, 1.0)
    born = dict[str, int]()  # index of the first frame
    filled = []
    for place, (observation, faces) in enumerate(zip(observations, added, strict=True)):
        ages = {one.key.id: place - born.setdefault(one.key.id, place) + 1 for one in observation.tracks}
        certain = {track_id for track_id in confirmed if ages.get(track_id, 0) >= confirm_hits}
        filled.append(_with(observation, faces, certain))
    return filled


def _sighting(place: int, observation: Observation, track: Track) -> _Sighting:
    assert track.detection is not None
    seen = observation.detections.rows(np.array([track.detection]))
    return _Sighting(place, observation.media_time, track.box, seen)


def _interpolate(
    observations: Sequence[Observation],
    added: list[dict[str, tuple[Floats, Detections]]],
    track_id: str,
    first: _Sighting,
    second: _Sighting,
) -> None:
    for place in range(first.place + 1, second.place):
        share = np.float32((observations[place].media_time - first.time) / (second.time - first.time))
        rest = np.float32(1) - share
        nearer = first.seen if share < 0.5 else second.seen
        added[place][track_id] = (
            rest * first.box + share * second.box,
            Detections(
                rest * first.seen.boxes + share * second.seen.boxes,
                rest * first.seen.scores + share * second.seen.scores,
                rest * first.seen.landmarks + share * second.seen.landmarks,
                nearer.turned,
            ),
        )


def _extrapolate(
    observations: Sequence[Observation],
    added: list[dict[str, tuple[Floats, Detections]]],
    track_id: str,
    last: _Sighting,
    end: int,
    share: float,
) -> None:
    """Let a face move on as predicted for this share of the frames from its last sighting to index `end`."""
    for place in range(last.place + 1, last.place + 1 + round(share * (end - last.place - 1))):
        box = next(track.box for track in observations[place].tracks if track.key.id == track_id)
        zoom, shift = _move(last.box, box)
        added[place][track_id] = (
            box,
            Detections(
                last.seen.boxes * np.tile(zoom, 2) + np.tile(shift, 2),
                last.seen.scores,
                last.seen.landmarks * zoom + shift,
                last.seen.turned,
            ),
        )


def _move(before: Floats, after: Floats) -> tuple[Floats, Floats]:
    """Return zoom and shift (2,) from one box (4,) to another."""
    zoom = (after[2:] - after[:2]) / np.maximum(before[2:] - before[:2], 1)
    return zoom, after[:2] - zoom * before[:2]


def _with(observation: Observation, faces: dict[str, tuple[Floats, Detections]], confirmed: Set[str]) -> Observation:
    detections, tracks = observation.detections, list(observation.tracks)
    filled = set[str]()
    for row, track in enumerate(tracks):
        if track.state is TrackState.TENTATIVE and track.key.id in confirmed:
            track = tracks[row] = track._replace(state=TrackState.CONFIRMED)
        if track.key.id in faces and track.detection is None:
            box, seen = faces[track.key.id]
            tracks[row] = track._replace(
                box=box, detection=len(detections), score=float(seen.scores[0]), last_seen=observation.media_time
            )
            detections = detections.joined(seen)
            filled.add(track.key.id)
    if not filled and all(one.state is other.state for one, other in zip(tracks, observation.tracks, strict=True)):
        return observation
    return replace(observation, detections=detections, tracks=tuple(tracks), filled=frozenset(filled))
