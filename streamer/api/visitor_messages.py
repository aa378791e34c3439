"""Converts what is known of visitors to messages."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from faceanalytics.v1 import tracks_pb2, visitors_pb2
from streamer.api.messages import timestamp
from streamer.people.appearances import Appearance, dwell
from streamer.people.curator import Curator
from streamer.people.regrouping import Moved
from streamer.people.visitor_queries import Count, Counts, Visitor, VisitorQueries


def visitor_message(one: Visitor, curator: Curator) -> visitors_pb2.Visitor:
    """Return the message of a visitor."""
    return visitors_pb2.Visitor(
        visitor_id=one.visitor_id,
        first_seen_at=timestamp(min(each.first_seen for each in one.appearances)),
        last_seen_at=timestamp(max(each.last_seen for each in one.appearances)),
        visits=one.visits,
        tracks=len(one.appearances),
        dwell=_duration(one.dwell),
        stream_ids=sorted({each.camera for each in one.appearances}),
        person_id=one.person_id,
        person=_name(one.person_id, curator),
        merged_ids=one.merged_ids,
        present=one.present,
        newest_track_id=max(one.appearances, key=lambda each: (each.last_seen, each.track_id)).track_id,
    )


def appearance_message(one: Appearance, curator: Curator, queries: VisitorQueries) -> visitors_pb2.Appearance:
    """Return the message of an appearance."""
    unsure = one.uncertainty_s
    return visitors_pb2.Appearance(
        stream_id=one.camera,
        track_id=one.track_id,
        visitor_id=one.visitor_id,
        person_id=one.person_id,
        person=_name(one.person_id, curator),
        first_seen_at=timestamp(one.first_seen),
        last_seen_at=timestamp(one.last_seen),
        clock_source=tracks_pb2.ClockSource.Value(f"CLOCK_SOURCE_{one.clock.value}"),
        uncertainty=_duration(timedelta(seconds=unsure)) if unsure is not None else None,
        present=queries.is_live(one.track_id),
    )


def journey_message(way: Sequence[Appearance], curator: Curator, queries: VisitorQueries) -> visitors_pb2.Journey:
    """Return the message of a journey."""
    person = next((one.person_id for one in way if one.person_id), "")
    return visitors_pb2.Journey(
        visitor_id=next((one.visitor_id for one in way if one.visitor_id), ""),
        person_id=person,
        person=_name(person, curator),
        appearances=[appearance_message(one, curator, queries) for one in way],
        duration=_duration(dwell(way)),
        streams=len({one.camera for one in way}),
    )


def count_message(one: Count) -> visitors_pb2.VisitorCount:
    """Return the message of the numbers of a period."""
    return visitors_pb2.VisitorCount(
        hour=timestamp(one.hour),
        stream_id=one.camera,
        visitors=one.people.count,
        low=one.people.low,
        high=one.people.high,
        returning=one.returning,
        visits=one.visits,
        median_dwell=_duration(one.median_dwell),
        p90_dwell=_duration(one.p90_dwell),
        undecided_tracks=one.undecided,
    )


def counts_message(counts: Counts) -> visitors_pb2.CountVisitorsResponse:
    """Return the message of all numbers."""
    return visitors_pb2.CountVisitorsResponse(
        total=count_message(counts.total),
        hours=[count_message(one) for one in counts.hours],
        streams=[count_message(one) for one in counts.cameras],
    )


def moved_messages(moved: Iterable[Moved]) -> list[visitors_pb2.VisitorChange]:
    """Return the messages of tracks with another visitor."""
    return [
        visitors_pb2.VisitorChange(track_id=one.track_id, stream_id=one.camera, before=one.before, after=one.after)
        for one in moved
    ]


def _name(person_id: str, curator: Curator) -> str:
    found = curator.shown(person_id) if person_id else None
    return found[1] if found is not None else ""


def _duration(value: timedelta) -> Duration:
    message = Duration()
    message.FromTimedelta(value)
    return message
