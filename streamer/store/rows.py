"""Turns tracks, as messages, into rows of the tables, and ends those that a dead streamer has left open."""

from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from faceanalytics.v1 import tracks_pb2
from streamer.store.values import LogEvent, Row


def track_row(track: tracks_pb2.Track, now: datetime, last_seen: datetime | None = None) -> Row:
    """Return the row of a track. Without a wall clock of its stream, it was last seen at `last_seen`, or `now`."""
    return {
        **searched(track, now, last_seen),
        "track_id": track.track_id,
        "end_reason": tracks_pb2.EndReason.Name(track.end_reason).removeprefix("END_REASON_") if track.final else None,
        "quality": track.quality,
        "samples": track.samples,
        "model_id": track.model_id,
        "payload": track.SerializeToString(deterministic=True),
        "stored": now,
    }


def searched(track: tracks_pb2.Track, now: datetime, last_seen: datetime | None = None) -> Row:
    """Return the columns of that row by which tracks are searched for."""
    last = _moment(track.last_captured_at) if track.HasField("last_captured_at") else last_seen or now
    duration = timedelta(seconds=track.last_seen_s - track.first_seen_s)
    first = _moment(track.first_captured_at) if track.HasField("first_captured_at") else last - duration
    return {
        "camera": track.stream_id,
        "state": tracks_pb2.TrackState.Name(track.state).removeprefix("TRACK_STATE_"),
        "first_seen": first,
        "last_seen": last,
        "person": track.decision.person or track.decision.person_id or None,
        "age": track.age.years if track.HasField("age") else None,
        "expression": main_expression(track),
        "attributes": "".join(f"|{one}" for one in present_attributes(track)) + "|",
        "described": track.described,
    }


def main_expression(track: tracks_pb2.Track) -> int | None:
    """Return the expression with the largest share of the time; None: it is not known."""
    shares = track.expression.distribution
    return max(shares, key=lambda one: one.share).expression if shares else None


def present_attributes(track: tracks_pb2.Track) -> list[int]:
    """Return the attributes that the face has, ascending."""
    return sorted(one.attribute for one in track.attributes.scores if one.presence == tracks_pb2.PRESENCE_PRESENT)


def interrupted(payload: bytes) -> tracks_pb2.Track:
    """Return the final state of a track that was open when its streamer died: its last stored values."""
    track = tracks_pb2.Track.FromString(payload)
    track.state = tracks_pb2.TRACK_STATE_ENDED
    track.end_reason = tracks_pb2.END_REASON_INTERRUPTED
    track.final = True
    track.revision += 1
    for estimate in ("age", "expression", "attributes", "identity"):
        if track.HasField(estimate):
            getattr(track, estimate).evidence.final = True
    return track


def event_row(event: LogEvent) -> Row:
    """Return the row of an event."""
    return {
        "sequence": event.sequence,
        "at": event.at,
        "kind": event.kind.value,
        "camera": event.camera,
        "track_id": event.track_id,
        "payload": event.payload,
    }


def _moment(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(tzinfo=UTC)
