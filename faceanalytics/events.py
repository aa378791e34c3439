"""What a watch yields, live or after a gap, and how the messages of a streamer become that. No connection is here."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from faceanalytics.track_values import to_time, to_track
from faceanalytics.tracks import LiveTrack
from faceanalytics.v1 import tracks_pb2
from streamer.tools.resumption import Interruption


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What every event has."""

    resume_token: str = ""  # a watch with it goes on after this event; empty: the streamer has no store
    published_at: datetime | None = None  # UTC, by the streamer's clock; None: the event is not a message of it
    instance_id: str = ""  # the run of the streamer; another one after each start; empty: no store


@dataclass(frozen=True, slots=True)
class Snapshot(Heard):
    """All live tracks, once the connection is made: the first event, and again after each reconnection.

    If the watch resumes, the stored events that were missed come before it.
    """

    tracks: tuple[LiveTrack, ...]
    vanished: tuple[LiveTrack, ...]  # live before the gap and not now, as last seen; how they ended was missed
    gap_s: float | None  # nothing was heard for this long, seconds; None: the first connection


@dataclass(frozen=True, slots=True)
class OfTrack(Heard):
    """An event of one track."""

    track: LiveTrack
    log_sequence: int | None = None  # its number in the streamer's log, ascending; None: it is not stored
    unstored: bool = False  # it was published although it could not be stored at that time


@dataclass(frozen=True, slots=True)
class TrackStarted(OfTrack):
    """A track was confirmed."""


@dataclass(frozen=True, slots=True)
class TrackUpdated(OfTrack):
    """Something about a track has changed."""


@dataclass(frozen=True, slots=True)
class TrackMerged(OfTrack):
    """A track turned out to be the face of an earlier one, `track.merged_into`, which goes on in its place."""


@dataclass(frozen=True, slots=True)
class TrackEnded(OfTrack):
    """A track has ended; its values are final."""


@dataclass(frozen=True, slots=True)
class TrackRevised(OfTrack):
    """A track that has ended has another identity, because the gallery was changed."""


@dataclass(frozen=True, slots=True)
class TrackTravelled(OfTrack):
    """The person or visitor of a track was at another camera before: `track.journey`."""


@dataclass(frozen=True, slots=True)
class Missed(Heard):
    """Events that the streamer no longer has, or another streamer had: they will not come."""

    count: int | None  # of all streams and kinds; None: not known, because the streamer has another store now
    first: int | None = None  # number of the first of them in the log
    last: int | None = None  # number of the last of them in the log


@dataclass(frozen=True, slots=True)
class Heartbeat(Heard):
    """Nothing happened for a while. Only if it was asked for."""


@dataclass(frozen=True, slots=True)
class Disconnected(Heard):
    """The connection is lost, or was never made. Starts and ends until the next Snapshot come before it, if the
    streamer has a store; else they are missed."""

    reason: str
    retry_in_s: float


TrackEvent: TypeAlias = TrackStarted | TrackUpdated | TrackMerged | TrackEnded | TrackRevised | TrackTravelled
Event: TypeAlias = Snapshot | TrackEvent | Missed | Heartbeat | Disconnected
_KINDS: dict[int, type[TrackEvent]] = {
    tracks_pb2.EVENT_TYPE_NEW: TrackStarted,
    tracks_pb2.EVENT_TYPE_UPDATE: TrackUpdated,
    tracks_pb2.EVENT_TYPE_MERGE: TrackMerged,
    tracks_pb2.EVENT_TYPE_END: TrackEnded,
    tracks_pb2.EVENT_TYPE_REVISION: TrackRevised,
    tracks_pb2.EVENT_TYPE_JOURNEY: TrackTravelled,
}


class Story:
    """Makes events of the messages of a watch, one after the other."""

    def __init__(self, heartbeats: bool = False) -> None:
        """`heartbeats`: make Heartbeat events."""
        self._heartbeats = heartbeats
        self._live: dict[str, LiveTrack] = {}  # as far as it was heard
        self._snapshot: dict[str, LiveTrack] | None = None  # the one that is arriving
        self._heard: float | None = None  # s, monotonic; None: nothing yet
        self._gap_s: float | None = None  # before the snapshot that is arriving
        self._token = ""

    def events(self, message: tracks_pb2.WatchTracksResponse | Interruption) -> Iterator[Event]:
        """Yield what a message means: at most two events."""
        if isinstance(message, Interruption):
            yield from self._interrupted(message)
            return
        if message.sequence == 1:
            self._snapshot = {}
            self._gap_s = time.monotonic() - self._heard if self._heard is not None else None
        self._heard = time.monotonic()
        self._token = message.resume_token
        event = self._event(message)
        if event is not None:
            yield event

    def _interrupted(self, interruption: Interruption) -> Iterator[Event]:
        self._snapshot = None
        if interruption.forgotten:
            self._token = ""
        yield Disconnected(interruption.reason, interruption.retry_in_s, resume_token=self._token)
        if interruption.forgotten:
            yield Missed(None)

    def _event(self, message: tracks_pb2.WatchTracksResponse) -> Event | None:
        heard: dict[str, Any] = {
            "resume_token": message.resume_token,
            "published_at": to_time(message.published_at),
            "instance_id": message.instance_id,
        }
        match message.type:
            case tracks_pb2.EVENT_TYPE_SNAPSHOT:
                if self._snapshot is not None:
                    self._snapshot[message.track.track_id] = to_track(message.track)
            case tracks_pb2.EVENT_TYPE_SNAPSHOT_END:
                now = self._snapshot or {}
                vanished = tuple(track for name, track in self._live.items() if name not in now)
                self._live, self._snapshot = now, None
                return Snapshot(tuple(now.values()), vanished, self._gap_s, **heard)
            case tracks_pb2.EVENT_TYPE_GAP:
                return Missed(message.gap.count, getattr(message.gap, "from"), message.gap.to, **heard)
            case tracks_pb2.EVENT_TYPE_HEARTBEAT:
                return Heartbeat(**heard) if self._heartbeats else None
            case kind if kind in _KINDS:
                track = to_track(message.track)
                self._note(track)
                return _KINDS[kind](track, message.log_sequence or None, message.unstored, **heard)
        return None

    def _note(self, track: LiveTrack) -> None:
        """Keep the newest state of a live track."""
        for known in (self._live, self._snapshot):
            if known is not None:
                known.pop(track.track_id, None)
                if not track.final:
                    known[track.track_id] = track
