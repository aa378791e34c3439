"""Which tracks are wanted: the conditions that watches and lists have in common."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict

from faceanalytics.messages import fill
from faceanalytics.v1 import tracks_pb2


class Conditions(TypedDict, total=False):
    """All that are given must apply; of a sequence, one of the values. Words are those of the API, in any case."""

    seen_since: datetime | None  # with a time zone: seen at this time or later
    seen_before: datetime | None  # seen before this time
    states: Sequence[str]  # such as "LOST"
    persons: Sequence[str]  # names that the tracks are identified as
    min_age_years: float | None
    max_age_years: float | None
    expressions: Sequence[str]  # such as "happiness": the one with the largest share of the time
    attributes: Sequence[str]  # such as "eyeglasses"; must all be PRESENT
    described: bool  # only tracks that are described
    unnamed: bool  # only tracks that are identified as nobody; not together with persons


def filter_of(conditions: Conditions) -> tracks_pb2.TrackFilter | None:
    """Return the message for conditions; None without any. Raises ConfigError for what the API does not have."""
    if not conditions:
        return None
    message = tracks_pb2.TrackFilter()
    fill(message, conditions)
    return message


def ids(streams: Sequence[str]) -> Sequence[str]:
    """Return a sequence of ids as it is. Raises TypeError for a single text, whose letters would be taken."""
    if isinstance(streams, str):
        raise TypeError("streams is a text, expected a sequence of ids")
    return streams
