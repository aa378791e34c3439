"""Faces followed from frame to frame."""

from dataclasses import dataclass
from typing import NamedTuple

from pydantic import ValidationError

from faceanalytics.errors import ConfigError
from faceanalytics.settings import explain
from streamer import config
from streamer.track import tracker
from streamer.track.keys import live_keys
from streamer.values import Detections, EndReason, Floats, Track, TrackEnd


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFace:
    """One followed face at one frame."""

    track_id: str  # unique over trackers and restarts; sorts by birth
    number: int  # small, from 1, for overlays
    state: str  # TENTATIVE, CONFIRMED or LOST
    box: Floats  # (4,) x1 y1 x2 y2, pixels, smoothed; where it is expected if it is not seen now
    score: float  # 0..1, of the last detection
    detection: int | None  # row in this frame's Detections; None: not seen now
    first_seen_s: float  # time of the first detection
    last_seen_s: float  # time of the last detection


@dataclass(frozen=True, slots=True)
class TrackedEnd:
    """A track that has ended."""

    track_id: str
    number: int
    reason: str  # TIMEOUT, LEFT_FRAME or END_OF_FILE
    time_s: float  # of the end
    confirmed: bool  # False: it was never seen often enough to count


class Update(NamedTuple):
    """What one frame gave."""

    faces: list[TrackedFace]  # all that live, oldest first
    ended: list[TrackedEnd]


class Tracker:
    """Follows the faces of one camera or video."""

    def __init__(
        self,
        *,
        camera: str = "camera",
        lost_s: float = 2.0,
        confirm_hits: int = 3,
        high_score: float = 0.55,
        new_score: float = 0.6,
    ) -> None:
        """Follow nothing yet.

        `lost_s`: end a track this many seconds after its last detection; `confirm_hits`: confirm a track after this
        many detections in a row; `high_score`: match detections from this score first, weaker ones only hold on to
        faces seen a moment ago; `new_score`: start tracks from this score on. Raises ConfigError.
        """
        given = {"lost_s": lost_s, "confirm_hits": confirm_hits, "high_score": high_score, "new_score": new_score}
        try:
            section = config.Track.model_validate(given)
        except ValidationError as error:
            raise ConfigError("\n".join(["Tracker:", *explain(error)])) from error
        new_key = live_keys()
        self._tracker = tracker.Tracker(section, lambda number: new_key(camera, number))

    def update(
        self, time_s: float, detections: Detections, frame_size: tuple[int, int], *, new_shot: bool = False
    ) -> Update:
        """Take one frame's detections, also if there are none.

        `time_s`: of the frame, in seconds, which must grow; `frame_size`: width and height in pixels; `new_shot`: the
        scene has changed, so no face goes on by its motion. Raises ValueError if the time does not grow.
        """
        tracks, ended = self._tracker.update(time_s, detections, frame_size, new_shot)
        return Update([_face(track) for track in tracks], [_end(end) for end in ended])

    def finish(self) -> list[TrackedEnd]:
        """End all tracks: the video is over. Time may begin again anywhere."""
        return [_end(end) for end in self._tracker.end_all(EndReason.END_OF_FILE)]


def _face(track: Track) -> TrackedFace:
    return TrackedFace(
        track_id=track.key.id,
        number=track.key.number,
        state=track.state.value,
        box=track.box,
        score=track.score,
        detection=track.detection,
        first_seen_s=track.first_seen,
        last_seen_s=track.last_seen,
    )


def _end(end: TrackEnd) -> TrackedEnd:
    return TrackedEnd(end.key.id, end.key.number, end.reason.value, end.time, end.confirmed)
