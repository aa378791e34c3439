"""Messages that many subscribers get: made once and encoded once, whatever their number."""

from dataclasses import dataclass, field

from faceanalytics.v1 import tracks_pb2
from streamer.api.authorisation import without_biometrics
from streamer.api.track_messages import to_proto
from streamer.hub import Event
from streamer.values import TrackSummary

KEPT = 4096  # newest messages that are kept for subscribers that are behind; about 1 kB each, 4 kB with embeddings


@dataclass(slots=True, eq=False)
class Shared:
    """What all subscribers get of an event."""

    message: tracks_pb2.WatchTracksResponse
    _encoded: dict[bool, bytes] = field(default_factory=dict)  # with biometrics or without -> bytes

    def encoded(self, biometric: bool) -> bytes:
        """Return the message as bytes, `biometric`: with names and embeddings."""
        found = self._encoded.get(biometric)
        if found is None:
            message = self.message if biometric else without_biometrics(self.message)
            found = self._encoded[biometric] = message.SerializeToString()
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A message to one subscriber: a shared part, and fields of its own, which follow on the wire."""

    shared: Shared
    own: bytes  # other fields of the same message type, encoded

    def encoded(self, biometric: bool) -> bytes:
        """Return the whole message as bytes."""
        return self.shared.encoded(biometric) + self.own


class SharedEvents:
    """The messages of the newest events."""

    def __init__(self) -> None:
        # by summary, which is kept so that no other one gets its id, and what else the message depends on
        self._kept: dict[tuple[object, ...], tuple[TrackSummary | None, Shared]] = {}

    def of(self, event: Event, include_embedding: bool) -> Shared:
        """Return the message of an event."""
        key = (id(event.summary), event.kind, event.sequence, event.stored, include_embedding)
        found = self._kept.get(key)
        if found is None:
            track = to_proto(event.summary, include_embedding) if event.summary else None
            if event.payload:
                track = tracks_pb2.Track.FromString(event.payload)
            message = tracks_pb2.WatchTracksResponse(
                type=tracks_pb2.EventType.Value(f"EVENT_TYPE_{event.kind.value}"),
                track=track,
                log_sequence=event.sequence,
                unstored=not event.stored,
            )
            found = self._kept[key] = event.summary, Shared(message)
            if len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
        return found[1]
