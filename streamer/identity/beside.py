"""Remembers which tracks were seen in one frame, so that they are not taken for one person. Pure.

Boxes that overlap are one face that was found twice. In a cross-fade one person is seen twice for a moment. Neither
says that there are two people.
"""

import numpy as np

from streamer.boxes import iou
from streamer.values import Observation, Track, TrackState, Transition

ONE_FACE = 0.3  # IoU from which two boxes are of one face
FADE_S = 1.0  # around the middle of a cross-fade, in which both pictures are seen
CUT_S = 0.1  # before a cut, at which a frame may show both pictures


class Beside:
    """The tracks of all cameras that were seen in one frame with others, until none of these is open any more."""

    def __init__(self) -> None:
        self._pairs: dict[str, dict[str, float]] = {}  # track id -> other id -> s, media time when first seen together
        self._ended: set[str] = set()
        self._settled: dict[str, frozenset[str]] = {}  # by camera: tracks that are all known to be beside each other
        self._shots: dict[str, tuple[int, int]] = {}  # by camera: epoch and number of the shot
        self._faded: dict[str, tuple[int, float]] = {}  # by camera: epoch and media time of the newest fade
        self._places: dict[str, tuple[str, int]] = {}  # by track id: camera and epoch

    def others(self, track_id: str) -> list[str]:
        """Return the ids of the tracks that were seen in one frame with a track, sorted."""
        return sorted(self._pairs.get(track_id, ()))

    def observe(self, observation: Observation) -> list[str]:
        """Take in a frame with the ids under which its tracks are published; return those whose company has changed."""
        found = self._forget_blended(observation)
        seen = [one for one in observation.tracks if _is_seen(one, observation)]
        names = frozenset(one.key.id for one in seen)
        if len(names) < 2 or names <= self._settled.get(observation.camera, frozenset()) or self._fades(observation):
            return found
        apart = iou(*2 * (np.stack([one.box for one in seen]),)) < ONE_FACE
        complete = True
        for row, one in enumerate(seen):
            known = self._pairs.setdefault(one.key.id, {})
            self._places[one.key.id] = observation.camera, observation.epoch
            for column, other in enumerate(seen):
                if row == column or other.key.id in known:
                    continue
                complete = complete and bool(apart[row, column])
                if apart[row, column]:
                    known[other.key.id] = observation.media_time
                    found.append(one.key.id)
        if complete:
            self._settled[observation.camera] = names
        return list(dict.fromkeys(found))

    def join(self, new: str, old: str) -> None:
        """Give everything that is known of a new track to the old one, which it continues."""
        self._settled.clear()
        for other, time in self._pairs.pop(new, {}).items():
            self._part(other, new)
            self._places[old] = self._places[new]
            if other != old:
                self._pair(old, other, time)
        self._places.pop(new, None)
        self._ended.discard(new)

    def split(self, old: str, new: str, since: float) -> None:
        """Give the new track, which was split off, the company that the old one had from a media time (s) on."""
        self._settled.clear()
        for other, time in list(self._pairs.get(old, {}).items()):
            if time >= since:
                del self._pairs[old][other]
                self._part(other, old)
                self._pair(new, other, time)
                self._places[new] = self._places[old]

    def end(self, track_id: str) -> list[str]:
        """Take in the end of a track. Returns the ids of ended tracks that no open one was beside: they are gone."""
        self._ended.add(track_id)
        self._pairs.setdefault(track_id, {})
        near = [track_id, *(one for one in self.others(track_id) if one in self._ended)]
        gone = [one for one in near if self._ended.issuperset(self._pairs[one])]
        for one in gone:
            for other in self._pairs.pop(one):
                self._part(other, one)
            self._places.pop(one, None)
            self._ended.discard(one)
        return gone

    def _pair(self, one: str, other: str, time: float) -> None:
        for first, second in ((one, other), (other, one)):
            known = self._pairs.setdefault(first, {})
            known[second] = min(time, known.get(second, time))

    def _part(self, one: str, other: str) -> None:
        self._pairs.get(one, {}).pop(other, None)

    def _forget_blended(self, observation: Observation) -> list[str]:
        """At the first frame of a shot, forget the pairs of the picture before with this one; return their ids."""
        camera, time, shot = observation.camera, observation.media_time, (observation.epoch, observation.shot)
        before = self._shots.setdefault(camera, shot)
        if shot == before or observation.transition is Transition.START:
            self._shots[camera] = shot
            return []
        self._shots[camera] = shot
        self._settled.pop(camera, None)
        fade = observation.transition is Transition.FADE
        if fade:
            self._faded[camera] = (observation.epoch, time)
        blended = time - (FADE_S if fade else CUT_S)
        parted = []
        for one in [name for name, place in self._places.items() if place == (camera, observation.epoch)]:
            for other in [name for name, since in self._pairs.get(one, {}).items() if since >= blended]:
                self._part(one, other)
                self._part(other, one)
                parted += [one, other]
        return parted

    def _fades(self, observation: Observation) -> bool:
        epoch, time = self._faded.get(observation.camera, (-1, 0.0))
        return epoch == observation.epoch and observation.media_time - time < FADE_S


def _is_seen(track: Track, observation: Observation) -> bool:
    found = track.state is TrackState.CONFIRMED and track.detection is not None
    return found and track.key.id not in observation.filled
