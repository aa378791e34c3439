"""Converts times and durations to protobuf messages and back."""

from datetime import datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


def timestamp(moment: datetime | None) -> Timestamp | None:
    """Return a moment as a message; None stays None."""
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def seconds(duration: Duration) -> float:
    """Return the seconds of a Duration."""
    return duration.seconds + duration.nanos * 1e-9


def duration(value: float) -> Duration:
    """Return `value` (s) as a message, rounded to nanoseconds."""
    message = Duration()
    message.FromNanoseconds(round(value * 1e9))
    return message
