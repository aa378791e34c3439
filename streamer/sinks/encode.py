"""Turns events of the log into what sinks deliver."""

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from google.protobuf.message import Message

from faceanalytics.json_form import as_dict
from faceanalytics.v1 import tracks_pb2
from streamer.sinks.delivery import SinkEvent
from streamer.store.log import Log
from streamer.store.values import LogEvent

BODIES = 256  # newest bodies that are kept, for the other sinks that read the same events


class Encoder:
    """Makes the events of all sinks. What one sink has made, the others get again."""

    def __init__(self, log: Log, without_biometrics: Callable[[Message], Message]) -> None:
        """`without_biometrics` returns a message without the fields that say who a person is."""
        self._log = log
        self._without_biometrics = without_biometrics
        self._body = lru_cache(maxsize=BODIES)(self._make_body)

    def encode(self, event: LogEvent, biometric: bool) -> SinkEvent:
        """Return an event for delivery; `biometric`: with what says who a person is."""
        body = self._body(event.payload, bool(event.track_id), biometric)
        name = self._log.event_id(event.sequence)
        return SinkEvent(name, event.sequence, event.at, event.kind, event.camera, event.track_id, body)

    def _make_body(self, payload: bytes, of_track: bool, biometric: bool) -> dict[str, Any]:
        if not of_track:
            content: dict[str, Any] = json.loads(payload)
            return content
        track = tracks_pb2.Track.FromString(payload)
        return as_dict(track if biometric else self._without_biometrics(track))
