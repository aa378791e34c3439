"""Wraps an event for delivery as a CloudEvent 1.0: what every sink that delivers JSON sends, byte for byte the same."""

import json
from typing import Any

from streamer.sinks.delivery import SinkEvent
from streamer.store.values import LogKind

SCHEMA = "proto:faceanalytics.v1.Track"  # of the data of events about tracks
_TYPES = {
    LogKind.NEW: "track.new",
    LogKind.END: "track.end",
    LogKind.MERGE: "track.merge",
    LogKind.SPLIT: "track.split",
    LogKind.DECISION: "track.decision",
    LogKind.CAMERA: "camera.changed",
    LogKind.GALLERY: "gallery.changed",
    LogKind.AGGREGATE: "camera.aggregate",
    LogKind.JOURNEY: "track.journey",
    LogKind.REVISION: "track.revision",
}


def event_type(kind: LogKind) -> str:
    """Return the CloudEvents type of a kind of event, such as `faceanalytics.track.new`."""
    return f"faceanalytics.{_TYPES[kind]}"


def source(store_id: str) -> str:
    """Return the CloudEvents source of the events of a store."""
    return f"faceanalytics/{store_id}"


def cloud_event(event: SinkEvent, store_id: str) -> dict[str, Any]:
    """Return an event as a CloudEvent in the JSON form."""
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "source": source(store_id),
        "type": event_type(event.kind),
        "time": event.at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
    }
    subject = event.track_id or event.camera
    if subject:
        envelope["subject"] = subject
    if event.track_id:
        envelope["dataschema"] = SCHEMA
    # an extension of CloudEvents: sorted as text, because some languages cannot hold such numbers
    return {**envelope, "sequence": f"{event.sequence:019d}", "data": event.body}


def as_bytes(envelope: object) -> bytes:
    """Return an envelope, or a list of them, as compact JSON in UTF-8, on one line."""
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
