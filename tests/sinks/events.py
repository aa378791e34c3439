"""Events for the tests of sinks."""

from datetime import UTC, datetime
from typing import Any

from streamer.sinks.delivery import SinkEvent
from streamer.store.values import LogKind

STORE = "store-1"


def event(sequence: int, kind: str = "NEW", camera: str = "door", track: str = "", person: str = "") -> SinkEvent:
    """One event of a track with this number."""
    name = track or f"track-{sequence}"
    body: dict[str, Any] = {"track_id": name, "stream_id": camera}
    if person:
        body["decision"] = {"status": "IDENTITY_STATUS_IDENTIFIED", "person": person}
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return SinkEvent(f"{STORE}-{sequence}", sequence, at, LogKind(kind), camera, name, body)


def visit(first: int, track: str, camera: str = "door") -> list[SinkEvent]:
    """A track that begins and ends."""
    return [event(first, "NEW", camera, track), event(first + 1, "END", camera, track)]
